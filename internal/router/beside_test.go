package router_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/fault"
	"github.com/roam-sessions/roam/internal/router"
)

// lags are links that measured nothing but lag.
type lags time.Duration

func (l lags) Heard(crdt.Region) (time.Duration, bool) { return 0, true }
func (l lags) Lag(crdt.Region) time.Duration           { return time.Duration(l) }
func (l lags) Everywhere(crdt.Dot) bool                { return false }

// The Region that most likely knows hangs, and another one does know: the read
// takes a hedge delay and a round trip instead of the timeout, and leaves
// nothing behind. The bubble would not end with a read still under way.
func TestHungRegionIsHedgedAgainst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarth(t, 10*time.Millisecond, router.Config{Links: lags(15 * time.Millisecond)})
		k, a := e.login(east)
		e.cut(east, west, true, fault.Replication)
		e.cut(north, west, true, fault.Replication)
		wait(100 * time.Millisecond)
		a, err := e.put(east, k, a.Token, "theme", "dark")
		if err != nil {
			t.Fatal(err)
		}
		wait(time.Second) // it is in north
		e.cut(east, west, true, fault.Calls)
		begun := time.Now()
		v, got := e.value(west, k, a.Token, "theme")
		// 30 ms for the silence of east, 20 ms for the round trip to north.
		if took := time.Since(begun); v != "dark" || got.Rung != router.Normal || got.Hedges != 1 || took != 50*time.Millisecond {
			t.Errorf("read = %q, %v, %d hedges in %v; want dark, normal, 1 in 50 ms", v, got.Rung, got.Hedges, took)
		}
	})
}

// While a Region hangs, few of the reads double what the others are asked.
func TestHedgesAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hedges := 0
		e := newEarth(t, 10*time.Millisecond, router.Config{
			Links:   lags(15 * time.Millisecond),
			Observe: func(o router.Observation) { hedges += o.Answer.Hedges },
		})
		k, a := e.login(east)
		slow := e.net.Link(name(east), name(west), fault.Calls)
		slow.Delay = 200 * time.Millisecond // it answers: no breaker opens
		e.net.SetLink(name(east), name(west), fault.Calls, slow)
		e.cut(east, west, true, fault.Replication)
		wait(time.Second)
		const reads = 200
		for range reads {
			if _, got := e.value(west, k, a.Token, ""); got.Rung != router.Normal {
				t.Fatalf("read = %v, want normal", got.Rung)
			}
		}
		if hedges < reads/10 || hedges > reads/10+11 {
			t.Errorf("%d hedges in %d reads, want a tenth and a burst of ten", hedges, reads)
		}
	})
}

// A Region whose breaker is open is not asked beside a silent one, and costs no
// token: there is one when it is back.
func TestOpenBreakerCostsNoHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarth(t, 10*time.Millisecond, router.Config{Links: lags(15 * time.Millisecond)})
		e.cut(north, west, true, fault.Replication)
		e.cut(east, west, true, fault.Replication)
		k, a := e.login(north)
		wait(time.Second) // it is in east
		slow := e.net.Link(name(north), name(west), fault.Calls)
		slow.Delay = 200 * time.Millisecond
		e.net.SetLink(name(north), name(west), fault.Calls, slow)
		e.net.Kill(name(east))
		for range 40 {
			if _, got := e.value(west, k, a.Token, ""); got.Record.User != "alice" {
				t.Fatalf("read = %+v, want alice's", got)
			}
		}
		if open := e.routers[west].OpenBreakers(); len(open) != 1 || open[0] != name(east) {
			t.Fatalf("open breakers = %v, want east's", open)
		}
		e.net.Revive(name(east))
		wait(5 * time.Second) // longer than any breaker stays open
		if _, got := e.value(west, k, a.Token, ""); got.Hedges != 1 || got.Region != east {
			t.Errorf("read from Region %d with %d hedges, want one, in east", got.Region, got.Hedges)
		}
	})
}

// A lingering engine counts the reads that it has not ended, and ends each a
// while after its context.
type lingering struct {
	engine.Engine
	under atomic.Int32
}

func (l *lingering) Read(ctx context.Context, _ crdt.Key, _ crdt.Token) (crdt.Record, error) {
	l.under.Add(1)
	defer l.under.Add(-1)
	<-ctx.Done()
	wait(3 * time.Millisecond)
	return crdt.Record{}, fmt.Errorf("%w: %w", engine.ErrUnavailable, ctx.Err())
}

// When a read returns, all that was begun for it has ended.
func TestReadLeavesNothingUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarth(t, 10*time.Millisecond, router.Config{})
		k := e.birth(north, 1, time.Hour)
		slow := &lingering{Engine: e.engines[east]}
		r, err := router.New(t.Context(), []router.Region{
			{ID: west, Name: "west", Engine: e.engine(west, false)},
			{ID: east, Name: "east", Engine: slow},
			{ID: north, Name: "north", Engine: e.engines[north]},
		}, router.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		a, err := r.Read(t.Context(), router.Query{Key: k, Also: east})
		if err != nil || a.Hedges != 1 || a.Record.Born.Dot.IsZero() {
			t.Fatalf("read = %+v, %v; want the session, by a hedge", a, err)
		}
		if n := slow.under.Load(); n != 0 {
			t.Errorf("%d reads are under way after the answer, want 0", n)
		}
	})
}

// The caller's end is the end of every read that was begun for her.
func TestCallerGivesUpReadsBesideEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarth(t, 10*time.Millisecond, router.Config{Links: lags(15 * time.Millisecond)})
		e.cut(west, east, true, fault.Calls)
		e.cut(west, north, true, fault.Calls)
		miss := crdt.SessionKey(crdt.NewSessionID(crdt.TimeOf(time.Now()).Add(time.Hour), east, crdt.IDEntropy{1}))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		begun := time.Now()
		a, err := e.routers[west].Read(ctx, router.Query{Key: miss})
		if took := time.Since(begun); err == nil || !a.Doubtful || took != 100*time.Millisecond {
			t.Errorf("read = %+v, %v in %v; want a doubtful refusal after 100 ms", a, err, took)
		}
	})
}

// A Region that is refilling says so to the router, which asks another one, and
// no breaker opens.
func TestRefillingRegion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarth(t, 10*time.Millisecond, router.Config{})
		k, _ := e.login(west)
		wait(time.Second)
		lost := e.engine(west, false) // a Region that lost everything
		if err := lost.SetRefilling(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		regions := []router.Region{{ID: west, Name: name(west), Engine: lost}}
		for _, to := range []crdt.Region{east, north} {
			regions = append(regions, router.Region{ID: to, Name: name(to), Engine: e.reach(west, to, e.engines[to])})
		}
		r, err := router.New(t.Context(), regions, router.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		for range 10 {
			if a, err := r.Read(t.Context(), router.Query{Key: k}); err != nil || a.Record.User != "alice" || a.Region != east {
				t.Fatalf("read = %+v, %v; want alice's, from east", a, err)
			}
		}
		if open := r.OpenBreakers(); len(open) != 0 {
			t.Errorf("open breakers = %v, want none: refilling is no failure", open)
		}
		for _, other := range []crdt.Region{east, north} {
			e.cut(west, other, true, fault.Calls)
		}
		if a, err := r.Read(t.Context(), router.Query{Key: k}); err == nil {
			t.Errorf("read with no other Region = %+v, want a refusal: never a miss", a)
		}
		user := crdt.UserKey("alice")
		if a, err := r.Read(t.Context(), router.Query{Key: user}); err != nil || a.Rung != router.Stale {
			t.Errorf("user, safe = %v, %v; want stale", a.Rung, err)
		}
		if a, err := r.Read(t.Context(), router.Query{Key: user, Class: router.Strict}); err == nil {
			t.Errorf("user, strict = %v; want a refusal", a.Rung)
		}
	})
}
