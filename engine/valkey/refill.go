package valkey

import (
	"context"
	"fmt"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// What a partition's refill key says. It is kept at the server, so that it goes with
// what it speaks of, and every process sees it.
const (
	refilling = "0" // it is being given back what it lost
	refilled  = "1" // all of it was given back
)

// lacks reports whether a partition whose refill key says marker may lack records
// that it once had.
func (e *Engine) lacks(marker string) bool {
	return marker == refilling || e.config.Replicated && marker != refilled
}

// Lost reports whether any partition may lack records that it once had: a refill was
// begun and has not ended; or, if Config.Replicated says that somebody refills, the
// server has not been since it was last empty.
func (e *Engine) Lost(ctx context.Context) (bool, error) {
	if err := e.open(ctx); err != nil {
		return false, fmt.Errorf("ask what was lost: %w", err)
	}
	lost := false
	err := e.each(ctx, func(p uint16) valkey.Completed {
		return e.client().B().Get().Key(partitionKey(refillKeys, p)).Build()
	}, func(_ uint16, marker string) error {
		lost = lost || e.lacks(marker)
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("ask what was lost: %w", err)
	}
	e.refilling.Store(lost)
	return lost, nil
}

// SetRefilling says whether the server is being given back what it lost. Engines of
// other processes say so at once of what they don't find, and within a second of all
// else. That all is there is refused with engine.ErrRefilling if the server has lost
// what it was told of the beginning.
func (e *Engine) SetRefilling(ctx context.Context, on bool) error {
	if err := e.open(ctx); err != nil {
		return fmt.Errorf("set refilling: %w", err)
	}
	if on {
		e.refilling.Store(true)
	}
	refused := false
	err := e.each(ctx, func(p uint16) valkey.Completed {
		set := e.client().B().Set().Key(partitionKey(refillKeys, p))
		if on {
			return set.Value(refilling).Build()
		}
		return set.Value(refilled).Xx().Build()
	}, func(_ uint16, reply string) error {
		refused = refused || reply == ""
		return nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("set refilling: %w", err)
	case refused:
		return fmt.Errorf("set refilling: %w: more was lost meanwhile", engine.ErrRefilling)
	}
	e.refilling.Store(on)
	return nil
}

// look returns the record of k and whether it may lack what it once had, as of one
// moment: a record that is not found before a refill ends and asked for after it
// would be taken for one that never was.
func (e *Engine) look(ctx context.Context, k crdt.Key) (crdt.Record, bool, error) {
	keys := []string{recordKey(k), partitionKey(refillKeys, k.Partition())}
	reply, err := e.do(ctx, func() valkey.Completed {
		return e.client().B().FcallRo().Function("roam_v1_look").Numkeys(int64(len(keys))).Key(keys...).Build()
	}).ToArray()
	if err != nil {
		return crdt.Record{}, false, e.failed(ctx, err)
	}
	if len(reply)%2 == 0 {
		return crdt.Record{}, false, fmt.Errorf("%w: reply of %d", engine.ErrUnavailable, len(reply))
	}
	r, err := decodeReply(k, reply[1:])
	state, _ := reply[0].ToString() // what is no string was not asked for
	return r, e.lacks(state), err
}

// shown returns r, bottom if it is past its time and is kept a while for what is on
// its way.
func shown(r crdt.Record) crdt.Record {
	if until, ok := r.KeepUntil(); ok && crdt.TimeOf(time.Now()) >= until {
		return crdt.Record{Key: r.Key}
	}
	return r
}
