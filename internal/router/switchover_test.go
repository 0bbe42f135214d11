package router_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/fault"
	"github.com/roam-sessions/roam/internal/router"
)

// A gate is an engine that takes writes while it is open, as a server does that holds
// the lease.
type gate struct {
	engine.Engine
	open  atomic.Bool
	asked atomic.Int64 // while it was shut
}

func (g *gate) Apply(ctx context.Context, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	if !g.open.Load() {
		g.asked.Add(1)
		return crdt.Dot{}, engine.ErrNotPrimary
	}
	return g.Engine.Apply(ctx, k, op)
}

func (g *gate) Unwrap() engine.Engine { return g.Engine }

// A leased earth is one whose engines take writes by the lease, east's first.
type leased struct {
	*earth
	gates map[crdt.Region]*gate
}

// newLeased builds it, with side stores or without.
func newLeased(t *testing.T, sides bool) leased {
	t.Helper()
	e := leased{newEarth(t, 10*time.Millisecond, router.Config{}), map[crdt.Region]*gate{}}
	for _, id := range everyone() {
		e.gates[id] = &gate{Engine: e.engines[id]}
	}
	e.gates[east].open.Store(true)
	for _, id := range everyone() {
		here := router.Region{ID: id, Name: name(id), Engine: e.gates[id], Journal: e.journals[id]}
		if sides {
			here.Side = e.sides[id]
		}
		regions := []router.Region{here}
		for _, to := range everyone() {
			if to != id {
				regions = append(regions, router.Region{ID: to, Name: name(to), Engine: e.reach(id, to, e.gates[to])})
			}
		}
		_ = e.routers[id].Close()
		r, err := router.New(t.Context(), regions, router.Config{Primary: east})
		if err != nil {
			t.Fatal(err)
		}
		e.routers[id] = r
		t.Cleanup(func() { _ = r.Close() })
	}
	return e
}

// tell tells all Regions where writes belong.
func (e leased) tell(p router.Primaries) {
	e.t.Helper()
	for _, id := range everyone() {
		if err := e.routers[id].SetPrimary(p); err != nil {
			e.t.Fatalf("SetPrimary(%v) in %s = %v, want nil", p, name(id), err)
		}
	}
}

// lead gives the lease to a Region, or to nobody.
func (e leased) lead(id crdt.Region) {
	for r, g := range e.gates {
		g.open.Store(r == id)
	}
}

// writing writes in a Region every few milliseconds until stop is closed, in many
// sessions at once, and returns how long each write took.
func (e leased) writing(at crdt.Region, stop <-chan struct{}, all *sync.WaitGroup, took func(time.Duration, router.Answer, error)) {
	for i := range 20 {
		k, a := e.login(at)
		wait(time.Millisecond)
		all.Go(func() {
			for n := 0; ; n++ {
				begun := time.Now()
				got, err := e.routers[at].Write(e.t.Context(), router.Write{
					Key: k, Seen: a.Token, Op: crdt.Op{Changes: []crdt.Change{crdt.Put(fmt.Sprint("n", i), fmt.Append(nil, n))}},
				})
				took(time.Since(begun), got, err)
				select {
				case <-stop:
					return
				case <-time.After(3 * time.Millisecond):
				}
			}
		})
	}
}

// A score is how long the longest write took, and how many each Region took.
type score struct {
	mu      sync.Mutex // guards what follows
	longest time.Duration
	at      map[crdt.Region]int
}

func (s *score) add(took time.Duration, at crdt.Region) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.longest = max(s.longest, took)
	s.at[at]++
}

func (s *score) get() (time.Duration, map[crdt.Region]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.longest, maps.Clone(s.at)
}

// In a planned switchover every write is taken, whatever the Regions have heard of it by
// then, and the longest waits for the gap, a round trip and some milliseconds.
func TestPlannedSwitchover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const gap = 30 * time.Millisecond
		e := newLeased(t, false)
		sum := score{at: map[crdt.Region]int{}}
		stop, all := make(chan struct{}), sync.WaitGroup{}
		for _, from := range []crdt.Region{west, north} {
			e.writing(from, stop, &all, func(d time.Duration, a router.Answer, err error) {
				if sum.add(d, a.Region); err != nil || a.Rung != router.Normal {
					t.Errorf("a write in %s = %v, %v", name(from), a.Rung, err)
				}
			})
		}
		wait(time.Second)
		e.tell(router.Primaries{Primary: east, Next: north})
		wait(100 * time.Millisecond)
		if _, at := sum.get(); at[north] != 0 {
			t.Errorf("%d writes in north, whose turn has not come", at[north])
		}
		e.lead(0)
		wait(gap)
		e.lead(north)
		wait(time.Second) // and nobody has been told
		if longest, _ := sum.get(); longest > gap+40*time.Millisecond {
			t.Errorf("the longest write took %v, want the gap of %v and little more", longest, gap)
		}
		e.tell(router.Primaries{Primary: north})
		wait(100 * time.Millisecond)
		asked := e.gates[east].asked.Load()
		wait(time.Second)
		if now := e.gates[east].asked.Load(); now != asked {
			t.Errorf("the old primary was asked %d times after all had been told", now-asked)
		}
		close(stop)
		all.Wait()
		if _, at := sum.get(); at[east] < 1000 || at[north] < 1000 {
			t.Errorf("writes by Region: %v", at)
		}
	})
}

// Where nobody knew that the primary would change, a write waits for whoever comes, as
// long as its budget lasts, and goes there.
func TestUnplannedFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newLeased(t, false)
		k, a := e.login(west)
		e.lead(0)
		go func() {
			wait(60 * time.Millisecond)
			e.lead(north)
			e.tell(router.Primaries{Primary: north})
		}()
		got, err := e.routers[west].Write(t.Context(), router.Write{Key: k, Seen: a.Token, Base: a.Record, Op: crdt.Op{Destroy: true}})
		if err != nil || got.Region != north || got.Rung != router.Normal {
			t.Errorf("Write = %v in %s, %v; want it in north", got.Rung, name(got.Region), err)
		}
		if p := e.routers[west].Primaries(); p != (router.Primaries{Primary: north}) {
			t.Errorf("Primaries = %v", p)
		}
	})
}

// A Primary that is asked for a read is the one there is by then.
func TestReadsAskTheNewPrimary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newLeased(t, false)
		e.lead(north)
		e.tell(router.Primaries{Primary: north})
		e.cut(east, north, true, fault.Replication)
		e.cut(west, north, true, fault.Replication)
		e.cut(west, east, true, fault.Calls) // of whom nothing is needed
		k, a := e.login(west)
		got, err := e.routers[west].Read(t.Context(), router.Query{Key: k, Seen: a.Token})
		if err != nil || got.Region != north || got.Hedges != 0 || got.Rung != router.Normal {
			t.Errorf("Read = %v from %s, %d hedges, %v; want it from north alone", got.Rung, name(got.Region), got.Hedges, err)
		}
	})
}

// What a side store kept goes to whoever is the primary when it can be given back.
func TestSideStoreGoesToTheNewPrimary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newLeased(t, true)
		k, a := e.login(west)
		wait(time.Second)
		e.lead(0) // the lease has ended, and nobody has it yet
		got, err := e.put(west, k, a.Token, "theme", "dark")
		if err != nil || got.Rung != router.LocalOnly {
			t.Fatalf("a write without any primary = %v, %v; want local-only", got.Rung, err)
		}
		e.net.Kill(name(east))
		e.lead(north)
		wait(10 * time.Second)
		if rec, _ := e.engines[north].Read(t.Context(), k, crdt.Token{}); rec.VV.Has(got.Dot) {
			t.Error("north was given it though nobody in west knows that it is the primary")
		}
		e.tell(router.Primaries{Primary: north})
		wait(10 * time.Second)
		rec, err := e.engines[north].Read(t.Context(), k, crdt.Token{})
		if v, _ := rec.Value("theme"); err != nil || string(v) != "dark" {
			t.Errorf("in the new primary: %q, %v; want what the side store had", v, err)
		}
	})
}

// A revocation that the next primary took is confirmed by the old one, which is none any
// more, when it has heard of it.
func TestRevocationInASwitchover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newLeased(t, false)
		k, a := e.login(west)
		wait(time.Second)
		e.tell(router.Primaries{Primary: east, Next: north})
		e.lead(north)
		got, rev, err := e.routers[west].Revoke(t.Context(), router.Write{Key: k, Seen: a.Token, Op: crdt.Op{Destroy: true}})
		if err != nil || got.Region != north || len(rev.Waiting) != 0 {
			t.Errorf("Revoke = %v in %s, %+v, %v; want north's, confirmed by all", got.Rung, name(got.Region), rev, err)
		}
	})
}

// An ending that no engine took is told to the primary there is when it can be told.
func TestEndingsGoToTheNewPrimary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newLeased(t, false)
		k, a := e.login(west)
		wait(time.Second)
		e.lead(0)
		_, _, err := e.routers[west].Revoke(t.Context(), router.Write{Key: k, Seen: a.Token, Op: crdt.Op{Destroy: true}})
		if err != nil {
			t.Fatal(err)
		}
		user, _, err := e.routers[west].Revoke(t.Context(), router.Write{Key: crdt.UserKey("alice"), Op: crdt.Op{Revoke: true}})
		if err != nil {
			t.Fatal(err)
		}
		e.lead(north)
		e.tell(router.Primaries{Primary: north})
		wait(10 * time.Second)
		if n := e.routers[west].Pending(); n != 0 {
			t.Errorf("Pending = %d, want 0", n)
		}
		for _, id := range everyone() {
			if rec := e.read(id, k); !rec.Dead {
				t.Errorf("the engine of %s has not heard of the death", name(id))
			}
			if got := e.read(id, crdt.UserKey("alice")).Epochs(); !slices.Contains(got, user.Dot) {
				t.Errorf("epochs in %s = %v, want %v", name(id), got, user.Dot)
			}
		}
	})
}

func TestSetPrimaryRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newLeased(t, false)
		for _, p := range []router.Primaries{{}, {Primary: 9}, {Primary: east, Next: 9}} {
			if err := e.routers[west].SetPrimary(p); err == nil {
				t.Errorf("SetPrimary(%v) = nil, want an error", p)
			}
		}
		if p := e.routers[west].Primaries(); p != (router.Primaries{Primary: east}) {
			t.Errorf("Primaries = %v after refusals, want what was before", p)
		}
	})
}
