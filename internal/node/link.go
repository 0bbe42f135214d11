package node

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/pki"
	"github.com/roam-sessions/roam/internal/replica"
	"github.com/roam-sessions/roam/internal/topology"
)

var _ replica.Proven = (*link)(nil)

// traffic counts the bytes of links, by Region.
type traffic struct {
	in, out [crdt.MaxRegion + 1]*atomic.Int64
	ids     map[string]crdt.Region // of peers, by name
}

func newTraffic(peers []topology.Region) traffic {
	t := traffic{ids: map[string]crdt.Region{}}
	for _, p := range peers {
		t.in[p.ID], t.out[p.ID] = new(atomic.Int64), new(atomic.Int64)
		t.ids[p.Name] = p.ID
	}
	return t
}

// errExpired ends a link whose peer proves nothing any more.
var errExpired = errors.New("the peer's certificate has ended")

// A link is a connection between two nodes that knows who is at its other end, and for
// how long: it ends when a certificate does that the peer has proved itself with, of its
// own or of its authority. A heartbeat later at most somebody reads or writes, so it
// needs no timer, which a machine that slept would be late with. What it counts is what
// is sent within TLS.
type link struct {
	net.Conn
	traffic *traffic
	dialled crdt.Region // zero: accepted
	peer    atomic.Uint32
	until   atomic.Int64 // Unix time in seconds, by the wall clock; 0: nothing was proved yet
	ended   func(error)  // told once, at Close, why; nil: nobody is

	closing sync.Once
	mu      sync.Mutex // guards what follows
	failure error      // the first of Read or Write
}

// Peer returns the Region that the other end's certificate is of. Links without
// TLS, on loopback, prove nothing but what was dialled.
func (l *link) Peer() (crdt.Region, error) {
	secure, ok := l.Conn.(*tls.Conn)
	if !ok {
		return l.dialled, nil
	}
	name, err := pki.Peer(secure.ConnectionState())
	if err != nil {
		return 0, err
	}
	id, ok := l.traffic.ids[name]
	if !ok {
		return 0, fmt.Errorf("%w: %q is no peer", pki.ErrIdentity, name)
	}
	return id, nil
}

// Read reads, and counts for the Region at the other end. What comes after the peer's
// certificate has ended is not handed on.
func (l *link) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	l.count(&l.traffic.in, n)
	if l.expired() {
		n, err = 0, errExpired
	}
	return n, l.failed(err)
}

// Write writes, and counts for the Region at the other end; nothing once the peer's
// certificate has ended.
func (l *link) Write(b []byte) (int, error) {
	if l.expired() {
		return 0, l.failed(errExpired)
	}
	n, err := l.Conn.Write(b)
	l.count(&l.traffic.out, n)
	return n, l.failed(err)
}

// expired reports whether the peer has proved itself, and does no longer.
func (l *link) expired() bool {
	until := l.until.Load()
	if until == 0 {
		secure, ok := l.Conn.(*tls.Conn)
		if !ok {
			return false // it proves nothing, on loopback
		}
		state := secure.ConnectionState()
		if !state.HandshakeComplete {
			return false // nothing was read or written yet
		}
		until = pki.Until(state).Unix()
		l.until.Store(until)
		if g, ok := secure.NetConn().(*guest); ok {
			g.prove()
		}
	}
	return time.Now().Unix() > until
}

// failed notes the first failure, and returns err.
func (l *link) failed(err error) error {
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.failure == nil {
			l.failure = err
		}
	}
	return err
}

// Close closes the connection without TLS's own goodbye, which would wait for a
// peer that is not there any more; links have one of theirs.
func (l *link) Close() error {
	l.closing.Do(func() {
		if l.ended == nil {
			return
		}
		l.mu.Lock()
		failure := l.failure
		l.mu.Unlock()
		l.ended(failure)
	})
	if secure, ok := l.Conn.(*tls.Conn); ok {
		return secure.NetConn().Close()
	}
	return l.Conn.Close()
}

func (l *link) count(to *[crdt.MaxRegion + 1]*atomic.Int64, n int) {
	id := crdt.Region(l.peer.Load()) //nolint:gosec // it was stored from one
	if id == 0 && n > 0 {
		id, _ = l.Peer() // nobody: nothing is counted
		l.peer.Store(uint32(id))
	}
	if id != 0 && to[id] != nil {
		to[id].Add(int64(n))
	}
}

// plain is an accepted link without TLS: it proves nothing, so it is no Proven.
type plain struct{ net.Conn }

// silence is how long a connection may be silent before it is given up.
func (n *Node) silence() time.Duration {
	if s := n.deployment.Policies.Replication.Silence; s > 0 {
		return s
	}
	return replica.DefaultSilence
}

// keepAlive finds a peer that is gone within silence where nobody writes. Links
// have heartbeats; this is for handshakes, and for what a bug of ours forgets.
func (n *Node) keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: n.silence(), Interval: max(n.silence()/3, time.Second), Count: 3}
}

// control has the kernel give up what a peer does not acknowledge within silence,
// where it can.
func (n *Node) control(_, _ string, c syscall.RawConn) error {
	var err error
	if failed := c.Control(func(fd uintptr) { err = giveUpAfter(fd, n.silence()) }); failed != nil {
		return failed
	}
	return err
}

func (n *Node) listenConfig() *net.ListenConfig {
	return &net.ListenConfig{KeepAliveConfig: n.keepAlive(), Control: n.control}
}

// A provenListener accepts links.
type provenListener struct {
	net.Listener
	node *Node
}

// Accept returns the next connection. Its handshake is done when it is first read
// from, by whoever serves it and within that deadline.
func (l provenListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if l.node.keeper == nil {
		return plain{conn}, nil
	}
	var names []string
	for _, p := range l.node.peers {
		names = append(names, p.Name)
	}
	return &link{Conn: tls.Server(conn, l.node.keeper.Server(names)), traffic: &l.node.traffic}, nil
}
