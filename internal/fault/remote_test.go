package fault

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// apply writes once, with a deadline of 300 ms, and returns how long it took.
func apply(t *testing.T, e engine.Engine) (time.Duration, error) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 300*ms)
	defer stop()
	start := time.Now()
	_, err := e.Apply(ctx, alice(), revoke())
	return time.Since(start), err
}

func TestCallsTakeTheDelayOfBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, f := NewNet(*seed), newFake()
		n.SetLink("a", "b", Calls, Link{Delay: 30 * ms})
		n.SetLink("b", "a", Calls, Link{Delay: 10 * ms})
		e := n.Engine("a", "b", f)
		time.AfterFunc(30*ms-1, func() {
			if got := f.count(Apply); got != 0 {
				t.Errorf("%d calls before the delay, want none", got)
			}
		})
		if took, err := apply(t, e); took != 40*ms || err != nil {
			t.Errorf("Apply took %v, %v, want 40 ms", took, err)
		}
		r, err := e.Read(t.Context(), alice(), crdt.Token{})
		if err != nil || r.IsBottom() {
			t.Errorf("Read = bottom %v, %v, want what was written", r.IsBottom(), err)
		}
		if err := e.Join(t.Context(), r); err != nil || f.count(Join) != 1 {
			t.Errorf("Join = %v, %d calls, want 1", err, f.count(Join))
		}
	})
}

// TestCallsVanish holds what every fault costs the caller and does to the engine.
func TestCallsVanish(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(n *Net)
		made  int           // calls that reach the engine
		took  time.Duration // what the caller waits of its 300 ms
		kind  error
	}{
		{"request cut", func(n *Net) { setCut(n, "a", "b", Calls, true) }, 0, 300 * ms, engine.ErrUnavailable},
		{"answer cut", func(n *Net) { setCut(n, "b", "a", Calls, true) }, 1, 300 * ms, engine.ErrUnavailable},
		{"request lost", func(n *Net) { n.SetLink("a", "b", Calls, Link{Loss: 1}) }, 0, 300 * ms, engine.ErrUnavailable},
		{"answer lost", func(n *Net) { n.SetLink("b", "a", Calls, Link{Loss: 1}) }, 1, 300 * ms, engine.ErrUnavailable},
		{"answer late", func(n *Net) { n.SetLink("b", "a", Calls, Link{Delay: time.Second}) }, 1, 300 * ms, engine.ErrUnavailable},
		{"cut on the way", func(n *Net) {
			n.SetLink("a", "b", Calls, Link{Delay: 100 * ms})
			time.AfterFunc(50*ms, func() { setCut(n, "a", "b", Calls, true) })
		}, 0, 300 * ms, engine.ErrUnavailable},
		{"cut on the way back", func(n *Net) {
			n.SetLink("b", "a", Calls, Link{Delay: 100 * ms})
			time.AfterFunc(50*ms, func() { setCut(n, "b", "a", Calls, true) })
		}, 1, 300 * ms, engine.ErrUnavailable},
		{"frozen", func(n *Net) { n.Freeze("b") }, 0, 300 * ms, engine.ErrUnavailable},
		{"frozen caller", func(n *Net) { n.Freeze("a") }, 0, 300 * ms, engine.ErrUnavailable},
		{"killed", func(n *Net) { n.Kill("b") }, 0, 0, engine.ErrUnreachable},
		{"killed caller", func(n *Net) { n.Kill("a") }, 0, 0, engine.ErrUnreachable},
		{"killed far away", func(n *Net) {
			n.Kill("b")
			n.SetLink("a", "b", Calls, Link{Delay: 10 * ms})
			n.SetLink("b", "a", Calls, Link{Delay: 10 * ms})
		}, 0, 20 * ms, engine.ErrUnreachable},
		{"killed and the refusal cut", func(n *Net) {
			n.Kill("b")
			setCut(n, "b", "a", Calls, true)
		}, 0, 300 * ms, engine.ErrUnavailable},
		{"other plane cut", func(n *Net) { setBoth(n, Link{Cut: true}) }, 1, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, f := NewNet(*seed), newFake()
				e := n.Engine("a", "b", f)
				c.fault(n)
				took, err := apply(t, e)
				if took != c.took || !errors.Is(err, c.kind) {
					t.Errorf("Apply took %v, %v, want %v, %v", took, err, c.took, c.kind)
				}
				if c.took == 300*ms && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Apply = %v, want the error of the context in it", err)
				}
				if c.kind != nil && engine.OutcomeKnown(err) != errors.Is(c.kind, engine.ErrUnreachable) {
					t.Errorf("OutcomeKnown(%v) = %v", err, engine.OutcomeKnown(err))
				}
				if got := f.count(Apply); got != c.made {
					t.Errorf("the engine was called %d times, want %d", got, c.made)
				}
			})
		})
	}
}

func TestRequestArrivesAfterItsCallerGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, f := NewNet(*seed), newFake()
		n.SetLink("a", "b", Calls, Link{Delay: 500 * ms})
		e := n.Engine("a", "b", f)
		took, err := apply(t, e)
		if took != 300*ms || !errors.Is(err, engine.ErrUnavailable) || f.count(Apply) != 0 {
			t.Fatalf("Apply took %v, %v, %d calls made, want 300 ms, unavailable and none", took, err, f.count(Apply))
		}
		time.Sleep(200 * ms)
		synctest.Wait()
		if f.count(Apply) != 1 || f.records[alice()].IsBottom() {
			t.Errorf("after the delay: %d calls made, written %v, want the late write", f.count(Apply), !f.records[alice()].IsBottom())
		}
		if got := n.traffic("a", "b", Calls); got.Messages != 1 || got.InFlight != 0 || got.Lost != 0 {
			t.Errorf("Snapshot: %+v, want 1 message that arrived", got)
		}
	})
}

func TestHostKilledWhileItWorksOnTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, f := NewNet(*seed), newFake()
		f.slow = 100 * ms
		time.AfterFunc(50*ms, func() { n.Kill("b") })
		took, err := apply(t, n.Engine("a", "b", f))
		if took != 100*ms || !errors.Is(err, engine.ErrUnavailable) || engine.OutcomeKnown(err) {
			t.Errorf("Apply took %v, %v, want 100 ms, unavailable", took, err)
		}
	})
}

func TestLossOfCallsIsTheShareAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Logf("seed %d", *seed)
		n, f := NewNet(*seed), newFake()
		n.SetLink("a", "b", Calls, Link{Loss: 0.25})
		e := n.Engine("a", "b", f)
		const calls = 2000
		lost := 0
		for range calls {
			if _, err := apply(t, e); err != nil {
				lost++
			}
		}
		// 6 standard deviations of 19 on each side.
		if lost < 384 || lost > 616 {
			t.Errorf("seed %d: %d of %d calls lost, want about 500", *seed, lost, calls)
		}
		if got := n.traffic("a", "b", Calls); got.Lost != uint64(lost) || got.Messages != calls || f.count(Apply) != calls-lost {
			t.Errorf("Snapshot: %d lost of %d, %d calls made, want %d of %d", got.Lost, got.Messages, f.count(Apply), lost, calls)
		}
	})
}

func TestCloseOfRemote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, f := NewNet(*seed), newFake()
		n.SetLink("a", "b", Calls, Link{Delay: time.Hour})
		e := n.Engine("a", "b", f)
		if _, err := apply(t, e); !errors.Is(err, engine.ErrUnavailable) { // leaves a late request
			t.Fatalf("Apply = %v, want unavailable", err)
		}
		waiting := make(chan error)
		go func() { _, err := e.Apply(t.Context(), alice(), revoke()); waiting <- err }()
		synctest.Wait()
		start := time.Now()
		go shut(e)
		if err := <-waiting; !errors.Is(err, engine.ErrUnavailable) || engine.OutcomeKnown(err) {
			t.Errorf("Apply under way at Close = %v, want unavailable: it was sent", err)
		}
		if err := e.Close(); err != nil {
			t.Errorf("second Close = %v", err)
		}
		if _, err := apply(t, e); !errors.Is(err, engine.ErrClosed) {
			t.Errorf("Apply after Close = %v, want closed", err)
		}
		if got := time.Since(start); got != 0 {
			t.Errorf("Close took %v, want no time", got)
		}
		if f.closed || f.count(Apply) != 0 {
			t.Errorf("the engine is closed %v and was called %d times, want it open and left alone", f.closed, f.count(Apply))
		}
	})
}

func TestCloseOfRemoteEndsTheWaitForAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, f := NewNet(*seed), newFake()
		setCut(n, "b", "a", Calls, true)
		e := n.Engine("a", "b", f)
		waiting := make(chan error)
		go func() { _, err := e.Apply(t.Context(), alice(), revoke()); waiting <- err }()
		synctest.Wait()
		go shut(e)
		if err := <-waiting; engine.OutcomeKnown(err) || f.count(Apply) != 1 {
			t.Errorf("Apply that waits at Close = %v, %d calls made, want an unknown outcome and 1", err, f.count(Apply))
		}
	})
}

func TestCallsOfOneHandleDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, f := NewNet(*seed), newFake()
		n.SetLink("a", "b", Calls, Link{Delay: 100 * ms})
		e := n.Engine("a", "b", f)
		errs := make(chan error)
		start := time.Now()
		for range 50 {
			go func() { _, err := apply(t, e); errs <- err }()
		}
		for range 50 {
			if err := <-errs; err != nil {
				t.Errorf("Apply = %v", err)
			}
		}
		if got := time.Since(start); got != 100*ms {
			t.Errorf("50 calls took %v, want 100 ms", got)
		}
	})
}

func TestPowersAreFoundThroughWrappers(t *testing.T) {
	f := newFake()
	e := Errors(NewNet(*seed).Engine("a", "b", f), *seed, nil)
	if got, ok := engine.As[engine.Scanner](e); !ok || got != engine.Scanner(f) {
		t.Errorf("As[Scanner] = %v, %v, want the engine itself", got, ok)
	}
	if got, ok := engine.As[engine.Log](e); ok {
		t.Errorf("As[Log] = %v, want none", got)
	}
}
