package router

import (
	"context"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// A guard is a Breaker for many goroutines.
type guard struct {
	mu      sync.Mutex // guards breaker
	breaker Breaker
}

func (g *guard) allow(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.breaker.Allow(now)
}

func (g *guard) would(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.breaker.Would(now)
}

func (g *guard) isOpen() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.breaker.IsOpen()
}

func (g *guard) learn(now time.Time, err error, left bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.breaker.Learn(now, err, left)
}

// A tryBudget is a RetryBudget for many goroutines.
type tryBudget struct {
	mu     sync.Mutex // guards budget
	budget RetryBudget
}

func (b *tryBudget) deposit() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.budget.Deposit()
}

func (b *tryBudget) withdraw() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.budget.Withdraw()
}

// guarded calls a Region's engine if its breaker is closed.
func (r *Router) guarded(ctx context.Context, id crdt.Region, timeout time.Duration, call func(context.Context) error) error {
	return r.behind(ctx, r.guards[id], timeout, call)
}

// behind makes a call if the breaker of g is closed.
func (r *Router) behind(ctx context.Context, g *guard, timeout time.Duration, call func(context.Context) error) error {
	if !g.allow(r.config.Clock()) {
		return ErrOpen
	}
	tryCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := call(tryCtx)
	g.learn(r.config.Clock(), err, ctx.Err() != nil)
	return err
}
