package node

import "time"

const (
	// leastDeadline covers a handshake between machines side by side of which one is
	// busy; mostDeadline, one around the Earth with packets lost. What is not measured
	// yet may be either.
	leastDeadline = 200 * time.Millisecond
	mostDeadline  = 5 * time.Second
	// roundTrips is how many a dial may take: TCP and TLS 1.3 take one each, and four
	// times as long is no accident.
	roundTrips = 8
	// firstWait and mostWait bound the wait before a peer is tried again. It doubles
	// with each failure, and all of it is jitter: nodes that lost a peer at one moment
	// don't come back at one moment. A link that was cut is back within mostWait and a
	// dial of its healing.
	firstWait = 50 * time.Millisecond
	mostWait  = 2 * time.Second
	// openAfter is how many failures in a row say that a peer is away: a restart of its
	// node costs one or two.
	openAfter = 3
	// maxDoublings keeps shifts from overflowing: more than both bounds need.
	maxDoublings = 10
)

// The states of a pair's breaker.
const (
	breakerClosed   = "closed"    // there is a link, or one is tried for as usual
	breakerOpen     = "open"      // the peer is away: nobody tries until it is time
	breakerHalfOpen = "half-open" // one try is under way, or a link that has yet to last
)

// A pair is what is known of dialling one peer: when to try, how long a try may take,
// and why there is no link. Its zero value knows nothing. It is used by one goroutine
// at a time.
type pair struct {
	steady   time.Duration // a link that lasted so long was none that failed
	failures int           // in a row
	next     time.Time     // nobody tries before
	trying   bool
	up       time.Time     // since when there is a link; zero: there is none
	reason   string        // of the last failure: one of reasons
	rtt      time.Duration // last measured; zero: never
	late     int           // tries in a row that ran out of time: each doubles the deadline
}

// wait returns how long not to try at now.
func (p *pair) wait(now time.Time) time.Duration { return max(0, p.next.Sub(now)) }

// try notes that one begins, and returns how long it may take.
func (p *pair) try() time.Duration {
	p.trying = true
	return p.deadline()
}

// deadline returns how long a try may take. One that ran out of time doubles it: the
// way to the peer may have become longer since it was measured.
func (p *pair) deadline() time.Duration {
	if p.rtt == 0 {
		return mostDeadline
	}
	d := max(leastDeadline, min(roundTrips*p.rtt, mostDeadline))
	return min(d<<min(p.late, maxDoublings), mostDeadline)
}

// measured notes a round trip; 0 is none.
func (p *pair) measured(rtt time.Duration) {
	if rtt > 0 {
		p.rtt = rtt
	}
}

// connected notes that a try made a link at now.
func (p *pair) connected(now time.Time) { p.trying, p.up, p.late = false, now, 0 }

// failed notes that a try made none, and why. Jitter is a random number in [0, 1).
func (p *pair) failed(now time.Time, reason string, jitter float64) {
	if reason == reasonTimeout {
		p.late++
	}
	p.trying = false
	p.fail(now, reason, jitter)
}

// ended notes that the link is gone, and why. One that lasted begins anew: it is tried
// for at once.
func (p *pair) ended(now time.Time, reason string, jitter float64) {
	p.settle(now)
	lasted := now.Sub(p.up) >= p.steady
	p.up = time.Time{}
	if lasted {
		p.reason = reason
		return
	}
	p.fail(now, reason, jitter)
}

func (p *pair) fail(now time.Time, reason string, jitter float64) {
	p.reason = reason
	bound := min(firstWait<<min(p.failures, maxDoublings), mostWait)
	p.failures++
	p.next = now.Add(time.Duration(jitter * float64(bound)))
}

// settle forgets the failures before a link that has lasted.
func (p *pair) settle(now time.Time) {
	if !p.up.IsZero() && now.Sub(p.up) >= p.steady {
		p.failures, p.reason = 0, ""
	}
}

// state returns how the breaker is at now.
func (p *pair) state(now time.Time) string {
	p.settle(now)
	switch {
	case p.failures < openAfter:
		return breakerClosed
	case p.trying || !p.up.IsZero():
		return breakerHalfOpen
	}
	return breakerOpen
}
