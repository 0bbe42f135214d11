//go:build integration

package valkeytest

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// A Door is an address that leads to one server and later to another, as a name in
// DNS does. It ends with its test.
type Door struct {
	// Addr is host:port.
	Addr string

	mu    sync.Mutex // guards what follows
	to    string
	conns map[net.Conn]bool
}

// NewDoor returns a door to a server.
func NewDoor(t testing.TB, to string) *Door {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	d := &Door{Addr: l.Addr().String(), to: to, conns: map[net.Conn]bool{}}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close() // ends Accept
		d.Lead("")
		wg.Wait()
	})
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { d.carry(in) })
		}
	})
	return d
}

// Lead makes new connections go to another server. Those there are stay: a name that
// changes moves nobody.
func (d *Door) Lead(to string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.to = to
	if to == "" {
		for c := range d.conns {
			_ = c.Close() // the test is over
		}
	}
}

// carry brings bytes both ways until one side ends.
func (d *Door) carry(in net.Conn) {
	d.mu.Lock()
	to := d.to
	d.conns[in] = true
	d.mu.Unlock()
	defer func() {
		_ = in.Close() // either side ended
		d.mu.Lock()
		delete(d.conns, in)
		d.mu.Unlock()
	}()
	if to == "" {
		return
	}
	out, err := (&net.Dialer{Timeout: time.Second}).Dial("tcp", to) //nolint:noctx // bounded by its timeout
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }() // either side ended
	go func() {
		_, _ = io.Copy(out, in) // ends when either side does
		_ = out.Close()
	}()
	_, _ = io.Copy(in, out)
}
