package salvage

import (
	"context"
	"math"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// A Knower can say how far it has the log that another copy of it has: a server that has
// started anew with less, and those that copied it, have a log whose numbers go on from
// there, so that a number alone tells nothing of what an earlier run wrote.
type Knower interface {
	// Known returns how far it has what the actors of some positions wrote, up to these; the
	// zero position where it can't tell.
	Known(ctx context.Context, of engine.Positions) (engine.Positions, error)
}

// fork returns how far the target has what an actor wrote in a partition.
func (r *run) fork(ctx context.Context, p uint16, actor crdt.Actor) (engine.Position, error) {
	at, ok, err := r.had(ctx, p, actor)
	if err != nil {
		return at, err
	}
	if !ok {
		if at = r.Fork[p]; r.Parted {
			at.Actor = actor
		}
		return at, nil
	}
	return at, nil
}

// had returns how far the target has what an actor wrote in a partition, and whether that
// is known. It is asked once an actor: what others bring to the target is not that actor's.
func (r *run) had(ctx context.Context, p uint16, actor crdt.Actor) (engine.Position, bool, error) {
	k, ok := engine.As[Knower](r.Target)
	if !ok {
		return engine.Position{}, false, nil
	}
	known, asked := r.known[actor]
	if !asked {
		var of engine.Positions
		for i := range of {
			of[i] = engine.Position{Actor: actor, N: math.MaxUint64}
		}
		var err error
		if known, err = k.Known(ctx, of); err != nil {
			return engine.Position{}, false, err
		}
		if r.known == nil {
			r.known = map[crdt.Actor]engine.Positions{}
		}
		r.known[actor] = known
	}
	return known[p], known[p].Actor == actor, nil
}
