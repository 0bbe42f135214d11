//go:build integration

package sidebyside_test

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/fault"
)

// A probe sends bare messages over a link beside that of the replicas: what they take
// beyond the link's delay is the machine's doing, or the link's own, and not replication's.
type probe struct {
	conn  net.Conn
	begun time.Time

	mu     sync.Mutex // guards delays
	delays []float64  // in milliseconds
}

func newProbe(b *testing.B, network *fault.Net, from, to string) *probe {
	b.Helper()
	listener, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	proxy, err := network.Proxy(b.Context(), from, to, fault.Replication, listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	conn, err := (&net.Dialer{}).DialContext(b.Context(), "tcp", proxy.Addr())
	if err != nil {
		b.Fatal(err)
	}
	p := &probe{conn: conn, begun: time.Now()}
	var heard sync.WaitGroup
	heard.Go(func() {
		far, err := listener.Accept()
		if err != nil {
			return // the benchmark ended first
		}
		defer func() { _ = far.Close() }() // nothing is written
		p.hear(far)
	})
	b.Cleanup(func() {
		_, _ = conn.Close(), listener.Close() // end what is heard
		_ = proxy.Close()                     // never fails
		heard.Wait()
	})
	return p
}

// hear takes in messages until there are no more: each is when it was sent.
func (p *probe) hear(far io.Reader) {
	var message [8]byte
	for {
		if _, err := io.ReadFull(far, message[:]); err != nil {
			return
		}
		took := time.Since(p.begun) - time.Duration(binary.BigEndian.Uint64(message[:])) //nolint:gosec // it was one
		p.mu.Lock()
		p.delays = append(p.delays, float64(took)/float64(time.Millisecond))
		p.mu.Unlock()
	}
}

// send sends messages until the function that it returns is called, which returns the
// delays of those that have arrived by then.
func (p *probe) send(b *testing.B) (stop func() []float64) {
	b.Helper()
	const every = 5 * time.Millisecond
	done := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			var message [8]byte
			binary.BigEndian.PutUint64(message[:], uint64(time.Since(p.begun))) //nolint:gosec // not negative
			if _, err := p.conn.Write(message[:]); err != nil {
				b.Error(err)
				return
			}
		}
	})
	return func() []float64 {
		close(done)
		sending.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		out := p.delays
		p.delays = nil
		return out
	}
}
