package fault

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"
)

// network is what connections call their network.
const network = "fault"

// addr is one end of a connection.
type addr struct{ host, port string }

// Network returns "fault".
func (a addr) Network() string { return network }

// String returns host:port.
func (a addr) String() string { return net.JoinHostPort(a.host, a.port) }

// conn is one end of a connection, a net.Conn.
type conn struct {
	net           *Net
	local, remote addr
	in, out       *pipe

	// Guarded by Net.mu.
	closed                      bool // by Close
	broken                      bool // by Kill
	readDeadline, writeDeadline time.Time
}

// join makes a connection of two ends over two lines. The caller holds Net.mu.
func (n *Net) join(local, remote addr, there, back *line) (near, far *conn) {
	near = &conn{net: n, local: local, remote: remote}
	far = &conn{net: n, local: remote, remote: local}
	out := &pipe{line: there, back: back, src: near, dst: far}
	in := &pipe{line: back, back: there, src: far, dst: near, mate: out}
	out.mate = in
	near.in, near.out, far.in, far.out = in, out, out, in
	there.pipes = append(there.pipes, out)
	back.pipes = append(back.pipes, in)
	return near, far
}

// Read reads what has arrived, and waits for something if nothing has. It
// returns io.EOF after all that the other end wrote before it closed. It fails
// with net.ErrClosed, os.ErrDeadlineExceeded or, if the other end is gone,
// ECONNRESET.
func (c *conn) Read(b []byte) (int, error) {
	for {
		n, wake, next, err := c.tryRead(b)
		if n > 0 || err != nil || len(b) == 0 {
			return n, c.explain("read", err)
		}
		pause(wake, next)
	}
}

func (c *conn) tryRead(b []byte) (n int, wake <-chan struct{}, next time.Time, err error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	now := time.Now()
	if err := c.usable(c.readDeadline, now); err != nil {
		return 0, nil, time.Time{}, err
	}
	n, next, err = c.in.take(b, now)
	return n, c.in.wait(), earliest(next, c.readDeadline), err
}

// Write sends b in order and waits where the send buffer is full. It fails as
// Read does; how much was sent it returns, how much of that was received nobody
// knows.
func (c *conn) Write(b []byte) (int, error) {
	sent, owner := 0, false
	for {
		n, wake, next, err := c.tryWrite(b[sent:], &owner)
		sent += n
		if err != nil || sent == len(b) {
			c.endWrite(owner)
			return sent, c.explain("write", err)
		}
		if n == 0 {
			pause(wake, next)
		}
	}
}

// tryWrite sends what there is room for, if no other Write is under way. It sets
// owner once that is so.
func (c *conn) tryWrite(b []byte, owner *bool) (n int, wake <-chan struct{}, next time.Time, err error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	now := time.Now()
	if err := c.usable(c.writeDeadline, now); err != nil {
		return 0, nil, time.Time{}, err
	}
	reset := c.in.reset
	if !reset.IsZero() && !reset.After(now) {
		return 0, nil, time.Time{}, syscall.ECONNRESET
	}
	if *owner || !c.out.writing {
		*owner, c.out.writing = true, true
		n = c.out.put(b, now)
	}
	return n, c.out.wait(), earliest(reset, c.writeDeadline), nil
}

func (c *conn) endWrite(owner bool) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if owner {
		c.out.writing = false
		c.out.wake()
	}
}

// usable returns why nothing can be read or written any more, if so.
func (c *conn) usable(deadline, now time.Time) error {
	switch {
	case c.closed:
		return net.ErrClosed
	case c.broken:
		return syscall.ECONNRESET
	case !deadline.IsZero() && !deadline.After(now):
		return os.ErrDeadlineExceeded
	}
	return nil
}

// explain makes of err what a socket would return.
func (c *conn) explain(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return &net.OpError{Op: op, Net: network, Source: c.local, Addr: c.remote, Err: err}
}

// Close ends the connection. The other end reads what was written before it and
// then io.EOF; what it still sends is answered with a reset. It fails with
// net.ErrClosed if it was called before.
func (c *conn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.explain("close", net.ErrClosed)
	}
	c.closed = true
	if !c.broken {
		now := time.Now()
		c.out.send(segment{fin: true}, now)
		c.leave(now)
	}
	c.in.wake()
	c.out.wake()
	return nil
}

// vanish ends this end without a farewell but a reset, which is not repeated if
// it is cut off.
func (c *conn) vanish(now time.Time) {
	if c.gone() {
		return
	}
	c.broken = true
	c.out.dropHeld()
	if !c.out.line.cut() {
		c.out.last = latest(c.out.last, now.Add(c.out.line.delay()))
		c.out.reset = c.out.last
	}
	c.leave(now)
	c.in.wake()
	c.out.wake()
}

// leave lets go of what nobody will read, and of the connection when both ends
// are gone.
func (c *conn) leave(now time.Time) {
	unread := slices.ContainsFunc(c.in.segments, func(s segment) bool { return !s.fin })
	c.in.segments = nil
	if unread && !c.broken {
		c.in.refuse(now)
	}
	if c.in.src.gone() {
		for _, p := range []*pipe{c.in, c.out} {
			p.line.pipes = slices.DeleteFunc(p.line.pipes, func(o *pipe) bool { return o == p })
		}
	}
}

// gone reports whether this end no longer answers.
func (c *conn) gone() bool { return c.closed || c.broken }

// LocalAddr returns host:port of this end.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns host:port of the other end.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines; the zero time is none. It holds for calls
// that are waiting, too. It fails with net.ErrClosed after Close.
func (c *conn) SetDeadline(t time.Time) error { return c.setDeadlines(t, true, true) }

// SetReadDeadline is SetDeadline for Read.
func (c *conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, true, false) }

// SetWriteDeadline is SetDeadline for Write.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, false, true) }

func (c *conn) setDeadlines(t time.Time, read, write bool) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.explain("set", net.ErrClosed)
	}
	if read {
		c.readDeadline = t
		c.in.wake()
	}
	if write {
		c.writeDeadline = t
		c.out.wake()
	}
	return nil
}

// pause waits until wake is closed or next has come; zero never comes.
func pause(wake <-chan struct{}, next time.Time) {
	if next.IsZero() {
		<-wake
		return
	}
	t := time.NewTimer(time.Until(next))
	defer t.Stop()
	select {
	case <-wake:
	case <-t.C:
	}
}
