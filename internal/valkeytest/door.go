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
	open  sync.Cond
	held  bool
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
	d.open.L = &d.mu
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
		d.held = false
		d.open.Broadcast()
		for c := range d.conns {
			_ = c.Close() // the test is over
		}
	}
}

// Hold has nothing pass either way, on connections there are and on new ones, as a
// network does that loses everything; or lets it pass again.
func (d *Door) Hold(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held = on
	d.open.Broadcast()
}

// A held reads what is let pass.
type held struct {
	io.Reader
	door *Door
}

// Read reads, and keeps what it read while the door is held.
func (h held) Read(b []byte) (int, error) {
	n, err := h.Reader.Read(b)
	h.door.mu.Lock()
	defer h.door.mu.Unlock()
	for h.door.held {
		h.door.open.Wait()
	}
	return n, err
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
		_, _ = io.Copy(out, held{in, d}) // ends when either side does
		_ = out.Close()
	}()
	_, _ = io.Copy(in, held{out, d})
}
