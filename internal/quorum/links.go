package quorum

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/roam-sessions/roam/internal/pki"
)

// A Peer is another member, as this one finds it.
type Peer struct {
	// ID is its number.
	ID uint64
	// Region is what its certificate must be of.
	Region string
	// Addr is its host:port.
	Addr string
}

// links are the connections with the other members. Each member dials each other one
// and sends there what it has to say; what it hears comes on connections that the
// others have dialled. So one that is dead or slow holds up nothing but what is for it.
type links struct {
	id, life uint64
	identity *atomic.Uint64
	keeper   *pki.Keeper // nil: no TLS
	listener net.Listener
	dial     func(ctx context.Context, addr string) (net.Conn, error)
	silence  time.Duration
	log      *slog.Logger
	inbox    chan<- incoming
	out      map[uint64]*outgoing
	room     chan struct{} // one for each connection that is accepted

	mu    sync.Mutex // guards what follows
	in    map[uint64]*wire
	lives map[uint64]uint64 // highest heard of, by member
}

// incoming is what a member hears, and from whom.
type incoming struct {
	from    uint64
	message *pb.Message
}

// run keeps the links up until the end of ctx, and returns when the last is down.
func (l *links) run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	for _, o := range l.out {
		work.Go(func() { o.run(ctx) })
	}
	work.Go(func() {
		<-ctx.Done()
		_ = l.listener.Close() // ends accept
	})
	l.accept(ctx, &work)
}

// maxConns bounds the connections that are accepted at a time: one of each peer, one
// that replaces it, and some that have yet to prove who they are. One more is closed.
func maxConns(peers int) int { return 2*peers + 16 }

func (l *links) accept(ctx context.Context, work *sync.WaitGroup) {
	const breath = 50 * time.Millisecond // after a failure: files may be short
	for {
		conn, err := l.listener.Accept()
		if err != nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(breath):
				continue
			}
		}
		select {
		case l.room <- struct{}{}:
			work.Go(func() {
				l.serve(ctx, conn)
				<-l.room
			})
		default:
			_ = conn.Close() // it comes again
		}
	}
}

// serve hears one peer until something fails.
func (l *links) serve(ctx context.Context, conn net.Conn) {
	if l.keeper != nil {
		var regions []string
		for _, o := range l.out {
			regions = append(regions, o.peer.Region)
		}
		conn = tls.Server(conn, l.keeper.Server(regions))
	}
	w := &wire{Conn: conn, silence: l.silence}
	stop := context.AfterFunc(ctx, func() { _ = w.Close() })
	defer stop()
	defer func() { _ = w.Close() }() // it may be closed
	h, err := l.greet(ctx, w)
	if err == nil {
		l.log.Info("peer is here", "member", l.id, "peer", h.from)
		err = l.hear(ctx, w, h)
		l.leave(h.from, w)
	}
	if err != nil && ctx.Err() == nil {
		l.log.Warn("link from peer ended", "member", l.id, "peer", h.from, "remote", conn.RemoteAddr().String(), "err", err)
		_ = w.send(frame{kind: frameGoodbye, reason: err.Error()}) // it may be gone
	}
}

// greet learns who is at the other end, and refuses all but peers that prove it.
func (l *links) greet(ctx context.Context, w *wire) (hello, error) {
	region := ""
	if secure, ok := w.Conn.(*tls.Conn); ok {
		var err error
		if region, err = handshake(ctx, secure, l.silence); err != nil {
			return hello{}, err
		}
	}
	f, err := readFrame(w, maxGreetingBytes)
	if err != nil {
		return hello{}, err
	}
	h := f.hello
	if err := l.check(f, l.out[h.from]); err != nil {
		return h, err
	}
	if peer := l.out[h.from].peer; l.keeper != nil && region != peer.Region {
		return h, fmt.Errorf("%w: member %d is of %q, and this is %q", pki.ErrIdentity, h.from, peer.Region, region)
	}
	if err := l.enter(h, w); err != nil {
		return h, err
	}
	return h, w.send(l.hello(h.from))
}

func handshake(ctx context.Context, conn *tls.Conn, patience time.Duration) (region string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return "", err
	}
	return pki.Peer(conn.ConnectionState())
}

func (l *links) hello(to uint64) frame {
	return frame{kind: frameHello, hello: hello{from: l.id, to: to, life: l.life, identity: l.identity.Load()}}
}

// check refuses a first frame that is not for this member, or not of its log.
func (l *links) check(f frame, from *outgoing) error {
	h := f.hello
	switch {
	case f.kind == frameGoodbye:
		return fmt.Errorf("%w: %s", errGoodbye, f.reason)
	case f.kind != frameHello || from == nil || h.to != l.id:
		return fmt.Errorf("%w: kind %d from %d to %d, this is %d", ErrFrame, f.kind, h.from, h.to, l.id)
	}
	return l.sameLog(h)
}

// sameLog refuses a member of another log. One that knows nothing yet is of none.
func (l *links) sameLog(h hello) error {
	if mine := l.identity.Load(); h.identity != 0 && mine != 0 && h.identity != mine {
		return fmt.Errorf("%w: member %d is of log %x, and this is %x", ErrFrame, h.from, h.identity, mine)
	}
	return nil
}

// enter notes that a peer is heard here. It takes the place of an older connection.
func (l *links) enter(h hello, w *wire) error {
	l.mu.Lock()
	highest, old := l.lives[h.from], l.in[h.from]
	if h.life >= highest {
		l.lives[h.from], l.in[h.from] = h.life, w
	}
	l.mu.Unlock()
	if h.life < highest {
		return fmt.Errorf("%w: member %d was started %d times, and now says %d: it has lost its disk, and must have another number",
			ErrFrame, h.from, highest, h.life)
	}
	if old != nil {
		_ = old.Close() // it may be closed
	}
	return nil
}

func (l *links) leave(from uint64, w *wire) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.in[from] == w {
		delete(l.in, from)
	}
}

// hear takes in what a peer says. While it says anything it is told that it is heard.
func (l *links) hear(ctx context.Context, w *wire, h hello) error {
	ctx, cancel := context.WithCancel(ctx)
	var echo sync.WaitGroup
	defer echo.Wait()
	defer cancel()
	echo.Go(func() { l.echo(ctx, w) })
	for {
		f, err := readFrame(w, maxFrameBytes)
		switch {
		case err != nil:
			return err
		case f.kind == frameAlive:
			continue
		case f.kind == frameGoodbye:
			return fmt.Errorf("%w: %s", errGoodbye, f.reason)
		case f.kind != frameMessage:
			return fmt.Errorf("%w: kind %d", ErrFrame, f.kind)
		}
		if err := l.sameLog(h); err != nil { // this member may have learned of its log
			return err
		}
		select {
		case l.inbox <- incoming{h.from, f.message}: // full: the peer waits
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *links) echo(ctx context.Context, w *wire) {
	tick := time.NewTicker(l.silence / ticksPerSilence)
	defer tick.Stop()
	var before int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := w.heard.Load()
		if now != before && w.send(frame{kind: frameAlive}) != nil {
			return // the reader will see why
		}
		before = now
	}
}
