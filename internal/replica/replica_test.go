package replica

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// lan joins Regions by pipes.
type lan struct {
	mu        sync.Mutex // guards what follows
	cut       bool
	listeners map[crdt.Region]*listener
	conns     []net.Conn
}

type listener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *listener) Addr() net.Addr { return &net.UnixAddr{} }

func (n *lan) dial(ctx context.Context, peer crdt.Region) (net.Conn, error) {
	n.mu.Lock()
	l, cut := n.listeners[peer], n.cut
	n.mu.Unlock()
	if cut || l == nil {
		return nil, errors.New("no route")
	}
	a, b := net.Pipe()
	select {
	case l.conns <- b:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.done:
		return nil, net.ErrClosed
	}
	n.mu.Lock()
	n.conns = append(n.conns, a, b)
	n.mu.Unlock()
	return a, nil
}

// setCut breaks all connections and refuses new ones, or no longer does.
func (n *lan) setCut(cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
	for _, c := range n.conns {
		_ = c.Close()
	}
	n.conns = nil
}

// site is a Region of a test.
type site struct {
	*Replica
	eng *fake
}

func (n *lan) open(t testing.TB, here crdt.Region, eng *fake, regions crdt.Region, cfg Config) *site {
	t.Helper()
	return &site{n.start(t, here, eng, regions, cfg), eng}
}

// start runs a Replica until the test ends.
func (n *lan) start(t testing.TB, here crdt.Region, eng engine.Engine, regions crdt.Region, cfg Config) *Replica {
	t.Helper()
	var peers []crdt.Region
	for r := crdt.Region(1); r <= regions; r++ {
		if r != here {
			peers = append(peers, r)
		}
	}
	l := &listener{conns: make(chan net.Conn), done: make(chan struct{})}
	n.mu.Lock()
	n.listeners[here] = l
	n.mu.Unlock()
	r, err := New(t.Context(), here, eng, peers, n.dial, cfg)
	if err != nil {
		t.Fatalf("New(%d) = %v, want nil", here, err)
	}
	served := make(chan error, 1)
	go func() { served <- r.Serve(t.Context(), l) }()
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("Close() = %v, want nil", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve = %v, want nil after Close", err)
		}
	})
	return r
}

func wall() crdt.Time { return crdt.TimeOf(time.Now()) }

func newLAN() *lan { return &lan{listeners: map[crdt.Region]*listener{}} }

// untilStamps is from a bubble's beginning to after that of stamps.
const untilStamps = 25 * 365 * 24 * time.Hour

// inBubble runs f with a fake clock, in which every goroutine must end. The
// bubble begins in 2000; stamps count from 2024.
func inBubble(t *testing.T, f func(t *testing.T, n *lan)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { time.Sleep(untilStamps); f(t, newLAN()) })
}

func (s *site) value(k crdt.Key) string {
	s.eng.mu.Lock()
	defer s.eng.mu.Unlock()
	return fmt.Sprintf("%x", crdt.AppendRecord(nil, s.eng.s.get(k)))
}

func same(t *testing.T, k crdt.Key, sites ...*site) {
	t.Helper()
	for _, s := range sites[1:] {
		if got, want := s.value(k), sites[0].value(k); got != want {
			t.Errorf("Region %d: record %v = %s, want %s as in Region %d", s.here, k, got, want, sites[0].here)
		}
	}
}

func TestReplicates(t *testing.T) {
	inBubble(t, func(t *testing.T, n *lan) {
		var sites []*site
		for r := crdt.Region(1); r <= 3; r++ {
			sites = append(sites, n.open(t, r, newFake(r, wall), 3, Config{}))
		}
		time.Sleep(3 * time.Second) // links come up
		for _, k := range testKeys() {
			for _, s := range sites {
				s.eng.put(k, "v")
			}
		}
		synctest.Wait() // no time passes: entries go at once
		for _, k := range testKeys() {
			same(t, k, sites...)
		}
		time.Sleep(3 * time.Second)
		for _, peer := range sites[0].Status().Peers {
			if !peer.Connected || peer.LagEntries != 0 || peer.Unacked != 0 || peer.Counts.Redeliveries != 0 {
				t.Errorf("Status of peer = %+v, want connected, without lag", peer)
			}
		}
		if age, ok := sites[0].Heard(2); !ok || age > 2*DefaultHeartbeat {
			t.Errorf("Heard(2) = %v, %t, want at most %v", age, ok, 2*DefaultHeartbeat)
		}
		if age, ok := sites[0].Heard(9); ok {
			t.Errorf("Heard(9) = %v, %t, want false: it is no peer", age, ok)
		}
		want, _ := sites[0].eng.Head(t.Context())
		if got := sites[0].eng.released(); got != want {
			t.Errorf("Release heard %v, want all of the log %v", got[:4], want[:4])
		}
	})
}

func TestCutAndHeal(t *testing.T) {
	inBubble(t, func(t *testing.T, n *lan) {
		a, b := n.open(t, 1, newFake(1, wall), 2, Config{}), n.open(t, 2, newFake(2, wall), 2, Config{})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		before := b.eng.released()
		n.setCut(true)
		for i, k := range testKeys() {
			a.eng.put(k, fmt.Sprint("cut", i))
			b.eng.put(k, fmt.Sprint("cut", i))
		}
		time.Sleep(20 * time.Second)
		if age, ok := b.Heard(1); !ok || age < 20*time.Second {
			t.Errorf("Heard(1) after a cut of 20s = %v, %t, want at least 20s", age, ok)
		}
		if got := b.eng.released(); got != before {
			t.Errorf("Release during the cut = %v, want nothing new", got[:4])
		}
		n.setCut(false)
		time.Sleep(mostBackoff + time.Millisecond)
		for _, k := range testKeys() {
			same(t, k, a, b)
		}
		if got := a.Status().Peers[0].LastError; got == "" {
			t.Errorf("LastError after a cut is empty, want a reason")
		}
	})
}

// TestBlackHole: a peer that is there but silent is given up after the silence.
func TestBlackHole(t *testing.T) {
	inBubble(t, func(t *testing.T, n *lan) {
		a := n.open(t, 1, newFake(1, wall), 2, Config{})
		l := &listener{conns: make(chan net.Conn), done: make(chan struct{})}
		n.mu.Lock()
		n.listeners[2] = l
		n.mu.Unlock()
		conn := <-l.conns
		go func() { // reads all, says nothing
			for b := make([]byte, 1024); ; {
				if _, err := conn.Read(b); err != nil {
					return
				}
			}
		}()
		start := time.Now()
		again := <-l.conns
		if got := time.Since(start); got < DefaultSilence || got > DefaultSilence+mostBackoff {
			t.Errorf("dialled again after %v, want about %v", got, DefaultSilence)
		}
		_ = again.Close()
		_ = l.Close()
		if got := a.Status().Peers[0]; got.Connected || got.LastError == "" {
			t.Errorf("Status = %+v, want not connected and an error", got)
		}
	})
}

// TestRefill: a Region that lost everything, its own writes too, is given all
// that its peers have, and then hears of what is written.
func TestRefill(t *testing.T) {
	inBubble(t, func(t *testing.T, n *lan) {
		a, b := n.open(t, 1, newFake(1, wall), 2, Config{}), n.open(t, 2, newFake(2, wall), 2, Config{})
		time.Sleep(3 * time.Second)
		for _, k := range testKeys() {
			b.eng.put(k, "of b")
		}
		a.eng.put(testKeys()[0], "of a")
		time.Sleep(3 * time.Second)
		if err := b.Close(); err != nil {
			t.Fatalf("Close() = %v, want nil", err)
		}
		fresh := newFake(2, wall)
		fresh.s.actor = crdt.NewActor(2, 8)
		b2 := n.open(t, 2, fresh, 2, Config{})
		time.Sleep(10 * time.Second)
		for _, k := range testKeys() {
			same(t, k, a, b2)
		}
		if age, ok := b2.Heard(1); !ok || age > time.Second {
			t.Errorf("Heard(1) after the refill = %v, %t, want at most 1s", age, ok)
		}
		a.eng.put(testKeys()[1], "later")
		b2.eng.put(testKeys()[2], "later")
		synctest.Wait()
		for _, k := range testKeys() {
			same(t, k, a, b2)
		}
	})
}

// TestEngineFails: an engine that takes nothing in gets no acknowledgement sent,
// and gets everything once it is well.
func TestEngineFails(t *testing.T) {
	inBubble(t, func(t *testing.T, n *lan) {
		a, b := n.open(t, 1, newFake(1, wall), 2, Config{}), n.open(t, 2, newFake(2, wall), 2, Config{})
		time.Sleep(3 * time.Second)
		b.eng.mu.Lock()
		b.eng.fail = engine.ErrUnavailable
		b.eng.mu.Unlock()
		a.eng.put(testKeys()[0], "v")
		time.Sleep(10 * time.Second)
		p := testKeys()[0].Partition()
		if got := a.Status().Peers[0]; got.Acked[p] != (engine.Position{}) || !strings.Contains(got.LastError, "unavailable") {
			t.Errorf("Status = %+v, want nothing acknowledged and the peer's reason", got)
		}
		if got := a.Holders(p, engine.Position{Actor: a.eng.s.actor, N: 1}); len(got) != 0 {
			t.Errorf("Holders = %v, want none", got)
		}
		b.eng.mu.Lock()
		b.eng.fail = nil
		b.eng.mu.Unlock()
		time.Sleep(3 * time.Second)
		same(t, testKeys()[0], a, b)
		if got := a.Holders(p, engine.Position{Actor: a.eng.s.actor, N: 1}); len(got) != 1 {
			t.Errorf("Holders = %v, want Region 2", got)
		}
	})
}

func TestStable(t *testing.T) {
	inBubble(t, func(t *testing.T, n *lan) {
		a := n.open(t, 1, newFake(1, wall), 2, Config{})
		dot := a.eng.put(testKeys()[0], "v")
		time.Sleep(10 * time.Second)
		if got := a.Stable(); got.Has(dot) {
			t.Errorf("Stable() = %v, want without %v while the peer was never there", got, dot)
		}
		n.open(t, 2, newFake(2, wall), 2, Config{})
		time.Sleep(10 * time.Second)
		if got := a.Stable(); !got.Has(dot) {
			t.Errorf("Stable() = %v, want %v in it", got, dot)
		}
		late := a.eng.put(testKeys()[0], "w")
		synctest.Wait()
		if got := a.Stable(); got.Has(late) {
			t.Errorf("Stable() = %v, want without %v, written this instant", got, late)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	eng := newFake(1, wall)
	if r, err := New(t.Context(), 1, plain{eng}, nil, nil, Config{}); !errors.Is(err, ErrEngine) {
		t.Errorf("New(engine without a log) = %v, %v, want %v", r, err, ErrEngine)
	}
	for _, peers := range [][]crdt.Region{{1}, {2, 2}, {0}, {16}} {
		if r, err := New(t.Context(), 1, eng, peers, nil, Config{}); err == nil {
			t.Errorf("New(peers %v) = %v, nil, want an error", peers, r)
		}
	}
}

// plain is an engine with no other powers.
type plain struct{ engine.Engine }

// BenchmarkPipe measures entries a second from one fake engine to another.
func BenchmarkPipe(b *testing.B) {
	now := func() crdt.Time { return crdt.TimeOf(time.Now()) }
	n := newLAN()
	from, to := newFake(1, now), newFake(2, now)
	for i := range b.N {
		from.s.put(now(), testKeys()[i%len(testKeys())], "a value of some forty bytes, as sessions have")
	}
	to.s.put(now(), testKeys()[0], "not blank, or it would be given the state and no log")
	want := from.s.head()
	b.ResetTimer()
	n.open(b, 1, from, 2, Config{})
	n.open(b, 2, to, 2, Config{})
	for {
		at, _ := to.Positions(b.Context(), 1)
		if coversAll(&at, &want) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}
