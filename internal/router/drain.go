package router

import (
	"context"
	"errors"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

const (
	// drainLeast and drainMost bound the wait before a record that the primary
	// did not take back is offered again; the wait doubles.
	drainLeast = 100 * time.Millisecond
	drainMost  = 2 * time.Second
)

// drain follows the side store's log and has every record it names taken back
// where writes belong, as an operation that its peers hear of. Nothing is
// deleted: what was taken back is released from the log and expires in time.
// Doing so twice, as app servers that share a side store do, changes nothing.
func (r *Router) drain(ctx context.Context) {
	side := r.regions[r.rules.here].Side
	log, ok := engine.As[engine.Log](side)
	if !ok {
		r.config.Log.Error("side store keeps no log: what is written there stays there")
		return
	}
	var done engine.Positions
	for ctx.Err() == nil {
		err := log.Follow(ctx, done, func(b engine.Batch) error {
			if err := r.takeBackAll(ctx, b); err != nil {
				return err
			}
			done[b.Partition] = b.Last()
			return log.Release(ctx, done)
		})
		if errors.Is(err, engine.ErrClosed) || sleep(ctx, drainLeast) != nil {
			return
		}
	}
}

// takeBackAll takes back what a batch names, waiting for each until it is done.
func (r *Router) takeBackAll(ctx context.Context, b engine.Batch) error {
	for _, f := range b.Frags {
		for wait := drainLeast; ; wait = min(2*wait, drainMost) {
			err := r.takeBack(ctx, f.Effect.Key)
			if err == nil {
				break
			}
			if err := sleep(ctx, wait); err != nil {
				return err
			}
		}
	}
	return nil
}

// takeBack brings the side store's copy of one record to where writes belong.
// A refusal is an end as well: the session died or expired meanwhile.
func (r *Router) takeBack(ctx context.Context, k crdt.Key) error {
	tryCtx, cancel := context.WithTimeout(ctx, r.rules.localTimeout)
	rec, err := r.regions[r.rules.here].Side.Read(tryCtx, k, crdt.Token{})
	cancel()
	if err != nil {
		return err
	}
	if rec.IsBottom() {
		return nil
	}
	begun := r.config.Clock()
	err = engine.ErrUnreachable
	for _, id := range r.rules.writers() {
		a := Answer{Region: id, Tries: 1, Left: id != r.rules.here}
		err = r.guarded(ctx, id, r.rules.timeout(id), func(ctx context.Context) (err error) {
			a.Dot, err = r.regions[id].Engine.Apply(ctx, k, crdt.Op{Adopt: &rec})
			return err
		})
		if err == nil || engine.IsRefusal(err) {
			r.observe(TakeBack, k, a, err, begun)
			return nil
		}
	}
	return err
}
