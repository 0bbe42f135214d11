package valkey

import (
	"context"
	"fmt"

	"github.com/roam-sessions/roam/engine"
)

// Tail returns the positions of the newest entries, as Head does, and touches nothing: a
// server that has started anew since does not take over its log. So it may be asked of a
// former primary, and of a replica.
func (e *Engine) Tail(ctx context.Context) (engine.Positions, error) {
	var out engine.Positions
	err := e.open(ctx)
	if err == nil {
		err = e.states(ctx, func(p uint16, m meta) { out[p] = m.head })
	}
	if err != nil {
		return engine.Positions{}, fmt.Errorf("read the log's tail: %w", err)
	}
	return out, nil
}

// Known returns how far the server has the log that another copy of it has up to of: what
// comes after that in the copy, this server has never got. The position is zero where it
// can't tell, since so many others have written the log after the copy's actor that it is
// forgotten.
func (e *Engine) Known(ctx context.Context, of engine.Positions) (engine.Positions, error) {
	var out engine.Positions
	err := e.open(ctx)
	if err == nil {
		err = e.states(ctx, func(p uint16, m meta) { out[p] = m.known(of[p]) })
	}
	if err != nil {
		return engine.Positions{}, fmt.Errorf("read what is known of a log: %w", err)
	}
	return out, nil
}

// maxEras is how many actors the state of a log remembers: MAX_ERAS of the scripts.
const maxEras = 8

// known returns up to where the log is the same as a copy that goes up to of.
func (m meta) known(of engine.Position) engine.Position {
	if of.Actor == 0 {
		return engine.Position{}
	}
	for i, e := range m.eras {
		if e.actor != of.Actor {
			continue
		}
		upto := m.head.N
		if i+1 < len(m.eras) {
			upto = m.eras[i+1].fork
		}
		return engine.Position{Actor: of.Actor, N: min(of.N, upto)}
	}
	if len(m.eras) == maxEras {
		return engine.Position{}
	}
	return engine.Position{Actor: of.Actor}
}
