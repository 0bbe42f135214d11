package router

import (
	"sync"
	"time"
)

const (
	// openAfter is how many failures in a row open a breaker: more than one
	// request's tries, so that one unlucky write doesn't.
	openAfter = 5
	// leastOpen and mostOpen bound how long a breaker stays open before one
	// call may try; the time doubles with each failed one. The bound is well
	// under the time in which people notice that a link is back.
	leastOpen = 250 * time.Millisecond
	mostOpen  = 4 * time.Second
)

// A breaker stops calls from this Region to another that keeps failing, so that
// nobody waits for a timeout that is sure to come. Its zero value is closed.
type breaker struct {
	mu       sync.Mutex // guards what follows
	failures int        // in a row
	open     time.Duration
	until    time.Time // open until then
	probing  bool      // one call is trying whether the Region is back
}

// allow reports whether a call may be made at now. The caller must then say how
// it went.
func (b *breaker) allow(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.failures < openAfter:
		return true
	case now.Before(b.until) || b.probing:
		return false
	}
	b.probing = true
	return true
}

func (b *breaker) succeeded() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures, b.open, b.probing = 0, 0, false
}

func (b *breaker) failed(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures++
	b.probing = false
	if b.failures >= openAfter {
		b.open = min(max(2*b.open, leastOpen), mostOpen)
		b.until = now.Add(b.open)
	}
}

// forget takes back an allowed call that came to nothing either way.
func (b *breaker) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
}

// isOpen reports whether calls are being stopped.
func (b *breaker) isOpen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failures >= openAfter
}

const (
	// retryShare is how much of the traffic may be retries: a tenth, so that a
	// Region in trouble is not asked four times as much.
	retryShare = 0.1
	// retryBurst is how many retries can be saved up, for quiet Regions.
	retryBurst = 10
)

// A retryBudget gives out retries as a share of first tries. Its zero value has
// a full burst.
type retryBudget struct {
	mu    sync.Mutex // guards what follows
	spent float64    // tokens missing from the burst
}

// deposit notes a first try.
func (b *retryBudget) deposit() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spent = max(0, b.spent-retryShare)
}

// withdraw reports whether a retry may be made.
func (b *retryBudget) withdraw() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.spent+1 > retryBurst {
		return false
	}
	b.spent++
	return true
}
