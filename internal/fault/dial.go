package fault

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"
)

const (
	// backlog bounds the connections that wait to be accepted; a dial that finds
	// it full is not answered. 128 is what Linux had for a long time (somaxconn).
	backlog = 128
	// dialRetry is after how long an unanswered handshake is repeated, then
	// twice that and so on up to dialRetryMax (RFC 6298, 2: one second).
	dialRetry    = time.Second
	dialRetryMax = 8 * time.Second
	// firstPort begins the ports of dialling ends (RFC 6335, 6: dynamic ports).
	firstPort = 49152
)

// listener is a net.Listener.
type listener struct {
	net  *Net
	addr addr

	// Guarded by Net.mu.
	queue   []*conn
	closed  bool
	changed chan struct{}
}

// Listen hears dials to host and port, on the Replication plane. It fails with
// EADDRINUSE if somebody hears already and with EHOSTDOWN on a killed host.
// Closing the listener resets what it has not accepted.
func (n *Net) Listen(host, port string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	at := addr{host, port}
	var err error
	if _, taken := n.listeners[at]; taken {
		err = syscall.EADDRINUSE
	} else if n.host(host).state == killed {
		err = syscall.EHOSTDOWN
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: at, Err: err}
	}
	l := &listener{net: n, addr: at, changed: make(chan struct{})}
	n.listeners[at] = l
	return l, nil
}

// Accept waits for the next connection. It fails with net.ErrClosed after Close.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, wake, err := l.tryAccept()
		if err != nil {
			return nil, err
		}
		if c != nil {
			return c, nil
		}
		<-wake
	}
}

func (l *listener) tryAccept() (*conn, <-chan struct{}, error) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	if l.closed {
		return nil, nil, &net.OpError{Op: "accept", Net: network, Addr: l.addr, Err: net.ErrClosed}
	}
	if len(l.queue) == 0 {
		return nil, l.changed, nil
	}
	c := l.queue[0]
	l.queue = l.queue[1:]
	return c, nil, nil
}

// Close ends Accept and the hearing of dials. It fails with net.ErrClosed if it
// was called before.
func (l *listener) Close() error {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	if l.closed {
		return &net.OpError{Op: "close", Net: network, Addr: l.addr, Err: net.ErrClosed}
	}
	l.closed = true
	delete(l.net.listeners, l.addr)
	for _, c := range l.queue {
		c.vanish(time.Now())
	}
	l.queue = nil
	l.wake()
	return nil
}

// Addr returns host:port.
func (l *listener) Addr() net.Addr { return l.addr }

func (l *listener) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Dial connects a host with a listener on another, on the Replication plane,
// which takes a round trip. It fails with ECONNREFUSED if nobody listens or the
// host is killed, once that answer is back, and with EHOSTDOWN if from is
// killed. Where no answer comes it repeats the handshake until ctx ends, and
// fails with its error.
func (n *Net) Dial(ctx context.Context, from, to, port string) (net.Conn, error) {
	c, err := n.dial(ctx, from, addr{to, port})
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: addr{to, port}, Err: err}
	}
	return c, nil
}

func (n *Net) dial(ctx context.Context, from string, at addr) (c *conn, err error) {
	n.mu.Lock()
	there, back := n.line(from, at.host, Replication), n.line(at.host, from, Replication)
	n.mu.Unlock()
	err = n.insist(ctx, there, func() (bool, error) {
		c, err = n.handshake(ctx, at, there, back)
		return c != nil, err
	})
	return c, err
}

// insist tries something on a line until it is done or fails, which it is not and does
// not where no answer comes.
func (n *Net) insist(ctx context.Context, there *line, try func() (done bool, err error)) error {
	for wait := dialRetry; ; wait = min(2*wait, dialRetryMax) {
		again := time.Now().Add(wait)
		if n.killed(there.from) {
			return syscall.EHOSTDOWN
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if done, err := try(); done || err != nil {
			return err
		}
		if err := sleep(ctx, again); err != nil {
			return err
		}
	}
}

// handshake tries once; neither connection nor error means that no answer came.
func (n *Net) handshake(ctx context.Context, at addr, there, back *line) (*conn, error) {
	way, err := n.carry(ctx, there)
	if err != nil || way == swallowed {
		return nil, err
	}
	n.mu.Lock()
	l, heard := n.listeners[at]
	n.mu.Unlock()
	if home, err := n.carry(ctx, back); err != nil || home == swallowed {
		return nil, err
	}
	if way == refused || !heard {
		return nil, syscall.ECONNREFUSED
	}
	return n.establish(l, there, back)
}

// establish hands a new connection to l.
func (n *Net) establish(l *listener, there, back *line) (*conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case there.from.state == killed:
		return nil, syscall.EHOSTDOWN
	case l.closed, there.to.state == killed:
		return nil, syscall.ECONNREFUSED
	case len(l.queue) == backlog:
		return nil, nil
	}
	local := addr{there.from.name, strconv.Itoa(firstPort + n.ports)}
	n.ports = (n.ports + 1) % (1<<16 - firstPort)
	near, far := n.join(local, l.addr, there, back)
	l.queue = append(l.queue, far)
	l.wake()
	return near, nil
}

// carry sends one message and waits until it has arrived or has been lost. It
// fails with the error of ctx, as only waiting can.
func (n *Net) carry(ctx context.Context, l *line) (arrival, error) {
	due, ok := n.depart(l)
	if !ok {
		return swallowed, nil
	}
	err := sleep(ctx, due)
	return n.arrive(l), err
}

// sleep waits until a moment has come, or fails with the error of ctx. What has
// come already costs no look at ctx.
func sleep(ctx context.Context, until time.Time) error {
	d := time.Until(until)
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for an answer: %w", ctx.Err())
	}
}
