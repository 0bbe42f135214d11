package controlsim

import (
	"flag"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	seeds = flag.Uint64("seeds", 150, "how many runs; `make control-sim` does 10,000")
	start = flag.Uint64("start", 1, "the first of them")
	seed  = flag.Uint64("seed", 0, "one run, in words")
	most  = flag.Int("failures", 1, "go on until so many have failed")
)

// The control plane keeps what it promises, whatever fails, and somebody takes writes soon
// after a primary has died.
func TestControlPlane(t *testing.T) {
	if *seed != 0 {
		r := Run(*seed, Options{Words: true})
		t.Logf("%s\n%v\n%+v", strings.Join(r.Lines, "\n"), r.Violations, r.Stats)
		return
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // it is all short-lived
	var mu sync.Mutex                                 // guards what follows
	var sum Stats
	var failedOver, gaps []time.Duration
	var events uint64
	failures, next, began := 0, *start, time.Now()
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				mu.Lock()
				s := next
				next++
				done := s >= *start+*seeds || failures >= *most
				mu.Unlock()
				if done {
					return
				}
				r := Run(s, Options{})
				mu.Lock()
				sum, events = sum.Plus(r.Stats), events+r.Events
				failedOver, gaps = append(failedOver, r.FailedOver...), append(gaps, r.Gaps...)
				if len(r.Violations) > 0 {
					failures++
					t.Errorf("seed %d: %v\n(-seed %d tells the story)", s, r.Violations, s)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	t.Logf("%d runs, %.0f a second, %d events, %+v", *seeds, float64(*seeds)/took.Seconds(), events, sum)
	t.Logf("failed over %d times: %s", len(failedOver), quantiles(failedOver))
	t.Logf("switched over %d times: %s", len(gaps), quantiles(gaps))
	if t.Failed() {
		return
	}
	if p99 := quantile(failedOver, 0.99); p99 > 8*time.Second || uint64(len(failedOver)) < *seeds/20 {
		t.Errorf("failed over %d times, p99 %v; want one in 20 seeds, and 8 s", len(failedOver), p99)
	}
	if n := int(*seeds); sum.Taken < 100*n || sum.Done < n/2 || sum.Failovers < n/2 || sum.Recovered < n || sum.Failsafe == 0 { //nolint:gosec // small
		t.Error("too little happened")
	}
}

// A seed is the same run each time, with words and without.
func TestSameSeedSameRun(t *testing.T) {
	for s := uint64(1); s <= 5; s++ {
		a, b := Run(s, Options{}), Run(s, Options{Words: true})
		if a.Trace != b.Trace || a.Events != b.Events || a.Stats != b.Stats || len(b.Lines) == 0 {
			t.Errorf("seed %d: trace %x after %d events, and %x after %d", s, a.Trace, a.Events, b.Trace, b.Events)
		}
	}
	if a, b := Run(1, Options{}), Run(2, Options{}); a.Trace == b.Trace {
		t.Errorf("seeds 1 and 2 have the trace %x, want two", a.Trace)
	}
}

// The queue has the earliest first, and what was put in first of one time.
func TestQueue(t *testing.T) {
	var q queue
	for i := range 200 {
		q.push(event{at: time.Duration(i * 7919 % 13), serial: uint64(i)}) //nolint:gosec // positive
	}
	last := q.pop()
	for range 199 {
		next := q.pop()
		if next.at < last.at || next.at == last.at && next.serial < last.serial {
			t.Fatalf("%v, number %d, came after %v, number %d", next.at, next.serial, last.at, last.serial)
		}
		last = next
	}
	if len(q) != 0 {
		t.Errorf("%d are left", len(q))
	}
}

func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[int(q*float64(len(all)-1))]
}

func quantiles(all []time.Duration) string {
	return "p50 " + quantile(all, 0.5).String() + ", p99 " + quantile(all, 0.99).String() + ", most " + quantile(all, 1).String()
}
