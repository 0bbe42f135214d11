package node

import (
	"testing"
	"time"
)

// begun is when the stories of pairs begin.
var begun = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestDeadlineFollowsTheRoundTrip(t *testing.T) {
	for _, c := range []struct {
		rtt  time.Duration
		late int
		want time.Duration
	}{
		{0, 0, 5 * time.Second}, // not measured: it may be far
		{time.Millisecond, 0, 200 * time.Millisecond},
		{22 * time.Millisecond, 0, 200 * time.Millisecond},
		{150 * time.Millisecond, 0, 1200 * time.Millisecond},
		{10 * time.Second, 0, 5 * time.Second},
		{time.Millisecond, 1, 400 * time.Millisecond}, // the way has become longer
		{time.Millisecond, 3, 1600 * time.Millisecond},
		{time.Millisecond, 1000, 5 * time.Second},
	} {
		p := pair{}
		p.measured(c.rtt)
		p.measured(0) // is no measurement
		for range c.late {
			p.try()
			p.failed(begun, reasonTimeout, 0)
		}
		if got := p.deadline(); got != c.want {
			t.Errorf("round trip %v, %d tries too late: deadline %v, want %v", c.rtt, c.late, got, c.want)
		}
		p.connected(begun)
		if got := p.deadline(); c.late > 0 && got != 200*time.Millisecond {
			t.Errorf("after a try that succeeded: deadline %v, want 200ms", got)
		}
		p.failed(begun, reasonRefused, 0)
		if got := p.deadline(); c.late > 0 && got != 200*time.Millisecond {
			t.Errorf("after a try that was refused: deadline %v, want 200ms: it did not take long", got)
		}
	}
}

// Waits double up to two seconds, and all of each is jitter.
func TestWaitsDoubleWithFullJitter(t *testing.T) {
	p := pair{}
	for i, ms := range []int{50, 100, 200, 400, 800, 1600, 2000, 2000, 2000} {
		bound := time.Duration(ms) * time.Millisecond
		for _, jitter := range []float64{0, 0.5, 1} {
			q := p
			q.failed(begun, reasonRefused, jitter)
			if got, want := q.wait(begun), time.Duration(jitter*float64(bound)); got != want {
				t.Errorf("failure %d, jitter %v: wait %v, want %v", i+1, jitter, got, want)
			}
		}
		p.failed(begun, reasonRefused, 1)
		if got := p.wait(begun.Add(bound)); got != 0 {
			t.Errorf("failure %d: when it is time, wait %v, want 0", i+1, got)
		}
	}
	for range 1000 {
		p.failed(begun, reasonRefused, 1)
	}
	if got := p.wait(begun); got != mostWait {
		t.Errorf("after a thousand failures: wait %v, want %v", got, mostWait)
	}
}

// A story of a breaker: closed, open, half-open for the one try, open again; half-open
// for a link that has yet to last, and closed when it has.
func TestBreakersStory(t *testing.T) {
	const steady = 3 * time.Second
	p, now := pair{steady: steady}, begun
	want := func(what, state string, failures int) {
		t.Helper()
		if got := p.state(now); got != state || p.failures != failures {
			t.Errorf("%s: %s with %d failures, want %s with %d", what, got, p.failures, state, failures)
		}
	}
	fail := func() { p.try(); p.failed(now, reasonRefused, 1) }
	want("at first", breakerClosed, 0)
	p.try()
	want("the first try", breakerClosed, 0)
	p.failed(now, reasonRefused, 1)
	fail()
	want("two failures", breakerClosed, 2)
	fail()
	want("three failures", breakerOpen, 3)
	p.try()
	want("a probe", breakerHalfOpen, 3)
	p.failed(now, reasonRefused, 1)
	want("a probe that failed", breakerOpen, 4)

	p.try()
	p.connected(now)
	want("a link", breakerHalfOpen, 4)
	now = now.Add(steady - 1)
	p.ended(now, reasonEnded, 1)
	want("a link that did not last", breakerOpen, 5)
	if got := p.wait(now); got != 800*time.Millisecond || p.reason != reasonEnded {
		t.Errorf("after it: wait %v because of %q, want 800ms of the fifth failure", got, p.reason)
	}

	p.try()
	p.connected(now)
	now = now.Add(steady)
	want("a link that lasted", breakerClosed, 0)
	if p.reason != "" {
		t.Errorf("of a link that lasted: reason %q, want none", p.reason)
	}
	p.ended(now, reasonExpired, 1)
	want("a link that lasted and ended", breakerClosed, 0)
	if got := p.wait(now); got != 0 || p.reason != reasonExpired {
		t.Errorf("after it: wait %v because of %q, want none: it is tried for at once", got, p.reason)
	}
}

// A link that lasted wipes out the failures before it, though nobody looked meanwhile.
func TestLinkThatLastedIsNoFailure(t *testing.T) {
	p := pair{steady: time.Second}
	for range 5 {
		p.failed(begun, reasonRefused, 0)
	}
	p.connected(begun)
	p.ended(begun.Add(time.Second), reasonEnded, 1)
	if p.failures != 0 || p.wait(begun.Add(time.Second)) != 0 {
		t.Errorf("%d failures, wait %v; want none", p.failures, p.wait(begun.Add(time.Second)))
	}
}
