package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// dialTimeout bounds a connection to a server on this machine.
	dialTimeout = 5 * time.Second
	// chunk is how much is carried at a time, in bytes, and chunksHeld how many of them a
	// slow direction has on its way; then the sender waits.
	chunk      = 32 << 10
	chunksHeld = 64
	// mostConns bounds the connections of a relay; one more is closed at once.
	mostConns = 10000
)

// A Path is how the network is between two places. Its zero value is a good one.
type Path struct {
	// Delay is how long what is sent takes, each way.
	Delay time.Duration `json:"delay"`
	// Silent: nothing passes, and nobody is told. It passes later, if the path gets well
	// while both sides still wait.
	Silent bool `json:"silent"`
	// Closed: connections are closed, and new ones too.
	Closed bool `json:"closed"`
}

// A Relay listens at an address and carries what comes to its target. Goroutines may share
// it.
type Relay struct {
	listener net.Listener
	tls      *tls.Config
	running  sync.WaitGroup

	mu      sync.Mutex // guards what follows
	changed chan struct{}
	target  string
	path    Path
	closed  bool
	conns   map[net.Conn]bool
}

// Listen begins to relay at an address. If c is not nil clients speak TLS, and the server
// does not. Close ends it; ctx bounds the beginning.
func Listen(ctx context.Context, addr string, c *tls.Config) (*Relay, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	r := &Relay{listener: l, tls: c, changed: make(chan struct{}), conns: map[net.Conn]bool{}}
	r.running.Go(func() { r.accept(context.WithoutCancel(ctx)) })
	return r, nil
}

// Addr returns host:port of where it listens.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// Lead has connections from now on lead to an address; "" is nowhere. Those to another one
// are left as they are: a server that was replaced still has its clients.
func (r *Relay) Lead(target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = target
	r.wake()
}

// SetPath says how the path is from now on.
func (r *Relay) SetPath(p Path) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.path = p
	if p.Closed {
		r.hangUp()
	}
	r.wake()
}

// Reset closes all connections.
func (r *Relay) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hangUp()
}

// Close ends the relay and its connections and returns when they have ended.
func (r *Relay) Close() error {
	err := r.listener.Close()
	r.mu.Lock()
	r.closed = true
	r.hangUp()
	r.wake()
	r.mu.Unlock()
	r.running.Wait()
	return err
}

// hangUp closes all connections. The caller holds the lock; closing does not block.
func (r *Relay) hangUp() {
	for c := range r.conns {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0) // at once
		}
		_ = c.Close() // whoever reads it notices
	}
}

// wake has everybody look at the path again. The caller holds the lock.
func (r *Relay) wake() {
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *Relay) accept(ctx context.Context) {
	for {
		c, err := r.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the client has gone again
		}
		if !r.hold(c) {
			_ = c.Close() // nobody is there
			continue
		}
		r.running.Go(func() {
			defer r.drop(c)
			r.carry(ctx, c)
		})
	}
}

// hold counts a connection among those that hangUp closes. It returns false if the path or
// the relay is closed, or there are too many.
func (r *Relay) hold(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.path.Closed || len(r.conns) >= mostConns {
		return false
	}
	r.conns[c] = true
	return true
}

func (r *Relay) drop(c net.Conn) {
	r.mu.Lock()
	delete(r.conns, c)
	r.mu.Unlock()
	_ = c.Close() // a second time does nothing
}

// pass waits while the path is silent and returns its delay; false if the relay ends.
func (r *Relay) pass() (target string, delay time.Duration, ok bool) {
	for {
		r.mu.Lock()
		path, changed, target, closed := r.path, r.changed, r.target, r.closed
		r.mu.Unlock()
		if closed || path.Closed {
			return "", 0, false
		}
		if !path.Silent {
			return target, path.Delay, true
		}
		<-changed
	}
}

// carry connects a client with the target and carries both ways until one side ends.
func (r *Relay) carry(ctx context.Context, client net.Conn) {
	target, _, ok := r.pass()
	if !ok || target == "" {
		return
	}
	if r.tls != nil {
		secure := tls.Server(client, r.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			return // the client knows why
		}
		client = secure
	}
	server, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", target)
	if err != nil {
		return // as a server that is down
	}
	defer r.drop(server)
	if !r.hold(server) {
		return
	}
	both := make(chan struct{}, 2)
	go func() { r.move(server, client); both <- struct{}{} }()
	go func() { r.move(client, server); both <- struct{}{} }()
	<-both
	// Half-closed connections are not for these protocols: one end ends both.
	_ = client.Close()
	_ = server.Close()
	<-both
}

// A piece is what was read, and when it may go on.
type piece struct {
	body []byte
	due  time.Time
}

// move carries one direction until it ends.
func (r *Relay) move(to, from net.Conn) {
	pieces := make(chan piece, chunksHeld)
	done := make(chan struct{})
	go func() {
		defer close(done)
		// What can't go on is drained, so that the reader below does not wait in vain.
		for p := range pieces {
			if _, _, ok := r.pass(); !ok {
				_ = from.Close()
				continue
			}
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.body); err != nil {
				_ = from.Close()
			}
		}
	}()
	buf := make([]byte, chunk)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			_, delay, ok := r.pass()
			if !ok {
				break
			}
			pieces <- piece{append([]byte(nil), buf[:n]...), time.Now().Add(delay)}
		}
		if err != nil {
			break
		}
	}
	close(pieces)
	<-done
	if c, ok := to.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite() // the other side may have gone
	}
}
