package quorum

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"
)

const (
	// queueMessages bounds what waits for one peer: what raft has in flight, and more.
	// What comes when it is full is dropped, and raft told so.
	queueMessages = 256
	// ticksPerSilence is how often within the longest silence a link says something.
	ticksPerSilence = 4
	// leastBackoff is how long a peer is left alone after a link failed, and mostBackoff
	// after many did. Up to half is taken off by chance.
	leastBackoff = 50 * time.Millisecond
	mostBackoff  = 2 * time.Second
	// flushBytes is how much is gathered while there is more to send.
	flushBytes = 64 << 10
)

// errGoodbye says that the other end gave the link up, and why.
var errGoodbye = errors.New("peer says goodbye")

// An outgoing is what this member sends to one peer.
type outgoing struct {
	links *links
	peer  Peer
	queue chan *pb.Message
	up    atomic.Bool
}

// send sends a message if the link is up and not full, and reports whether it may
// get there. It never waits.
func (o *outgoing) send(m *pb.Message) bool {
	if !o.up.Load() {
		return false
	}
	select {
	case o.queue <- m:
		return true
	default:
		return false
	}
}

// run keeps a link up until the end of ctx.
func (o *outgoing) run(ctx context.Context) {
	backoff, said := leastBackoff, ""
	for {
		began := time.Now()
		err := o.link(ctx)
		if ctx.Err() != nil {
			return
		}
		if err.Error() != said { // else each try would say so
			said = err.Error()
			o.links.log.Warn("link to peer is down", "member", o.links.id, "peer", o.peer.ID, "err", err)
		}
		if time.Since(began) > o.links.silence {
			backoff, said = leastBackoff, ""
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff - rand.N(backoff/2)): //nolint:gosec // no secret
		}
		backoff = min(2*backoff, mostBackoff)
	}
}

// link dials the peer and sends until something fails.
func (o *outgoing) link(ctx context.Context) error {
	l := o.links
	dialCtx, cancelDial := context.WithTimeout(ctx, l.silence)
	conn, err := l.dial(dialCtx, o.peer.Addr)
	cancelDial()
	if err != nil {
		return fmt.Errorf("dial member %d: %w", o.peer.ID, err)
	}
	if l.keeper != nil {
		host, _, _ := net.SplitHostPort(o.peer.Addr) // it was dialled
		conn = tls.Client(conn, l.keeper.Client(o.peer.Region, host))
	}
	w := &wire{Conn: conn, silence: l.silence}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = w.Close() })
	defer stop()
	defer func() { _ = w.Close() }() // it may be closed
	if secure, ok := conn.(*tls.Conn); ok {
		if _, err := handshake(ctx, secure, l.silence); err != nil {
			return err
		}
	}
	if err := w.send(l.hello(o.peer.ID)); err != nil {
		return err
	}
	f, err := readFrame(w, maxGreetingBytes)
	if err == nil {
		err = l.check(f, l.out[f.hello.from])
	}
	if err == nil && f.hello.from != o.peer.ID {
		err = fmt.Errorf("%w: dialled member %d, met %d", ErrFrame, o.peer.ID, f.hello.from)
	}
	if err != nil {
		return err
	}
	l.log.Info("link to peer is up", "member", l.id, "peer", o.peer.ID)
	return o.pump(ctx, w, cancel)
}

// pump sends what is queued, and has the link end when the peer is not heard any more.
func (o *outgoing) pump(ctx context.Context, w *wire, cancel context.CancelFunc) error {
	deaf := make(chan error, 1)
	go func() {
		deaf <- o.listen(w)
		cancel() // ends the writer, and closes the connection
	}()
	o.up.Store(true)
	err := o.write(ctx, w)
	o.up.Store(false)
	cancel()
	if why := <-deaf; why != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = why
	}
	for { // what waits is old when the link is up again
		select {
		case <-o.queue:
		default:
			return err
		}
	}
}

// listen hears that the peer hears, until it doesn't.
func (o *outgoing) listen(w *wire) error {
	for {
		f, err := readFrame(w, maxGreetingBytes)
		switch {
		case err != nil:
			return err
		case f.kind == frameGoodbye:
			return fmt.Errorf("%w: %s", errGoodbye, f.reason)
		case f.kind != frameAlive:
			return fmt.Errorf("%w: kind %d", ErrFrame, f.kind)
		}
	}
}

func (o *outgoing) write(ctx context.Context, w *wire) error {
	tick := time.NewTicker(o.links.silence / ticksPerSilence)
	defer tick.Stop()
	to := bufio.NewWriterSize(w, flushBytes)
	var buffer []byte
	for {
		f := frame{kind: frameAlive}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f.message = <-o.queue:
			f.kind = frameMessage
		case <-tick.C:
		}
		var err error
		if buffer, err = appendFrame(buffer[:0], f); err != nil {
			return err
		}
		if _, err = to.Write(buffer); err == nil && len(o.queue) == 0 {
			err = to.Flush()
		}
		if err != nil {
			return err
		}
		if cap(buffer) > 2*messageBytes {
			buffer = nil // a snapshot's
		}
	}
}
