//go:build integration

package valkey_test

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	roamvalkey "github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// A load is clients that write and read sessions of their own until it is stopped.
type load struct {
	t      *testing.T
	e      *roamvalkey.Engine
	stop   chan struct{}
	wg     sync.WaitGroup
	writes atomic.Int64
	faults atomic.Int64
	fault  atomic.Pointer[error]
}

const loadClients = 8

// within bounds each call, as a router does within a Region.
const within = 2 * time.Second

func startLoad(t *testing.T, e *roamvalkey.Engine) *load {
	t.Helper()
	l := &load{t: t, e: e, stop: make(chan struct{})}
	for range loadClients {
		l.wg.Go(l.client)
	}
	return l
}

func (l *load) client() {
	ctx := l.t.Context()
	k := newKey()
	birth := crdt.Op{Stamp: now().Stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}}
	l.call(ctx, k, birth)
	for n := byte(0); ; n++ {
		select {
		case <-l.stop:
			return
		default:
		}
		l.call(ctx, k, crdt.Op{Stamp: now().Stamp() + 1, Changes: []crdt.Change{crdt.Put("n", []byte{n})}})
	}
}

func (l *load) call(ctx context.Context, k crdt.Key, op crdt.Op) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	_, err := l.e.Apply(ctx, k, op)
	if err == nil {
		_, err = l.e.Read(ctx, k, crdt.Token{})
	}
	if err != nil {
		l.faults.Add(1)
		l.fault.Store(&err)
		return
	}
	l.writes.Add(1)
}

// end stops the load and returns how often it was served, and the last fault.
func (l *load) end() (writes, faults int64, last error) {
	close(l.stop)
	l.wg.Wait()
	if p := l.fault.Load(); p != nil {
		last = *p
	}
	return l.writes.Load(), l.faults.Load(), last
}

func now() crdt.Time { return crdt.TimeOf(time.Now()) }

func newKey() crdt.Key {
	var e crdt.IDEntropy
	_, _ = rand.Read(e[:]) // never fails
	return crdt.SessionKey(crdt.NewSessionID(now().Add(time.Hour), 1, e))
}

// raw returns a client that is none of the engine's.
func raw(t *testing.T, addr string) valkey.Client {
	t.Helper()
	c, err := valkey.NewClient(valkey.ClientOption{InitAddress: []string{addr}, DisableCache: true, ForceSingleClient: true})
	if err != nil {
		t.Fatalf("connect to %s: %v", addr, err)
	}
	t.Cleanup(c.Close)
	return c
}

func do(t *testing.T, c valkey.Client, args ...string) valkey.ValkeyResult {
	t.Helper()
	res := c.Do(t.Context(), c.B().Arbitrary(args...).Build())
	if err := res.Error(); err != nil && !valkey.IsValkeyNil(err) {
		t.Fatalf("%v: %v", args, err)
	}
	return res
}

// Somebody flushes the functions under load, again and again; nobody sees an error.
func TestFunctionsFlushedUnderLoad(t *testing.T) {
	s := valkeytest.Start(t)
	e := open(t, 1, roamvalkey.Config{Addrs: []string{s.Addr}})
	l, admin := startLoad(t, e), raw(t, s.Addr)
	for range 20 {
		do(t, admin, "FUNCTION", "FLUSH", "SYNC")
		do(t, admin, "SCRIPT", "FLUSH")
		time.Sleep(10 * time.Millisecond)
		if _, err := e.Head(t.Context()); err != nil {
			t.Errorf("Head without functions = %v, want no error", err)
		}
	}
	if writes, faults, err := l.end(); faults > 0 || writes < 100 {
		t.Errorf("%d served, %d faults, the last %v; want many and none", writes, faults, err)
	}
}

// A server that lost all is another actor: its first writes are no duplicates of
// those that were lost.
func TestEmptiedServerIsAnotherActor(t *testing.T) {
	s := valkeytest.Start(t)
	e := open(t, 1, roamvalkey.Config{Addrs: []string{s.Addr}})
	k := newKey()
	birth := crdt.Op{Stamp: now().Stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}}
	first, err := e.Apply(t.Context(), k, birth)
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	do(t, raw(t, s.Addr), "FLUSHALL", "SYNC")
	second, err := e.Apply(t.Context(), k, birth)
	if err != nil || second.Actor == first.Actor {
		t.Errorf("Apply after FLUSHALL = %v, %v, want another actor than %v", second, err, first)
	}
	s.Kill()
	s.Restart()
	third, err := eventually(t, func(ctx context.Context) (crdt.Dot, error) { return e.Apply(ctx, k, birth) })
	if err != nil || third.Actor == second.Actor {
		t.Errorf("Apply after a restart = %v, %v, want another actor than %v", third, err, second)
	}
}

// eventually calls do until it succeeds or patience ends.
func eventually[T any](t *testing.T, do func(context.Context) (T, error)) (T, error) {
	t.Helper()
	for begun := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		out, err := do(ctx)
		cancel()
		if err == nil || time.Since(begun) > 20*time.Second {
			return out, err
		}
	}
}

// The primary is demoted and lives on, and its name leads elsewhere: the connections
// to it would say READONLY for ever.
func TestDemotedPrimaryIsLeft(t *testing.T) {
	one, two := valkeytest.Start(t), valkeytest.Start(t)
	door := valkeytest.NewDoor(t, one.Addr)
	e := open(t, 1, roamvalkey.Config{Addrs: []string{door.Addr}})
	k := newKey()
	birth := crdt.Op{Stamp: now().Stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}}
	if _, err := e.Apply(t.Context(), k, birth); err != nil {
		t.Fatalf("Apply: %v", err)
	}
	do(t, raw(t, one.Addr), "REPLICAOF", "127.0.0.1", two.Port())
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := e.Apply(ctx, k, birth); !errors.Is(err, engine.ErrNotPrimary) && !errors.Is(err, engine.ErrUnreachable) {
		t.Errorf("Apply where all are replicas = %v, want ErrNotPrimary or ErrUnreachable", err)
	}
	door.Lead(two.Addr)
	if _, err := eventually(t, func(ctx context.Context) (crdt.Dot, error) { return e.Apply(ctx, k, birth) }); err != nil {
		t.Errorf("Apply once the name leads to the primary = %v, want no error soon", err)
	}
}

// The primary is killed under load and its replica promoted by hand, behind one
// address. What was acknowledged before the replica's lag is there, another actor goes
// on in every partition, and errors are of package engine.
func TestPromotionUnderLoad(t *testing.T) {
	one, two := pair(t)
	admin := raw(t, two.Addr)
	door := valkeytest.NewDoor(t, one.Addr)
	e := open(t, 1, roamvalkey.Config{Addrs: []string{door.Addr}})
	k := newKey()
	birth := crdt.Op{Stamp: now().Stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}}
	first, err := e.Apply(t.Context(), k, birth)
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	l := startLoad(t, e)
	time.Sleep(200 * time.Millisecond)
	before := l.writes.Load()
	one.Kill()
	door.Lead(two.Addr) // before it is a primary: it answers READONLY
	time.Sleep(100 * time.Millisecond)
	_, readonly := e.Apply(t.Context(), k, crdt.Op{Touch: true, Stamp: now().Stamp(), Changes: []crdt.Change{crdt.Put("a", nil)}})
	if readonly == nil {
		t.Error("Apply at a replica = no error, want one")
	}
	do(t, admin, "REPLICAOF", "NO", "ONE")
	second, err := eventually(t, func(ctx context.Context) (crdt.Dot, error) {
		return e.Apply(ctx, k, crdt.Op{Stamp: now().Stamp() + 1, Changes: []crdt.Change{crdt.Put("a", []byte("1"))}})
	})
	if err != nil || second.Actor == first.Actor {
		t.Errorf("Apply after the promotion = %v, %v, want it taken by another actor than %v", second, err, first)
	}
	if r, err := e.Read(t.Context(), k, crdt.Token{}); err != nil || r.Auth.Cur != birth.Auth.Cur || !r.VV.Has(first) {
		t.Errorf("Read after the promotion = %+v, %v, want the session that was born long before", r, err)
	}
	time.Sleep(300 * time.Millisecond)
	writes, faults, last := l.end()
	if writes < before+100 || faults == 0 || !isFailure(last) {
		t.Errorf("%d served, %d of them before; %d faults, the last %v; want more after it, and errors of package engine", writes, before, faults, last)
	}
	head, err := e.Head(t.Context())
	for p, h := range head {
		if h.N > 0 && h.Actor == first.Actor {
			t.Errorf("Head of partition %d = %v, %v, want every partition taken over", p, h, err)
		}
	}
}

// isFailure reports whether err is one that a router knows what to do with.
func isFailure(err error) bool {
	return errors.Is(err, engine.ErrUnavailable) || errors.Is(err, engine.ErrUnreachable) || errors.Is(err, engine.ErrNotPrimary)
}

// fillServer gives births to sessions of 8 KiB until they are refused, and checks what
// is still taken.
func fillServer(t *testing.T, e *roamvalkey.Engine) {
	t.Helper()
	birth := func() crdt.Op {
		return crdt.Op{
			Stamp: now().Stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}},
			Changes: []crdt.Change{crdt.Put("a", make([]byte, 8<<10))},
		}
	}
	var last crdt.Key
	var err error
	for begun := time.Now(); err == nil && time.Since(begun) < 20*time.Second; {
		k := newKey()
		if _, err = e.Apply(t.Context(), k, birth()); err == nil {
			last = k
		}
		time.Sleep(10 * time.Millisecond) // the engine looks at the server's memory once a second
	}
	if !errors.Is(err, engine.ErrFull) {
		t.Fatalf("birth in a server that is nearly full = %v, want ErrFull", err)
	}
	if _, err := e.Apply(t.Context(), last, crdt.Op{Stamp: now().Stamp() + 1, Changes: []crdt.Change{crdt.Put("b", []byte("1"))}}); err != nil {
		t.Errorf("a put while births are refused = %v, want it taken", err)
	}
	if _, err := e.Apply(t.Context(), last, crdt.Op{Destroy: true}); err != nil {
		t.Errorf("a logout while births are refused = %v, want it taken", err)
	}
}
