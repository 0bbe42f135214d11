package router

import (
	"time"

	"github.com/roam-sessions/roam/engine"
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
	// forgetAfter is how long after it could have tried again a breaker that nobody
	// used forgets what it knows: it says nothing of now, and of the calls that come
	// at once when people are back only one would be made.
	forgetAfter = 30 * time.Second
)

// A Breaker stops calls from this Region to another that keeps failing, so that
// nobody waits for a timeout that is sure to come. Its zero value is closed. It
// is used by one goroutine at a time.
type Breaker struct {
	failures int // in a row
	open     time.Duration
	until    time.Time // open until then
	probing  bool      // one call is trying whether the Region is back
}

// Allow reports whether a call may be made at now. The caller must then say how
// it went, with Learn.
func (b *Breaker) Allow(now time.Time) bool {
	if !b.Would(now) {
		return false
	}
	if b.isOld(now) {
		*b = Breaker{}
	}
	b.probing = b.failures >= openAfter
	return true
}

// Would reports whether Allow would, and changes nothing.
func (b *Breaker) Would(now time.Time) bool {
	return b.failures < openAfter || !now.Before(b.until) && !b.probing || b.isOld(now)
}

func (b *Breaker) isOld(now time.Time) bool {
	return b.failures >= openAfter && now.Sub(b.until) > forgetAfter
}

// Learn notes how a call that was allowed ended. Left: the caller didn't wait
// for its answer, so that an error says nothing of the Region.
func (b *Breaker) Learn(now time.Time, err error, left bool) {
	switch {
	case engine.Answered(err):
		*b = Breaker{}
		return
	case left:
		b.probing = false
		return
	}
	b.failures++
	b.probing = false
	if b.failures >= openAfter {
		b.open = min(max(2*b.open, leastOpen), mostOpen)
		b.until = now.Add(b.open)
	}
}

// IsOpen reports whether calls are being stopped.
func (b *Breaker) IsOpen() bool { return b.failures >= openAfter }

const (
	// retryShare is how much of the traffic may be retries, or hedges: a tenth, so
	// that a Region in trouble is not asked four times as much, and a slow one
	// doesn't double what the others are asked.
	retryShare = 0.1
	// retryBurst is how many retries can be saved up, for quiet Regions.
	retryBurst = 10
)

// A RetryBudget gives out retries as a share of first tries, or hedges as a
// share of the reads that ask another Region. Its zero value has a full burst.
// It is used by one goroutine at a time.
type RetryBudget struct {
	spent float64 // tokens missing from the burst
}

// Deposit notes a first try.
func (b *RetryBudget) Deposit() { b.spent = max(0, b.spent-retryShare) }

// Withdraw reports whether a retry may be made.
func (b *RetryBudget) Withdraw() bool {
	if b.spent+1 > retryBurst {
		return false
	}
	b.spent++
	return true
}
