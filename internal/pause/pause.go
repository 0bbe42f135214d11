package pause

import (
	"context"
	"math/rand/v2"
	"time"
)

// For waits for d, and reports whether ctx let it. It returns at once, and what is so, if d is
// 0 or less.
func For(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}

// About waits as For does, for half of d to half more than d: whoever is asked by many is not
// asked by all of them at once.
func About(ctx context.Context, d time.Duration) bool { return For(ctx, d/2+Upto(d)) }

// Or waits for d, until told, or no longer than ctx lasts, and reports whether it was told.
func Or(ctx context.Context, d time.Duration, told <-chan struct{}) bool {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-told:
		return true
	case <-timer.C:
		return false
	}
}

// Upto returns something from 0 to d.
func Upto(d time.Duration) time.Duration {
	return rand.N(max(d, 0) + 1) //nolint:gosec // it spreads tries, and guards nothing
}

// Doubled returns least after the first try, twice as much after each more, and most at the
// most.
func Doubled(least, most time.Duration, try int) time.Duration {
	d := least
	for ; try > 1 && d < most; try-- {
		d *= 2
	}
	return min(d, most)
}
