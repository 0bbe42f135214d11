package router_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/fault"
	"github.com/roam-sessions/roam/internal/router"
)

// birth makes a session that lives as long as life.
func (e *earth) birth(at crdt.Region, n int, life time.Duration) crdt.Key {
	e.t.Helper()
	id := crdt.NewSessionID(crdt.TimeOf(time.Now()).Add(life), at, crdt.IDEntropy{byte(n), byte(n >> 8), byte(n)})
	key := crdt.SessionKey(id)
	_, err := e.routers[at].Write(e.t.Context(), router.Write{Key: key, Op: crdt.Op{
		Birth: &crdt.Birth{}, Auth: &crdt.Auth{Cur: crdt.Hash{1}},
	}})
	if err != nil {
		e.t.Fatalf("birth in %s: %v", name(at), err)
	}
	return key
}

func (e *earth) destroy(at crdt.Region, k crdt.Key) router.Revocation {
	e.t.Helper()
	_, rev, err := e.routers[at].Revoke(e.t.Context(), router.Write{Key: k, Op: crdt.Op{Destroy: true}})
	if err != nil {
		e.t.Fatalf("destroy in %s: %v", name(at), err)
	}
	return rev
}

// An ending that is past its session's deadline where it is told holds up none
// that comes after it.
func TestEndingsPastTheirTimeHoldUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarth(t, 10*time.Millisecond, router.Config{})
		short, long := e.birth(west, 1, 30*time.Second), e.birth(west, 2, time.Hour)
		wait(time.Second)
		e.cut(west, north, true, fault.Calls, fault.Replication)
		e.cut(east, north, true, fault.Calls, fault.Replication)
		e.destroy(west, short)
		e.destroy(west, long)
		wait(40 * time.Second)
		e.cut(west, north, false, fault.Calls)
		wait(10 * time.Second)
		if rec, err := e.engines[north].Read(t.Context(), long, crdt.Token{}); err != nil || !rec.Dead {
			t.Errorf("10 s after the heal, north shows %+v, %v; want dead", rec, err)
		}
		if n := e.routers[west].Pending(); n != 0 {
			t.Errorf("Pending = %d, want 0", n)
		}
	})
}

// Regions are told side by side: the backlog of one does not hold up another.
func TestRegionsAreToldSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sessions = 500 // of 20 ms each, one after another
		e := newEarth(t, 10*time.Millisecond, router.Config{})
		var keys []crdt.Key
		for i := range sessions {
			keys = append(keys, e.birth(west, i, time.Hour))
		}
		wait(time.Second)
		for _, to := range []crdt.Region{east, north} {
			e.cut(west, to, true, fault.Calls, fault.Replication)
		}
		for _, k := range keys {
			e.destroy(west, k)
		}
		for _, to := range []crdt.Region{east, north} {
			e.cut(west, to, false, fault.Calls)
		}
		wait(15 * time.Second)
		if n := e.routers[west].Pending(); n != 0 {
			t.Errorf("%d of %d logouts are still not everywhere after 15 s, want 0", n, sessions)
		}
	})
}

// A picky engine refuses the writes of one key, or hangs, or is away.
type picky struct {
	engine.Engine
	full       crdt.Key
	hung, away atomic.Bool
	roomy      atomic.Bool
	forgets    atomic.Int32 // so many writes are taken, and lost in a failover
	offered    atomic.Int32 // writes that came while it was there
}

func (p *picky) Read(ctx context.Context, k crdt.Key, seen crdt.Token) (crdt.Record, error) {
	if p.away.Load() {
		return crdt.Record{}, fmt.Errorf("scene: %w", engine.ErrUnavailable)
	}
	if p.hung.Load() {
		<-ctx.Done()
		wait(time.Millisecond) // as real ones do, it notices late
		return crdt.Record{}, fmt.Errorf("%w: %w", engine.ErrUnavailable, ctx.Err())
	}
	return p.Engine.Read(ctx, k, seen)
}

func (p *picky) Apply(ctx context.Context, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	if p.away.Load() {
		return crdt.Dot{}, fmt.Errorf("scene: %w", engine.ErrUnreachable)
	}
	p.offered.Add(1)
	if k == p.full && !p.roomy.Load() {
		return crdt.Dot{}, fmt.Errorf("scene: %w", engine.ErrFull)
	}
	if p.forgets.Add(-1) >= 0 {
		return crdt.Dot{Actor: crdt.NewActor(west, 1), Stamp: 1}, nil
	}
	return p.Engine.Apply(ctx, k, op)
}

// A record that can't be taken back waits, and holds up no other: not in its
// own partition either, where a logout may come after it.
func TestTakingBackIsNotHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarth(t, 10*time.Millisecond, router.Config{})
		k1, k2 := e.birth(west, 1, time.Hour), e.birth(west, 1, 2*time.Hour)
		primary := &picky{Engine: e.engines[west], full: k1}
		r, err := router.New(t.Context(), []router.Region{{
			ID: west, Name: "west", Engine: primary, Side: e.engine(west, false),
		}}, router.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		base1, base2 := e.read(west, k1), e.read(west, k2)
		primary.away.Store(true)
		for _, w := range []router.Write{
			{Key: k1, Base: base1, Op: crdt.Op{Changes: []crdt.Change{crdt.Put("a", []byte("1"))}}},
			{Key: k2, Base: base2, Op: crdt.Op{Destroy: true}},
		} {
			if a, err := r.Write(t.Context(), w); err != nil || a.Rung != router.LocalOnly {
				t.Fatalf("write while away = %v, %v; want local-only", a.Rung, err)
			}
		}
		primary.away.Store(false)
		wait(10 * time.Second)
		if !e.read(west, k2).Dead {
			t.Error("the logout after a record that can't be taken back is still in the side store")
		}
		primary.roomy.Store(true)
		wait(10 * time.Second)
		if v, _ := e.read(west, k1).Value("a"); string(v) != "1" {
			t.Errorf("what could not be taken back is %q once there is room, want 1", v)
		}
	})
}

// What the primary took back and lost in a failover is offered again: a side
// store's record counts as taken back once two Regions are seen to hold it.
func TestTakenBackOutlivesAFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarth(t, 10*time.Millisecond, router.Config{})
		k := e.birth(west, 1, time.Hour)
		wait(time.Second)
		primary := &picky{Engine: e.engines[west]}
		r, err := router.New(t.Context(), []router.Region{
			{ID: east, Name: "east", Engine: e.engine(east, false), Side: e.engine(east, false)},
			{ID: west, Name: "west", Engine: primary},
		}, router.Config{Primary: west})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		primary.away.Store(true)
		w := router.Write{Key: k, Base: e.read(west, k), Op: crdt.Op{Changes: []crdt.Change{crdt.Put("a", []byte("1"))}}}
		if a, err := r.Write(t.Context(), w); err != nil || a.Rung != router.LocalOnly {
			t.Fatalf("write while away = %v, %v; want local-only", a.Rung, err)
		}
		primary.forgets.Store(1)
		primary.away.Store(false)
		wait(20 * time.Second)
		if v, _ := e.read(west, k).Value("a"); string(v) != "1" {
			t.Errorf("what the primary took back and lost is %q there, want 1", v)
		}
	})
}

// A side store whose log was cut short while the primary was away gives back all
// of its records, those too that the log no longer names.
func TestTakenBackPastTheLogsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarth(t, 10*time.Millisecond, router.Config{})
		side, err := memory.New(west, memory.Config{LogBytes: 64 << 10}) // an entry or two a partition
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = side.Close() })
		primary := &picky{Engine: e.engines[west]}
		r, err := router.New(t.Context(), []router.Region{{ID: west, Name: "west", Engine: primary, Side: side}}, router.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		var keys []crdt.Key
		for i := range 20 { // all in one partition
			keys = append(keys, e.birth(west, 64*256, time.Hour+time.Duration(i)*time.Second))
		}
		primary.away.Store(true)
		for _, k := range keys {
			w := router.Write{Key: k, Base: e.read(west, k), Op: crdt.Op{Changes: []crdt.Change{crdt.Put("a", []byte("1"))}}}
			if a, err := r.Write(t.Context(), w); err != nil || a.Rung != router.LocalOnly {
				t.Fatalf("write while away = %v, %v; want local-only", a.Rung, err)
			}
		}
		primary.away.Store(false)
		wait(20 * time.Second)
		for i, k := range keys {
			if v, _ := e.read(west, k).Value("a"); string(v) != "1" {
				t.Errorf("session %d of %d is %q after 20 s, want 1: %v", i, len(keys), v, k.Partition())
			}
		}
	})
}

// A record that was written again and again beside the primary is taken back as it is
// in the end, and not once a write: a busy minute would take another one to be made up
// for.
func TestTakenBackOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarth(t, 10*time.Millisecond, router.Config{})
		side, err := memory.New(west, memory.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = side.Close() })
		primary := &picky{Engine: e.engines[west]}
		r, err := router.New(t.Context(), []router.Region{{ID: west, Name: "west", Engine: primary, Side: side}}, router.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		k := e.birth(west, 1, time.Hour)
		base := e.read(west, k)
		primary.away.Store(true)
		const writes = 100 // one batch of the log holds them
		for i := range writes {
			w := router.Write{Key: k, Base: base, Op: crdt.Op{Changes: []crdt.Change{crdt.Put("a", []byte{byte(i)})}}}
			if a, err := r.Write(t.Context(), w); err != nil || a.Rung != router.LocalOnly {
				t.Fatalf("write while away = %v, %v; want local-only", a.Rung, err)
			}
			wait(time.Millisecond) // a stamp of its own
		}
		primary.away.Store(false)
		wait(20 * time.Second)
		if v, _ := e.read(west, k).Value("a"); len(v) != 1 || v[0] != writes-1 {
			t.Errorf("taken back is %v, want the last write", v)
		}
		if n := primary.offered.Load(); n > writes/10 {
			t.Errorf("the primary was asked %d times to take one record back after %d writes, want a few", n, writes)
		}
	})
}

// A primary that lost an ending in a failover is told again, by whoever waits for
// a secondary to hear of it.
func TestPrimaryIsToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarth(t, 10*time.Millisecond, router.Config{})
		k := e.birth(west, 1, time.Hour)
		wait(time.Second)
		primary := &picky{Engine: e.engines[west]}
		r, err := router.New(t.Context(), []router.Region{
			{ID: east, Name: "east", Engine: e.engines[east]},
			{ID: west, Name: "west", Engine: primary},
		}, router.Config{Primary: west})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		primary.forgets.Store(1)
		if _, _, err := r.Revoke(t.Context(), router.Write{Key: k, Base: e.read(west, k), Op: crdt.Op{Destroy: true}}); err != nil {
			t.Fatalf("Revoke: %v", err)
		}
		wait(10 * time.Second)
		if !e.read(west, k).Dead || r.Pending() != 0 {
			t.Errorf("after 10 s the primary shows %v and %d endings wait, want it dead and none", e.read(west, k), r.Pending())
		}
	})
}

func (e *earth) read(at crdt.Region, k crdt.Key) crdt.Record {
	e.t.Helper()
	rec, err := e.engines[at].Read(e.t.Context(), k, crdt.Token{})
	if err != nil {
		e.t.Fatalf("read in %s: %v", name(at), err)
	}
	return rec
}

// An engine that hangs leaves the side store its own time to answer, and a side
// store that fails takes nobody's session away but says that it may know more.
func TestHalfARegion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarth(t, 10*time.Millisecond, router.Config{})
		k := e.birth(west, 1, time.Hour)
		if err := e.sides[west].Join(t.Context(), e.read(west, k)); err != nil {
			t.Fatal(err)
		}
		other := crdt.SessionKey(crdt.NewSessionID(crdt.TimeOf(time.Now()).Add(time.Hour), west, crdt.IDEntropy{9}))
		for _, c := range []struct {
			name       string
			main, side func(*picky)
			key        crdt.Key
			class      router.Class
			rung       router.Rung
			err        error
		}{
			{"main hangs", func(p *picky) { p.hung.Store(true) }, nil, k, router.Safe, router.LocalOnly, nil},
			{"side fails, safe", nil, func(p *picky) { p.away.Store(true) }, k, router.Safe, router.Stale, nil},
			{"side fails, strict", nil, func(p *picky) { p.away.Store(true) }, k, router.Strict, router.Refused, router.ErrStale},
			{"side fails, a miss", nil, func(p *picky) { p.away.Store(true) }, other, router.Safe, router.Refused, router.ErrDoubtful},
		} {
			main, side := &picky{Engine: e.engines[west]}, &picky{Engine: e.sides[west]}
			if c.main != nil {
				c.main(main)
			}
			if c.side != nil {
				c.side(side)
			}
			r, err := router.New(t.Context(), []router.Region{{ID: west, Name: "west", Engine: main, Side: side}}, router.Config{})
			if err != nil {
				t.Fatal(err)
			}
			a, err := r.Read(t.Context(), router.Query{Key: c.key, Class: c.class})
			if a.Rung != c.rung || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Errorf("%s: %v, %v; want %v, %v", c.name, a.Rung, err, c.rung, c.err)
			}
			if found := !a.Record.Born.Dot.IsZero(); found != (c.err == nil) {
				t.Errorf("%s: found = %v", c.name, found)
			}
			_ = r.Close()
		}
	})
}
