package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/topology"
)

// A breaker is a pair for many goroutines, with its counts.
type breaker struct {
	mu     sync.Mutex // guards what follows
	pair   pair
	counts map[string]uint64 // of failures, by reason
}

func newBreakers(peers []topology.Region, steady time.Duration) map[crdt.Region]*breaker {
	out := map[crdt.Region]*breaker{}
	for _, p := range peers {
		out[p.ID] = &breaker{pair: pair{steady: steady}, counts: map[string]uint64{}}
	}
	return out
}

// pause waits until the peer may be tried; it fails if ctx ends before.
func (b *breaker) pause(ctx context.Context) error {
	b.mu.Lock()
	wait := b.pair.wait(time.Now())
	b.mu.Unlock()
	if wait == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func (b *breaker) try(rtt time.Duration) (deadline time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pair.measured(rtt)
	return b.pair.try()
}

// tried notes how a try went, and how long the round trip of its connection took; zero
// if there was none.
func (b *breaker) tried(rtt time.Duration, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.pair.rtt == 0 { // what a link measures is better than what a dial does
		b.pair.measured(rtt)
	}
	if err == nil {
		b.pair.connected(now)
		return
	}
	reason := reasonOf(err)
	b.counts[reason]++
	b.pair.failed(now, reason, rand.Float64()) //nolint:gosec // spreads tries, guards nothing
}

// ended notes that a link is gone; err is nil if it was ended here.
func (b *breaker) ended(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	reason := reasonOf(err)
	b.counts[reason]++
	b.pair.ended(time.Now(), reason, rand.Float64()) //nolint:gosec // as above
}

// A breakerView is how a breaker is at a moment.
type breakerView struct {
	state, reason  string
	failures       int
	wait, deadline time.Duration
	counts         map[string]uint64
}

func (b *breaker) view() breakerView {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	v := breakerView{
		state: b.pair.state(now), wait: b.pair.wait(now), deadline: b.pair.deadline(), counts: map[string]uint64{},
		reason: b.pair.reason, failures: b.pair.failures,
	}
	for _, reason := range reasons() {
		v.counts[reason] = b.counts[reason]
	}
	return v
}

// dial opens a connection to a peer's node, when its breaker lets it and within its
// deadline, the handshake too; ctx ends with the node. Go turns Nagle's algorithm off.
func (n *Node) dial(ctx context.Context, id crdt.Region) (net.Conn, error) {
	for _, p := range n.peers {
		if p.ID != id {
			continue
		}
		b := n.breakers[id]
		if err := b.pause(ctx); err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, b.try(n.rtt(id)))
		defer cancel()
		l, rtt, err := n.connect(ctx, p)
		b.tried(rtt, err)
		if err != nil {
			return nil, err
		}
		return l, nil
	}
	return nil, fmt.Errorf("%w: number %d", ErrRegion, id)
}

// connect returns a link to a peer that has proved who it is, and the round trip of its
// connection.
func (n *Node) connect(ctx context.Context, p topology.Region) (l *link, rtt time.Duration, err error) {
	d := net.Dialer{KeepAliveConfig: n.keepAlive(), Control: n.control}
	begun := time.Now()
	conn, err := d.DialContext(ctx, "tcp", p.Node.Advertise)
	if err != nil {
		return nil, 0, err
	}
	rtt = time.Since(begun)
	l = &link{Conn: conn, traffic: &n.traffic, dialled: p.ID, ended: n.breakers[p.ID].ended}
	if n.keeper == nil {
		return l, rtt, nil
	}
	secure := tls.Client(conn, n.keeper.Client(p.Name, topology.Host(p.Node.Advertise)))
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // nothing was sent
		return nil, rtt, err
	}
	l.Conn = secure
	return l, rtt, nil
}

// rtt returns the round trip that heartbeats of a peer's link have, or had last; zero:
// none has.
func (n *Node) rtt(id crdt.Region) time.Duration {
	n.mu.Lock()
	r := n.replica
	n.mu.Unlock()
	if r == nil {
		return 0
	}
	for _, p := range r.Status().Peers {
		if p.Region == id {
			return p.RTT
		}
	}
	return 0
}
