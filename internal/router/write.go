package router

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// Write makes w where writes belong, and returns the client's token after it.
// The error is nil unless nothing could take it: a refusal of package crdt, or
// one that wraps ErrUnavailable or ErrUnknownOutcome, in which case the write
// may still be seen later.
//
// Path write 3/5: from roam.Manager; next engine.Engine.Apply.
func (r *Router) Write(ctx context.Context, w Write) (Answer, error) {
	start := r.config.Clock()
	a, err := r.write(ctx, start, w)
	r.observe(actOf(w.Key, w.Op), w.Key, a, err, start)
	return a, err
}

func (r *Router) write(ctx context.Context, start time.Time, w Write) (Answer, error) {
	if w.Op.Stamp == 0 {
		w.Op.Stamp = crdt.Mint(crdt.TimeOf(start), w.Base, w.Seen)
	}
	if w.Op.HasAdd() && w.Op.ID == 0 {
		w.Op.ID = rand.Uint64() | 1 // never zero; tells a repeated try, guards nothing
	}
	rules := r.rules()
	plan := NewWritePlan(rules, w)
	r.retries.deposit()
	left := false
	var last Result
	for now := crdt.TimeOf(start); ; now = r.now() {
		switch step := plan.Next(now, last, r.config.Random()); step.Do {
		case ApplyAt:
			left = left || step.Region != rules.Here
			last = r.applyAt(ctx, step, w)
		case ApplySide:
			last = r.applySide(ctx, step, w)
		case Wait:
			last = Result{Err: sleep(ctx, step.For)}
			if now := r.rules(); now != rules { // another Region takes the writes meanwhile
				rules = now
				plan.Follow(rules)
			}
		default:
			a := step.Answer
			a.Left, a.Token = left, r.prune(w.Seen.With(a.Dot))
			return a, step.Err
		}
		if err := ctx.Err(); err != nil && last.Err != nil {
			a := Answer{Token: w.Seen, Region: rules.Here, Rung: Refused, Left: left}
			return a, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
}

func (r *Router) applyAt(ctx context.Context, s Step, w Write) Result {
	if s.Retry && !r.retries.withdraw() {
		return Result{Err: ErrNoRetry}
	}
	op := w.Op
	if s.Adopt {
		op.Adopt = &w.Base
	}
	var res Result
	res.Err = r.guarded(ctx, s.Region, s.Timeout, func(ctx context.Context) (err error) {
		res.Dot, err = r.regions[s.Region].Engine.Apply(ctx, w.Key, op)
		return err
	})
	return res
}

// applySide writes to this Region's own store. It is given the record first, or
// the operation would find nothing to change.
func (r *Router) applySide(ctx context.Context, s Step, w Write) Result {
	ctx, cancel := context.WithTimeout(ctx, max(s.Timeout, time.Millisecond))
	defer cancel()
	side := r.regions[r.rules().Here].Side
	if !w.Base.IsBottom() {
		if err := side.Join(ctx, w.Base); err != nil {
			return Result{Err: err}
		}
	}
	dot, err := side.Apply(ctx, w.Key, w.Op)
	return Result{Dot: dot, Err: err}
}
