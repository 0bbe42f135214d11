package fault

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const ms = time.Millisecond

// connect returns both ends of a connection from host a to host b.
func connect(t *testing.T, n *Net) (a, b net.Conn) {
	t.Helper()
	l, err := n.Listen("b", "7001")
	if err != nil {
		t.Fatalf("Listen(b, 7001): %v", err)
	}
	defer shut(l)
	a, err = n.Dial(t.Context(), "a", "b", "7001")
	if err != nil {
		t.Fatalf("Dial(a, b, 7001): %v", err)
	}
	b, err = l.Accept()
	if err != nil {
		t.Fatalf("Accept(): %v", err)
	}
	t.Cleanup(func() { shut(a); shut(b) })
	return a, b
}

// shut closes what need not be asked how that went.
func shut(c io.Closer) { _ = c.Close() }

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	b := []byte(s)
	if n, err := c.Write(b); n != len(s) || err != nil {
		t.Fatalf("%v: Write(%q) = %d, %v, want %d, nil", c.LocalAddr(), s, n, err, len(s))
	}
	clear(b) // it is the writer's again
}

func expect(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("%v: read %q, %v, want %q", c.LocalAddr(), got, err, want)
	}
}

// expectAfter is expect, and wants that to take exactly so long.
func expectAfter(t *testing.T, c net.Conn, s string, want time.Duration) {
	t.Helper()
	start := time.Now()
	expect(t, c, s)
	if got := time.Since(start); got != want {
		t.Fatalf("%v: %q came after %v, want %v", c.LocalAddr(), s, got, want)
	}
}

// silent wants nothing to be read for d.
func silent(t *testing.T, c net.Conn, d time.Duration) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(d))
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%v: Read() = %d, %v, want deadline exceeded after %v", c.LocalAddr(), n, err, d)
	}
	_ = c.SetReadDeadline(time.Time{})
}

// fails wants Read and Write to fail with an error of a kind.
func fails(t *testing.T, c net.Conn, kind error) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, kind) {
		t.Fatalf("%v: Read() = %d, %v, want %v", c.LocalAddr(), n, err, kind)
	}
	if n, err := c.Write([]byte("x")); n != 0 || !errors.Is(err, kind) {
		t.Fatalf("%v: Write(x) = %d, %v, want %v", c.LocalAddr(), n, err, kind)
	}
}

func setBoth(n *Net, l Link) {
	n.SetLink("a", "b", Replication, l)
	n.SetLink("b", "a", Replication, l)
}

func setCut(n *Net, from, to string, p Plane, cut bool) {
	l := n.Link(from, to, p)
	l.Cut = cut
	n.SetLink(from, to, p, l)
}

func TestDelayIsOneWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(*seed)
		n.SetLink("a", "b", Replication, Link{Delay: 30 * ms})
		n.SetLink("b", "a", Replication, Link{Delay: 10 * ms})
		start := time.Now()
		a, b := connect(t, n)
		if got, want := time.Since(start), 40*ms; got != want {
			t.Errorf("Dial took %v, want a round trip of %v", got, want)
		}
		write(t, a, "there")
		expectAfter(t, b, "there", 30*ms)
		write(t, b, "back")
		expectAfter(t, a, "back", 10*ms)
	})
}

func TestStreamKeepsOrderAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Logf("seed %d", *seed)
		n := NewNet(*seed)
		setBoth(n, Link{Delay: 11 * ms, Jitter: 50 * ms})
		a, b := connect(t, n)
		setBoth(n, Link{Delay: 11 * ms, Jitter: 50 * ms, Loss: 0.3})
		dice := rand.New(rand.NewPCG(*seed, 0))
		want := make([]byte, 1<<20) // four send buffers
		for i := range want {
			want[i] = byte(dice.Uint32())
		}
		go func() {
			for rest := want; len(rest) > 0; {
				k := min(len(rest), 1+dice.IntN(20_000))
				if _, err := a.Write(rest[:k]); err != nil {
					t.Errorf("Write of %d bytes: %v", k, err)
					return
				}
				rest = rest[k:]
			}
			shut(a)
		}()
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("ReadAll() = %d bytes, equal %v, %v, want the %d that were written", len(got), bytes.Equal(got, want), err, len(want))
		}
	})
}

func TestLossOnStreamIsLateness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Logf("seed %d", *seed)
		n := NewNet(*seed)
		setBoth(n, Link{Delay: 11 * ms})
		a, b := connect(t, n)
		setBoth(n, Link{Delay: 11 * ms, Loss: 0.4})
		const rto = 222 * ms // 200 ms and a round trip
		repeats := uint64(0)
		for range 50 {
			start := time.Now()
			write(t, a, "x")
			expect(t, b, "x")
			late, step := time.Since(start)-11*ms, rto
			for ; late > 0; step *= 2 {
				late -= step
				repeats++
			}
			if late != 0 {
				t.Fatalf("a lost segment was late by %v, want 222 ms × (2^n − 1)", time.Since(start)-11*ms)
			}
		}
		if lost := n.traffic("a", "b", Replication).Lost; lost != repeats || lost == 0 {
			t.Errorf("Snapshot: %d lost, want the %d that were seen to be late, and some", lost, repeats)
		}
	})
}

// traffic returns one row of the snapshot.
func (n *Net) traffic(from, to string, p Plane) Traffic {
	for _, l := range n.Snapshot().Links {
		if l.From == from && l.To == to && l.Plane == p {
			return l
		}
	}
	return Traffic{}
}

func TestCutHoldsBytesUntilTCPTriesAgain(t *testing.T) {
	for _, c := range []struct{ cut, silence time.Duration }{
		{100 * ms, 150 * ms},
		{5 * time.Second, 2750 * ms},
		{15 * time.Second, 750 * ms},
		{40 * time.Second, 7750 * ms}, // steps of 8 s from 7.75 s on
	} {
		synctest.Test(t, func(t *testing.T) {
			n := NewNet(*seed)
			a, b := connect(t, n)
			n.SetLink("a", "b", Replication, Link{Cut: true})
			write(t, a, "held")
			silent(t, b, c.cut)
			n.SetLink("a", "b", Replication, Link{Delay: 11 * ms})
			write(t, a, ", then")
			expectAfter(t, b, "held, then", c.silence+11*ms)
		})
	}
}

func TestCutHoldsWhatIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(*seed)
		setBoth(n, Link{Delay: 20 * ms})
		a, b := connect(t, n)
		write(t, a, "1")
		time.Sleep(15 * ms)
		write(t, a, "2")
		time.Sleep(10 * ms) // "1" has arrived and "2" has not
		setCut(n, "a", "b", Replication, true)
		expectAfter(t, b, "1", 0)
		silent(t, b, time.Second)
		setCut(n, "a", "b", Replication, false)
		expectAfter(t, b, "2", 770*ms)
	})
}

func TestCutIsOneWayAndOnOnePlane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(*seed)
		a, b := connect(t, n)
		setCut(n, "a", "b", Calls, true)
		setCut(n, "b", "a", Calls, true)
		setCut(n, "b", "a", Replication, true)
		write(t, b, "held")
		write(t, a, "passes")
		expectAfter(t, b, "passes", 0)
		silent(t, a, time.Hour)
	})
}

func TestWriterWaitsWhenTheBufferIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(*seed)
		a, b := connect(t, n)
		n.SetLink("a", "b", Replication, Link{Cut: true})
		_ = a.SetWriteDeadline(time.Now().Add(time.Second))
		sent, err := a.Write(make([]byte, 2*sendBuffer))
		if sent != sendBuffer || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("Write over a cut = %d, %v, want %d, deadline exceeded", sent, err, sendBuffer)
		}
		_ = a.SetWriteDeadline(time.Time{})
		done := make(chan error)
		go func() {
			_, err := a.Write([]byte("more"))
			done <- err
		}()
		n.SetLink("a", "b", Replication, Link{})
		expect(t, b, string(make([]byte, sendBuffer))+"more")
		if err := <-done; err != nil {
			t.Errorf("Write after the heal: %v", err)
		}
	})
}

func TestAcknowledgementsNeedTheWayBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(*seed)
		a, b := connect(t, n)
		setCut(n, "b", "a", Replication, true)
		full := string(make([]byte, sendBuffer))
		write(t, a, full)
		expect(t, b, full)
		_ = a.SetWriteDeadline(time.Now().Add(time.Second))
		if sent, err := a.Write([]byte("x")); sent != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("Write without acknowledgements = %d, %v, want 0, deadline exceeded", sent, err)
		}
		_ = a.SetWriteDeadline(time.Time{})
		setCut(n, "b", "a", Replication, false)
		write(t, a, "y")
		expect(t, b, "y")
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(*seed)
		a, b := connect(t, n)
		write(t, a, "x")
		_ = b.SetDeadline(time.Now().Add(-time.Second))
		fails(t, b, os.ErrDeadlineExceeded)
		var timeout net.Error
		if _, err := b.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("Read past the deadline = %v, want a net.Error with Timeout", err)
		}
		_ = b.SetDeadline(time.Time{})
		expect(t, b, "x")

		start := time.Now()
		time.AfterFunc(time.Second, func() { _ = b.SetReadDeadline(time.Now().Add(time.Second)) })
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read = %v, want a deadline set while it waits to end it", err)
		}
		if got := time.Since(start); got != 2*time.Second {
			t.Errorf("Read ended after %v, want 2 s", got)
		}
		write(t, b, "the write deadline is another")
	})
}

func TestCloseIsHeardAfterWhatWasWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(*seed)
		setBoth(n, Link{Delay: 10 * ms})
		a, b := connect(t, n)
		write(t, a, "last words")
		if err := a.Close(); err != nil {
			t.Fatalf("Close() = %v", err)
		}
		if err := a.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close() = %v, want net.ErrClosed", err)
		}
		fails(t, a, net.ErrClosed)
		if err := a.SetDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("SetDeadline after Close = %v, want net.ErrClosed", err)
		}
		expectAfter(t, b, "last words", 10*ms)
		for range 2 {
			if k, err := b.Read(make([]byte, 1)); k != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("Read after the end = %d, %v, want io.EOF", k, err)
			}
		}
		write(t, b, "to nobody")
		time.Sleep(20 * ms)
		if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("Write a round trip after writing to a closed end = %v, want ECONNRESET", err)
		}
	})
}

func TestCloseWithUnreadBytesResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(*seed)
		setBoth(n, Link{Delay: 10 * ms})
		a, b := connect(t, n)
		write(t, a, "never read")
		shut(b)
		time.Sleep(20 * ms)
		if k, err := a.Write([]byte("x")); k != 0 || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("first Write a round trip after the other end closed on unread bytes = %d, %v, want ECONNRESET", k, err)
		}
	})
}

func TestCloseWakesWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(*seed)
		a, _ := connect(t, n)
		l, err := n.Listen("b", "7002")
		if err != nil {
			t.Fatal(err)
		}
		setCut(n, "a", "b", Replication, true)
		errs := make(chan error, 3)
		go func() { _, err := a.Read(make([]byte, 1)); errs <- err }()
		go func() { _, err := a.Write(make([]byte, 2*sendBuffer)); errs <- err }()
		go func() { _, err := l.Accept(); errs <- err }()
		synctest.Wait()
		shut(a)
		shut(l)
		for range 3 {
			if err := <-errs; !errors.Is(err, net.ErrClosed) {
				t.Errorf("a waiting call ended with %v, want net.ErrClosed", err)
			}
		}
	})
}

func TestConcurrentWritesAreNotTorn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(*seed)
		a, b := connect(t, n)
		const writers, size = 4, 8*sendBuffer + 1000
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				if k, err := a.Write(bytes.Repeat([]byte{byte(i)}, size)); k != size || err != nil {
					t.Errorf("Write = %d, %v, want %d", k, err, size)
				}
			})
		}
		for range writers {
			got := make([]byte, size)
			if _, err := io.ReadFull(b, got); err != nil {
				t.Fatalf("ReadFull: %v", err)
			}
			if want := bytes.Repeat(got[:1], size); !bytes.Equal(got, want) {
				t.Errorf("a Write of %d bytes %d was torn by another", size, got[0])
			}
		}
		wg.Wait()
	})
}

func TestSameSeedSameFate(t *testing.T) {
	// arrivals are when 20 messages from a to b arrive.
	arrivals := func(t *testing.T, seed uint64, busy bool) (at []time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			n := NewNet(seed)
			a, b := connect(t, n)
			l := Link{Jitter: 100 * ms, Loss: 0.2}
			setBoth(n, l)
			n.SetLink("a", "c", Calls, l)
			e := n.Engine("a", "c", newFake())
			for range 20 {
				if busy {
					ctx, stop := context.WithTimeout(t.Context(), time.Second)
					_, _ = e.Apply(ctx, alice(), revoke()) // its fate is not what is tested
					stop()
				}
				sent := time.Now()
				write(t, a, "x")
				expect(t, b, "x")
				at = append(at, time.Since(sent))
			}
			shut(e)
		})
		return at
	}
	first := arrivals(t, *seed, false)
	for _, busy := range []bool{false, true} {
		if got := arrivals(t, *seed, busy); !slices.Equal(got, first) {
			t.Errorf("seed %d, traffic elsewhere %v: arrivals %v, want %v", *seed, busy, got, first)
		}
	}
	if got := arrivals(t, *seed+1, false); slices.Equal(got, first) {
		t.Errorf("seeds %d and %d: the same arrivals %v", *seed, *seed+1, got)
	}
}

// TestAnotherWriteWaitsThoughThereIsRoom makes room that the blocked Write has
// not noticed yet, which is when another could tear it.
func TestAnotherWriteWaitsThoughThereIsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(*seed)
		c, b := connect(t, n)
		const size = sendBuffer + 10
		done := make(chan error)
		go func() { _, err := c.Write(make([]byte, size)); done <- err }()
		synctest.Wait()
		a, ok := c.(*conn)
		if !ok {
			t.Fatalf("Dial returned a %T, want a *conn", c)
		}
		n.mu.Lock()
		a.out.used -= 5
		n.mu.Unlock()
		owner := false
		if k, _, _, err := a.tryWrite([]byte("x"), &owner); k != 0 || owner || err != nil {
			t.Errorf("tryWrite beside a blocked Write = %d, owner %v, %v, want 0, false", k, owner, err)
		}
		expect(t, b, string(make([]byte, size)))
		if err := <-done; err != nil {
			t.Errorf("Write = %v", err)
		}
	})
}
