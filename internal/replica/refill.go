package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// What an engine lost is asked of all peers, as the states of all partitions. The
// engine says meanwhile that it lacks them, so that nobody takes what is missing
// there for a session that does not exist (R12). That is so until every peer that
// is configured has given its states: what one that can't be reached has, nobody
// knows.

// lossEvery is how often the engine is asked whether it lost something. Its reads
// say so at once.
const lossEvery = time.Second

// everything is a bit for each partition.
const everything = uint64(1<<crdt.Partitions - 1)

// beginRefill looks, before there is a link, whether the engine lacks what it once
// had, tells it so, and has all peers asked.
func (r *Replica) beginRefill(ctx context.Context, peers []crdt.Region) error {
	lost, err := r.blank(ctx, peers)
	if err == nil && !lost && r.refiller != nil {
		lost, err = r.refiller.Lost(ctx) // a refill that another process did not end
	}
	if err != nil || !lost || len(r.in) == 0 {
		return err
	}
	if err := r.setRefilling(ctx, true); err != nil {
		return err
	}
	r.refilling = true
	for _, in := range r.in {
		in.want = everything
	}
	return nil
}

// refill ends a refill when all peers have given what they have, and begins one
// when the engine has lost something, until ctx ends.
func (r *Replica) refill(ctx context.Context) {
	tick := time.NewTicker(lossEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.given:
		}
		if err := r.refillOnce(ctx); err != nil && ctx.Err() == nil {
			r.cfg.Log.Warn("refill", "region", r.here, "err", err)
		}
	}
}

func (r *Replica) refillOnce(ctx context.Context) error {
	var full, refilling bool
	r.update(func() { full, refilling = r.full(), r.refilling })
	if full {
		err := r.setRefilling(ctx, false)
		if errors.Is(err, engine.ErrRefilling) {
			return r.refillAnew(ctx)
		}
		if err == nil {
			r.update(func() { r.refilling = false })
			r.cfg.Log.Info("the engine has been given back what it lost", "region", r.here)
		}
		return err
	}
	if refilling || r.refiller == nil {
		return nil
	}
	lost, err := r.refiller.Lost(ctx)
	if err != nil || !lost {
		return err
	}
	return r.refillAnew(ctx)
}

// refillAnew has all peers asked once more, over new links: one that is up asks for
// what it wanted when it began.
func (r *Replica) refillAnew(ctx context.Context) error {
	if err := r.setRefilling(ctx, true); err != nil {
		return err
	}
	r.cfg.Log.Warn("the engine has lost what it had: asking all peers for it", "region", r.here)
	r.update(func() {
		r.refilling = true
		for _, in := range r.in {
			in.anew = true
			if in.cancel != nil {
				in.cancel()
			}
		}
	})
	return nil
}

// full reports, under mu, that a refill is under way and all peers have given what
// they have.
func (r *Replica) full() bool {
	if !r.refilling {
		return false
	}
	for _, in := range r.in {
		if in.anew || in.want != 0 {
			return false
		}
	}
	return true
}

// setRefilling tells the engine, if it is one that can say so.
func (r *Replica) setRefilling(ctx context.Context, on bool) error {
	if r.refiller == nil {
		return nil
	}
	if err := r.refiller.SetRefilling(ctx, on); err != nil {
		return fmt.Errorf("refill: %w", err)
	}
	return nil
}
