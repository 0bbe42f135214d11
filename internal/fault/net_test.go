package fault

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestKillIsHeardOneDelayLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(*seed)
		setBoth(n, Link{Delay: 10 * ms})
		a, b := connect(t, n)
		write(t, b, "before")
		time.Sleep(5 * ms)
		n.Kill("b")
		if n.Alive("b") || !n.Alive("a") {
			t.Errorf("Alive(b), Alive(a) = %v, %v, want false, true", n.Alive("b"), n.Alive("a"))
		}
		fails(t, b, syscall.ECONNRESET)
		start := time.Now()
		expect(t, a, "before")
		fails(t, a, syscall.ECONNRESET)
		if got := time.Since(start); got != 10*ms {
			t.Errorf("the peer heard of the kill after %v, want 10 ms", got)
		}
	})
}

func TestKillWakesWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(*seed)
		a, b := connect(t, n)
		errs := make(chan error, 3)
		go func() { _, err := a.Read(make([]byte, 1)); errs <- err }()
		go func() { _, err := b.Read(make([]byte, 1)); errs <- err }()
		go func() { _, err := a.Write(make([]byte, 2*sendBuffer)); errs <- err }()
		synctest.Wait() // b's Read is done: it has got a byte
		if err := <-errs; err != nil {
			t.Fatalf("Read = %v", err)
		}
		n.Kill("b")
		for range 2 {
			if err := <-errs; !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("a waiting call ended with %v, want ECONNRESET", err)
			}
		}
	})
}

func TestKilledHostRefusesDialsUntilRevived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(*seed)
		l, err := n.Listen("b", "7001")
		if err != nil {
			t.Fatal(err)
		}
		defer shut(l)
		waiting, err := n.Dial(t.Context(), "a", "b", "7001")
		if err != nil {
			t.Fatal(err)
		}
		defer shut(waiting)
		n.Kill("b")
		fails(t, waiting, syscall.ECONNRESET)
		start := time.Now()
		if c, err := n.Dial(t.Context(), "a", "b", "7001"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Dial to a killed host = %v, %v, want ECONNREFUSED", c, err)
		}
		if c, err := n.Dial(t.Context(), "b", "a", "7001"); !errors.Is(err, syscall.EHOSTDOWN) {
			t.Errorf("Dial from a killed host = %v, %v, want EHOSTDOWN", c, err)
		}
		if l, err := n.Listen("b", "7002"); !errors.Is(err, syscall.EHOSTDOWN) {
			t.Errorf("Listen on a killed host = %v, %v, want EHOSTDOWN", l, err)
		}
		if got := time.Since(start); got != 0 {
			t.Errorf("refusals took %v over perfect links, want no time", got)
		}
		n.Revive("b")
		a, err := n.Dial(t.Context(), "a", "b", "7001")
		if err != nil {
			t.Fatalf("Dial after Revive: %v", err)
		}
		b, err := l.Accept()
		if err != nil {
			t.Fatalf("Accept after Revive: %v", err)
		}
		write(t, a, "again") // and not on the connection that waited before the kill
		expect(t, b, "again")
		shut(a)
		shut(b)
	})
}

func TestKillBehindCutIsHeardAfterTheHeal(t *testing.T) {
	for _, order := range [][2]string{{"a", "b"}, {"b", "a"}} {
		synctest.Test(t, func(t *testing.T) {
			n := NewNet(*seed)
			a, _ := connect(t, n)
			setBoth(n, Link{Delay: 10 * ms, Cut: true})
			write(t, a, "x")
			n.Kill("b")
			silent(t, a, time.Hour)
			setCut(n, order[0], order[1], Replication, false)
			silent(t, a, time.Hour)
			setCut(n, order[1], order[0], Replication, false)
			start := time.Now()
			fails(t, a, syscall.ECONNRESET)
			if got := time.Since(start); got != 20*ms {
				t.Errorf("%v healed first: heard after %v, want a round trip of 20 ms", order, got)
			}
		})
	}
}

func TestCutSwallowsTheResetAndWhatWasHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(*seed)
		setBoth(n, Link{Delay: 20 * ms})
		a, b := connect(t, n)
		c, d := connect(t, n)
		setCut(n, "b", "a", Replication, true)
		write(t, b, "held")
		n.Kill("b") // who held it is gone
		n.Revive("b")
		setCut(n, "b", "a", Replication, false)
		silent(t, a, time.Hour)
		silent(t, c, time.Hour)
		fails(t, d, syscall.ECONNRESET)

		e, _ := connect(t, n)
		n.Kill("b")
		time.Sleep(10 * ms)
		setCut(n, "b", "a", Replication, true) // the reset is half way
		silent(t, e, time.Hour)
	})
}

func TestKillBehindCutIsNotHeardByWhoSendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(*seed)
		a, _ := connect(t, n)
		setBoth(n, Link{Cut: true})
		n.Kill("b")
		n.Revive("b")
		setBoth(n, Link{})
		silent(t, a, time.Hour)
		write(t, a, "are you there?")
		fails(t, a, syscall.ECONNRESET)
	})
}

func TestFreezeIsSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(*seed)
		a, b := connect(t, n)
		n.Freeze("b")
		if n.Alive("b") {
			t.Error("Alive(b) = true, want false for a frozen host")
		}
		write(t, a, "question")
		write(t, b, "unheard")
		silent(t, a, time.Second)
		silent(t, b, time.Second)
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if c, err := n.Dial(ctx, "a", "b", "7001"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial to a frozen host = %v, %v, want deadline exceeded", c, err)
		}
		n.Revive("b")
		expect(t, b, "question")
		expect(t, a, "unheard")
	})
}

func TestPowerLossIsSilenceUntilTheRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(*seed)
		a, _ := connect(t, n)
		n.Freeze("b")
		write(t, a, "x")
		silent(t, a, time.Minute)
		n.Kill("b")
		n.Revive("b")
		fails(t, a, syscall.ECONNRESET)
	})
}

func TestDialOverCutWaits(t *testing.T) {
	for _, from := range []string{"a", "b"} { // the request's way, the answer's way
		synctest.Test(t, func(t *testing.T) {
			n := NewNet(*seed)
			l, err := n.Listen("b", "7001")
			if err != nil {
				t.Fatal(err)
			}
			defer shut(l)
			setCut(n, from, map[string]string{"a": "b", "b": "a"}[from], Replication, true)
			ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
			defer stop()
			start := time.Now()
			if c, err := n.Dial(ctx, "a", "b", "7001"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Dial over a cut = %v, %v, want deadline exceeded", c, err)
			}
			if got := time.Since(start); got != 10*time.Second {
				t.Errorf("Dial waited %v, want 10 s", got)
			}
			time.AfterFunc(5*time.Second, func() { setBoth(n, Link{}) })
			start = time.Now()
			a, err := n.Dial(t.Context(), "a", "b", "7001")
			if err != nil {
				t.Fatalf("Dial healed: %v", err)
			}
			defer shut(a)
			if got := time.Since(start); got != 7*time.Second {
				t.Errorf("Dial healed after 5 s took %v, want 1 + 2 + 4 s", got)
			}
		})
	}
}

func TestDialAndListenRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(*seed)
		setBoth(n, Link{Delay: 10 * ms})
		start := time.Now()
		if c, err := n.Dial(t.Context(), "a", "b", "7001"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Dial with nobody there = %v, %v, want ECONNREFUSED", c, err)
		}
		if got := time.Since(start); got != 20*ms {
			t.Errorf("the refusal took %v, want a round trip of 20 ms", got)
		}
		l, err := n.Listen("b", "7001")
		if err != nil {
			t.Fatal(err)
		}
		if l2, err := n.Listen("b", "7001"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("second Listen = %v, %v, want EADDRINUSE", l2, err)
		}
		a, err := n.Dial(t.Context(), "a", "b", "7001")
		if err != nil {
			t.Fatal(err)
		}
		defer shut(a)
		shut(l)
		fails(t, a, syscall.ECONNRESET)
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close = %v, want net.ErrClosed", err)
		}
		done, stop := context.WithCancel(t.Context())
		stop()
		if c, err := n.Dial(done, "a", "b", "7001"); !errors.Is(err, context.Canceled) {
			t.Errorf("Dial with a context that has ended = %v, %v, want canceled", c, err)
		}
	})
}

func TestBacklogIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(*seed)
		l, err := n.Listen("b", "7001")
		if err != nil {
			t.Fatal(err)
		}
		defer shut(l)
		for i := range backlog {
			c, err := n.Dial(t.Context(), "a", "b", "7001")
			if err != nil {
				t.Fatalf("Dial %d: %v", i, err)
			}
			defer shut(c)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		if c, err := n.Dial(ctx, "a", "b", "7001"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial %d = %v, %v, want no answer", backlog+1, c, err)
		}
	})
}

func TestAddressesNameHostAndPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := connect(t, NewNet(*seed))
		for _, c := range []struct{ got, want string }{
			{a.LocalAddr().String(), "a:49152"},
			{a.RemoteAddr().String(), "b:7001"},
			{b.LocalAddr().String(), "b:7001"},
			{b.RemoteAddr().String(), "a:49152"},
			{a.LocalAddr().Network(), "fault"},
		} {
			if c.got != c.want {
				t.Errorf("address %q, want %q", c.got, c.want)
			}
		}
	})
}

func TestSnapshotCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(*seed)
		a, b := connect(t, n)
		slow := Link{Delay: 10 * ms}
		n.SetLink("a", "b", Replication, slow)
		write(t, a, "12345")
		want := Traffic{From: "a", To: "b", Plane: Replication, Link: slow, Bytes: 5, Messages: 2, InFlight: 1} // with the handshake
		if got := n.traffic("a", "b", Replication); got != want {
			t.Errorf("Snapshot with a message on its way: %+v, want %+v", got, want)
		}
		expect(t, b, "12345")
		want.InFlight = 0
		if got := n.traffic("a", "b", Replication); got != want {
			t.Errorf("Snapshot after it: %+v, want %+v", got, want)
		}
		n.Kill("c")
		n.Freeze("d")
		hosts := []Host{{Name: "a"}, {Name: "b"}, {Name: "c", Killed: true}, {Name: "d", Frozen: true}}
		got := n.Snapshot().Hosts
		for i := range hosts {
			if len(got) != len(hosts) || got[i] != hosts[i] {
				t.Fatalf("Snapshot: hosts %+v, want %+v", got, hosts)
			}
		}
	})
}

func TestLinkIsBroughtIntoRange(t *testing.T) {
	n := NewNet(*seed)
	for _, c := range []struct{ set, want Link }{
		{Link{Delay: -1, Jitter: -1, Loss: -1}, Link{}},
		{Link{Loss: math.NaN()}, Link{}},
		{Link{Loss: 7, Cut: true}, Link{Loss: 1, Cut: true}},
		{Link{Delay: ms, Jitter: ms, Loss: 0.5}, Link{Delay: ms, Jitter: ms, Loss: 0.5}},
	} {
		n.SetLink("a", "b", Calls, c.set)
		if got := n.Link("a", "b", Calls); got != c.want {
			t.Errorf("SetLink(%+v), then Link() = %+v, want %+v", c.set, got, c.want)
		}
	}
	if got := n.Link("b", "a", Calls); got != (Link{}) {
		t.Errorf("the other direction = %+v, want it perfect", got)
	}
}

// TestNothingIsLeft runs outside a bubble, on the true clock; TestMain looks for
// goroutines.
func TestNothingIsLeft(t *testing.T) {
	n := NewNet(*seed)
	setBoth(n, Link{Delay: ms, Jitter: ms, Loss: 0.01})
	l, err := n.Listen("b", "7001")
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("roam"), 1000)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			c, err := n.Dial(t.Context(), "a", "b", "7001")
			if err != nil {
				t.Errorf("Dial: %v", err)
				return
			}
			defer shut(c)
			if _, err := c.Write(want); err != nil {
				t.Errorf("Write: %v", err)
			}
			got := make([]byte, len(want))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("echo: %d bytes, %v, want what was sent", len(got), err)
			}
		})
		wg.Go(func() {
			c, err := l.Accept()
			if err != nil {
				t.Errorf("Accept: %v", err)
				return
			}
			defer shut(c)
			if _, err := io.CopyN(c, c, int64(len(want))); err != nil {
				t.Errorf("echo: %v", err)
			}
		})
	}
	wg.Wait()
	shut(l)
	for _, line := range n.order {
		if len(line.pipes) != 0 {
			t.Errorf("%s to %s: %d pipes are left, want none", line.from.name, line.to.name, len(line.pipes))
		}
	}
	if len(n.listeners) != 0 {
		t.Errorf("%d listeners are left, want none", len(n.listeners))
	}
}
