package router

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// Read returns what is known of q.Key, as good as q.Class asks. The error is
// nil unless the answer's rung is Refused, and then wraps ErrUnavailable,
// ErrStale or ErrDoubtful. A record that is bottom without an error is known to
// be nowhere, unless the answer is Doubtful.
//
// Path read 2/4: from roam.Manager; next engine.Engine.Read.
func (r *Router) Read(ctx context.Context, q Query) (Answer, error) {
	start := r.config.Clock()
	plan := NewReadPlan(&r.rules, q, r.rules.Hints(r.config.Links, r.config.Random()))
	left := false
	var last Result
	for now := crdt.TimeOf(start); ; now = r.now() {
		switch step := plan.Next(now, last); step.Do {
		case ReadAt:
			last = r.readAt(ctx, step, q)
			left = left || step.Region != r.rules.Here
		case Sleep:
			if err := sleep(ctx, step.Sleep); err != nil {
				return r.gaveUp(q, start, left, err)
			}
		default:
			step.Answer.Left = left
			step.Answer.Token = r.prune(step.Answer.Token)
			r.observe(Read, q.Key, step.Answer, step.Err, start)
			return step.Answer, step.Err
		}
		if ctx.Err() != nil {
			return r.gaveUp(q, start, left, ctx.Err())
		}
	}
}

// gaveUp answers a read whose caller's time is over.
func (r *Router) gaveUp(q Query, start time.Time, left bool, err error) (Answer, error) {
	a := Answer{
		Record: crdt.Record{Key: q.Key}, Token: q.Seen, Region: r.rules.Here,
		Rung: Refused, Left: left, Doubtful: true,
	}
	err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	r.observe(Read, q.Key, a, err, start)
	return a, err
}

// readAt reads from one Region: what its engine has, joined with what its side
// store has. One of the two is better than none, but then it's no full answer.
func (r *Router) readAt(ctx context.Context, s Step, q Query) Result {
	g := r.regions[s.Region]
	if g.Side == nil {
		return r.readEngine(ctx, s, q)
	}
	if s.Region == r.rules.Here {
		res := r.readEngine(ctx, s, q)
		// An engine that hung has used up its time and not the side store's.
		return WithSide(res, readSide(ctx, g.Side, s, q))
	}
	var side Result
	var both sync.WaitGroup // one round trip is enough for the two
	both.Go(func() { side = readSide(ctx, g.Side, s, q) })
	res := r.readEngine(ctx, s, q)
	both.Wait()
	return WithSide(res, side)
}

func readSide(ctx context.Context, side engine.Engine, s Step, q Query) (res Result) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	res.Record, res.Err = side.Read(ctx, q.Key, q.Seen)
	return res
}

func (r *Router) readEngine(ctx context.Context, s Step, q Query) Result {
	var res Result
	res.Err = r.guarded(ctx, s.Region, s.Timeout, func(ctx context.Context) (err error) {
		res.Record, err = r.regions[s.Region].Engine.Read(ctx, q.Key, q.Seen)
		return err
	})
	if res.Err != nil {
		res.Record = crdt.Record{Key: q.Key}
	}
	return res
}

// prune leaves out of a token what every Region has.
func (r *Router) prune(t crdt.Token) crdt.Token {
	if r.config.Links == nil || t.Len() == 0 {
		return t
	}
	return t.Prune(r.config.Links.Everywhere)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
