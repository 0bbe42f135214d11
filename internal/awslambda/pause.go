package awslambda

import (
	"context"
	"math/rand/v2"
	"time"
)

// pause waits for about d, and reports whether ctx let it.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d/2 + rand.N(d)) //nolint:gosec // it spreads tries, and guards nothing
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
