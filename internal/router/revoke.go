package router

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

const (
	// spreadFor is how long a revocation's caller waits for every Region.
	spreadFor = time.Second
	// spreadEvery is how often Regions that lack a revocation are tried again.
	spreadEvery = 250 * time.Millisecond
	// firstLook is the first wait before looking again whether a Region that
	// takes no writes has heard of a revocation; it doubles.
	firstLook = 5 * time.Millisecond
)

// A Revocation says how far an ending has come.
type Revocation struct {
	Have    []crdt.Region // have it, so that no read there shows what it ended
	Waiting []crdt.Region // have not confirmed it; they are told until they do
	// Untold, if not nil, is why those that wait are not told again: the journal
	// did not take the ending. Replication alone brings it to them then.
	Untold error
}

// Revoke makes a write that ends something, w.Op.Destroy or w.Op.Revoke, and
// tells every Region at once instead of leaving that to the log. Where no engine
// takes the write, the journals do, and its rung is LocalOnly. After an error no
// Region is told, but one that did not answer may have it.
func (r *Router) Revoke(ctx context.Context, w Write) (Answer, Revocation, error) {
	start := r.config.Clock()
	a, err := r.write(ctx, start, w)
	journaled := err != nil && !engine.IsRefusal(err)
	if journaled {
		a, err = r.end(ctx, w, a, err)
	}
	r.observe(actOf(w.Key, w.Op), w.Key, a, err, start)
	if err != nil {
		return a, Revocation{Waiting: r.rules().Near}, err
	}
	ctx, cancel := context.WithTimeout(ctx, spreadFor)
	defer cancel()
	if journaled {
		return a, r.tellJournals(ctx, EndingOf(w, a.Dot), 0, SetOf(a.Region)), nil
	}
	return a, r.tellAll(ctx, EndingOf(w, a.Dot), a), nil
}

// end makes an ending in this Region's journal, since no engine took it for the
// reason given. It is not held up by a caller who has gone.
func (r *Router) end(ctx context.Context, w Write, a Answer, reason error) (Answer, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*r.rules().LocalTimeout)
	defer cancel()
	known := w.Base.Epochs()
	if w.Op.Revoke {
		// What the engine here has heard is not needed, but makes epochs rise.
		look := r.readEngine(ctx, Step{Region: r.rules().Here, Timeout: r.rules().LocalTimeout}, Query{Key: w.Key})
		known = known.Join(look.Record.Epochs())
	}
	dot, err := r.journal.End(ctx, w.Key, known)
	if err != nil {
		return a, fmt.Errorf("%w; journal: %w", reason, err)
	}
	a.Dot, a.Region, a.Rung, a.Token = dot, r.rules().Here, LocalOnly, w.Seen
	return a, nil
}

// tellAll tells all engines of an ending that one has taken, and the journals of
// those that did not confirm it.
func (r *Router) tellAll(ctx context.Context, ending crdt.Record, took Answer) Revocation {
	patience, cancel := context.WithTimeout(ctx, spreadFor-r.rules().RemoteTimeout)
	defer cancel()
	engines := SetOf(r.rules().Near...) &^ r.tell(patience, ending, took.Region)
	if took.Rung != Normal {
		engines.remove(took.Region) // its side store has it, and reads there show it
	}
	return r.tellJournals(ctx, ending, engines, SetOf(took.Region))
}

// tellJournals tells the journals of all Regions whose engines don't have an
// ending, this one's among them, and says how far it has come. Those of shown
// show it already.
func (r *Router) tellJournals(ctx context.Context, ending crdt.Record, engines, shown RegionSet) Revocation {
	all := SetOf(r.rules().Near...)
	var out Revocation
	if engines != all {
		out.Untold = r.journal.Join(context.WithoutCancel(ctx), ending)
		if out.Untold == nil {
			shown.add(r.rules().Here)
		} else {
			r.config.Log.Error("revocation is not told again", "key", ending.Key, "err", out.Untold)
		}
	}
	told := r.push(ctx, ending, all&^engines)
	for _, id := range r.rules().Near {
		if engines.Has(id) {
			r.journal.Confirm(ending, id)
		}
		if told.Has(id) {
			r.journal.Tell(ending, id)
		}
		if (engines | shown | told).Has(id) {
			out.Have = append(out.Have, id)
		} else {
			out.Waiting = append(out.Waiting, id)
		}
	}
	return out
}

// push hands an ending to the journals of other Regions, and returns those that
// took it.
func (r *Router) push(ctx context.Context, ending crdt.Record, to RegionSet) RegionSet {
	return r.each(to, func(id crdt.Region) bool {
		return id != r.rules().Here && r.regions[id].Journal != nil && r.hand(ctx, ending, id) == nil
	})
}

func (r *Router) hand(ctx context.Context, ending crdt.Record, id crdt.Region) error {
	return r.behind(ctx, r.journals[id], r.rules().Timeout(id), func(ctx context.Context) error {
		return r.regions[id].Journal.Join(ctx, ending)
	})
}

// each does something for all Regions of a set at once, and returns those for
// which it was true.
func (r *Router) each(set RegionSet, do func(crdt.Region) bool) RegionSet {
	var (
		mu  sync.Mutex // guards out
		out RegionSet
		all sync.WaitGroup
	)
	for _, id := range r.rules().Near {
		if !set.Has(id) {
			continue
		}
		all.Go(func() {
			if do(id) {
				mu.Lock()
				defer mu.Unlock()
				out.add(id)
			}
		})
	}
	all.Wait()
	return out
}

// tell tells all engines of an ending at once, but for that of the Region that
// took it, and returns those that did not confirm.
func (r *Router) tell(ctx context.Context, ending crdt.Record, took crdt.Region) RegionSet {
	others := SetOf(r.rules().Near...) &^ SetOf(took)
	return others &^ r.each(others, func(id crdt.Region) bool {
		return r.deliver(ctx, ending, id) == Settled
	})
}

// deliver brings an ending to the engine of one Region. Where writes are taken,
// it is adopted under that Region's own actor, so that it spreads from there too
// should this Region die. A secondary hears of it from the primary, and is
// looked at until ctx ends; so is who has been the primary until just now.
func (r *Router) deliver(ctx context.Context, ending crdt.Record, id crdt.Region) Fate {
	for wait := firstLook; ; wait *= 2 {
		if r.rules().TakesWrites(id) {
			if err := r.adopt(ctx, ending, id); !errors.Is(err, engine.ErrNotPrimary) {
				return FateOfEnding(err)
			}
		}
		fate := r.look(ctx, ending, id)
		if fate == Settled || sleep(ctx, wait) != nil {
			return fate
		}
	}
}

func (r *Router) adopt(ctx context.Context, ending crdt.Record, id crdt.Region) error {
	return r.guarded(ctx, id, r.rules().Timeout(id), func(ctx context.Context) error {
		_, err := r.regions[id].Engine.Apply(ctx, ending.Key, Adoption(ending))
		return err
	})
}

// look looks whether the engine of a Region, and no other part of it, has an
// ending.
func (r *Router) look(ctx context.Context, ending crdt.Record, id crdt.Region) Fate {
	return FateOfLook(r.readEngine(ctx, Step{Region: id, Timeout: r.rules().Timeout(id)}, Query{Key: ending.Key}), ending)
}

// redeliver is deliver for an ending that the engine may have got meanwhile, from
// whomever, and does not wait. It looks first, so that an epoch is not written
// once per Region that knows of it; who is dead already writes nothing. A
// secondary that has not heard may wait in vain, since the primary may have lost
// the ending in a failover after it took it: the primary is told again.
func (r *Router) redeliver(ctx context.Context, ending crdt.Record, id crdt.Region) Fate {
	rules := r.rules()
	if ending.Dead && rules.TakesWrites(id) {
		return FateOfEnding(r.adopt(ctx, ending, id))
	}
	fate := r.look(ctx, ending, id)
	switch {
	case fate != Stuck:
		return fate
	case rules.TakesWrites(id):
		return FateOfEnding(r.adopt(ctx, ending, id))
	}
	r.redeliver(ctx, ending, rules.Primary)
	return Stuck
}

// spread tells one Region of the endings that it lacks, until its engine has
// them all. Each Region has its own goroutine, so that none waits for another.
func (r *Router) spread(ctx context.Context, id crdt.Region) {
	for sleep(ctx, spreadEvery) == nil {
		r.catchUp(ctx, r.journal.Waiting, id, func(ending crdt.Record) Fate {
			fate := r.redeliver(ctx, ending, id)
			if fate == Settled {
				r.journal.Confirm(ending, id)
			}
			return fate
		})
		if id != r.rules().Here && r.regions[id].Journal != nil {
			r.catchUp(ctx, r.journal.Untold, id, func(ending crdt.Record) Fate {
				fate := fateOf(r.hand(ctx, ending, id))
				if fate == Settled {
					r.journal.Tell(ending, id)
				}
				return fate
			})
		}
		if err := r.journal.Sweep(ctx, r.rules().Near); err != nil && ctx.Err() == nil {
			r.config.Log.Warn("sweep journal", "err", err)
		}
	}
}

// atOnce is how many endings are taken from the journal at once.
const atOnce = 256

// catchUp does something with all endings that a Region lacks, until it is away.
func (r *Router) catchUp(ctx context.Context, lacks func(crdt.Region, int, int) []crdt.Record, id crdt.Region, do func(crdt.Record) Fate) {
	stuck := 0
	for ctx.Err() == nil {
		some := lacks(id, stuck, atOnce)
		for _, ending := range some {
			switch do(ending) {
			case Away:
				return // the rest wait as well
			case Stuck:
				stuck++
			case Settled:
			}
		}
		if len(some) < atOnce {
			return
		}
	}
}

// Pending returns how many revocations some Region's engine has not confirmed.
func (r *Router) Pending() int { return r.journal.Len() }
