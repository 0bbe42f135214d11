package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	// mostCarried bounds the connections that a Proxy carries at a time; one more is
	// reset. A client of Valkey has two or three.
	mostCarried = 128
	// carryBytes is how much a Proxy moves at a time: what a segment holds.
	carryBytes = segmentBytes
	// serverDialTimeout bounds a dial on loopback, which takes microseconds.
	serverDialTimeout = time.Second
)

// A Proxy carries real connections between one host and a server of another, which
// are on this machine, as if the Net were between them. Its methods may be called by
// many goroutines.
//
// What is in a connection is late, held by a cut and late again when a piece is lost,
// as with Dial: it is a byte stream, so what is lost is sent again and nothing is
// missing or out of order. Kill resets connections, and who connects to a host that is
// killed, or to a server that is not there, is reset when the answer is back. Each
// direction holds what Dial's does and two buffers; then the sender waits. A
// connection that one end closes is closed at the other when the word has come there:
// there are no connections that are open in one direction alone.
type Proxy struct {
	net         *Net
	listener    net.Listener
	server      string
	there, back *line
	cancel      context.CancelFunc
	work        sync.WaitGroup // all goroutines
	slots       chan struct{}  // one for each connection
}

// Proxy listens on loopback for what a host has to say to a server of another, on a
// plane. It carries until Close or the end of ctx; close it then too.
func (n *Net) Proxy(ctx context.Context, from, to string, p Plane, server string) (*Proxy, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("carry %v from %s to %s: %w", p, from, to, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	out := &Proxy{net: n, listener: l, server: server, cancel: cancel, slots: make(chan struct{}, mostCarried)}
	n.mu.Lock()
	out.there, out.back = n.line(from, to, p), n.line(to, from, p)
	n.mu.Unlock()
	out.work.Go(func() { out.accept(ctx) })
	out.work.Go(func() {
		<-ctx.Done()
		_ = l.Close() // ends accept
	})
	return out, nil
}

// Addr returns host:port, to which the host that is far from the server connects.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close resets all connections and returns when nothing is carried any more. It never
// fails.
func (p *Proxy) Close() error {
	p.cancel()
	p.work.Wait()
	return nil
}

func (p *Proxy) accept(ctx context.Context) {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			// Too many open files, say: some may be closed soon.
			_ = sleep(ctx, time.Now().Add(10*time.Millisecond))
			continue
		}
		select {
		case p.slots <- struct{}{}:
			p.work.Go(func() {
				p.carry(ctx, c)
				<-p.slots
			})
		default:
			abort(c)
		}
	}
}

// carry carries one connection until it has ended at both ends.
func (p *Proxy) carry(ctx context.Context, client net.Conn) {
	// A client that gives up ends the handshake. Later its end is told in the stream,
	// behind what it sent.
	shaking, giveUp := context.WithCancel(ctx)
	defer giveUp()
	near, far := p.pair(client)
	var ends sync.WaitGroup
	ends.Go(func() {
		defer giveUp()
		bridge(ctx, client, near)
	})
	server, err := p.connect(shaking)
	if err != nil {
		near.abandon() // the answer is back, or nobody waits for it
		far.abandon()
	} else {
		bridge(ctx, server, far)
	}
	ends.Wait()
}

// pair makes the connection that the Net carries. Whoever is at its ends is real.
func (p *Proxy) pair(client net.Conn) (near, far *conn) {
	local, remote := addr{host: p.there.from.name}, addr{host: p.there.to.name}
	_, local.port, _ = net.SplitHostPort(client.RemoteAddr().String()) // the kernel made them
	_, remote.port, _ = net.SplitHostPort(p.server)                    // dialling tells
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	return p.net.join(local, remote, p.there, p.back)
}

// connect connects to the server, which takes a round trip, and as long again as the
// first bytes behind the handshake take. They are on their way already and are not
// heard before.
func (p *Proxy) connect(ctx context.Context) (server net.Conn, err error) {
	defer func() {
		if err != nil && server != nil {
			abort(server)
			server = nil
		}
	}()
	err = p.net.insist(ctx, p.there, func() (done bool, err error) {
		way, err := p.net.carry(ctx, p.there)
		if err != nil || way == swallowed {
			return false, err
		}
		refusal := error(syscall.ECONNREFUSED)
		if way == arrived {
			refusal = nil
			if server == nil { // else the answer was lost, and this is the question again
				dialer := net.Dialer{Timeout: serverDialTimeout}
				server, refusal = dialer.DialContext(ctx, "tcp", p.server)
			}
		}
		home, err := p.net.carry(ctx, p.back)
		if err != nil || home == swallowed {
			return false, err
		}
		return true, refusal
	})
	if err != nil {
		return server, err
	}
	return server, p.net.insist(ctx, p.there, func() (bool, error) {
		way, err := p.net.carry(ctx, p.there)
		if err == nil && way == refused {
			err = syscall.ECONNRESET
		}
		return way == arrived, err
	})
}

// bridge moves bytes both ways between a real connection and one end of one that the
// Net carries, until either has ended or ctx has; both are closed then.
func bridge(ctx context.Context, sock net.Conn, c *conn) {
	stop := context.AfterFunc(ctx, func() {
		abort(sock)
		c.abandon()
	})
	defer stop()
	var back sync.WaitGroup
	back.Go(func() { move(sock, c) })
	move(c, sock)
	back.Wait()
}

// move moves what comes from one connection to the other until either ends, and closes
// both: with a reset, if that is how one ended.
func move(to, from net.Conn) {
	_, err := io.CopyBuffer(onlyWriter{to}, onlyReader{from}, make([]byte, carryBytes))
	for _, c := range []net.Conn{to, from} {
		if errors.Is(err, syscall.ECONNRESET) {
			abort(c)
		} else {
			_ = c.Close() // the other move may have closed it
		}
	}
}

// An onlyReader hides how else a connection could be copied from: by the kernel, past
// the bounds here.
type onlyReader struct{ io.Reader }

// An onlyWriter is the same for writing.
type onlyWriter struct{ io.Writer }

// abort closes a connection with a reset.
func abort(c net.Conn) {
	if a, ok := c.(*conn); ok {
		a.abandon()
		return
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // fails if it is closed
	}
	_ = c.Close() // a second time does nothing
}

// abandon ends the connection with a reset.
func (c *conn) abandon() {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	c.vanish(time.Now())
}
