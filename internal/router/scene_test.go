package router_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/fault"
	"github.com/roam-sessions/roam/internal/journal"
	"github.com/roam-sessions/roam/internal/router"
)

const (
	west  = crdt.Region(1)
	east  = crdt.Region(2)
	north = crdt.Region(3)
)

// An earth is three Regions on memory engines, with a router in each and a
// network between them. It lives in a synctest bubble.
type earth struct {
	t       *testing.T
	net     *fault.Net
	engines map[crdt.Region]*memory.Engine
	sides   map[crdt.Region]*memory.Engine
	routers map[crdt.Region]*router.Router
	// journals are each Region's own; link says whether others reach them.
	journals map[crdt.Region]*journal.Journal
	seen     map[router.Act]int
}

// A linked journal is one that a link can carry, as it does an engine.
type linked struct {
	engine.Engine // has nothing but what is below
	journal       *journal.Journal
}

func (l linked) Read(ctx context.Context, k crdt.Key, seen crdt.Token) (crdt.Record, error) {
	return l.journal.Read(ctx, k, seen)
}

func (l linked) Join(ctx context.Context, r crdt.Record) error { return l.journal.Join(ctx, r) }

func name(r crdt.Region) string {
	return map[crdt.Region]string{west: "west", east: "east", north: "north"}[r]
}

// newEarth builds it: 10 ms between any two Regions, replication as late as lag.
// Skew, if given, says how far the clock of a Region's application is ahead.
func newEarth(t *testing.T, lag time.Duration, config router.Config, skew ...map[crdt.Region]time.Duration) *earth {
	t.Helper()
	// A bubble begins in the year 2000, before the first stamp there is.
	wait(time.Until(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)))
	e := &earth{
		t: t, net: fault.NewNet(1), engines: map[crdt.Region]*memory.Engine{},
		sides: map[crdt.Region]*memory.Engine{}, routers: map[crdt.Region]*router.Router{},
		journals: map[crdt.Region]*journal.Journal{}, seen: map[router.Act]int{},
	}
	for _, id := range everyone() {
		e.engines[id] = e.engine(id, config.Primary != 0 && config.Primary != id)
		e.sides[id] = e.engine(id, false)
	}
	for _, id := range everyone() {
		for _, to := range everyone() {
			if to != id {
				e.net.SetLink(name(id), name(to), fault.Calls, fault.Link{Delay: 10 * time.Millisecond})
				e.replicate(id, to, lag)
			}
		}
	}
	for _, id := range everyone() {
		for _, ahead := range skew {
			config.Clock = func() time.Time { return time.Now().Add(ahead[id]) }
		}
		e.journals[id] = e.journal(id)
		e.start(id, config, false)
	}
	return e
}

func everyone() []crdt.Region { return []crdt.Region{west, east, north} }

// start starts the router of a Region, in the place of the one before. Its peers'
// journals are reached if linkJournals says so, and then no Region has a side store.
func (e *earth) start(id crdt.Region, config router.Config, linkJournals bool) {
	e.t.Helper()
	here := router.Region{ID: id, Name: name(id), Engine: e.engines[id], Side: e.sides[id], Journal: e.journals[id]}
	if linkJournals {
		here.Side = nil
	}
	regions := []router.Region{here}
	for _, to := range everyone() {
		if to == id {
			continue
		}
		g := router.Region{ID: to, Name: name(to), Engine: e.reach(id, to, e.engines[to])}
		if linkJournals {
			g.Journal = e.reach(id, to, linked{journal: e.journals[to]})
		}
		regions = append(regions, g)
	}
	if e.routers[id] != nil {
		_ = e.routers[id].Close()
	}
	r, err := router.New(e.t.Context(), regions, config)
	if err != nil {
		e.t.Fatalf("New: %v", err)
	}
	e.routers[id] = r
	e.t.Cleanup(func() { _ = r.Close() })
}

// reach returns what to has as id reaches it. Calls that are still on their way at
// the end of the test end with it.
func (e *earth) reach(id, to crdt.Region, what engine.Engine) *fault.Remote {
	r := e.net.Engine(name(id), name(to), what)
	e.t.Cleanup(func() { _ = r.Close() })
	return r
}

func (e *earth) journal(id crdt.Region) *journal.Journal {
	j, err := journal.New(id, journal.Config{})
	if err != nil {
		e.t.Fatalf("journal.New: %v", err)
	}
	return j
}

func (e *earth) engine(id crdt.Region, secondary bool) *memory.Engine {
	m, err := memory.New(id, memory.Config{Secondary: secondary})
	if err != nil {
		e.t.Fatalf("memory.New: %v", err)
	}
	e.t.Cleanup(func() { _ = m.Close() })
	return m
}

// replicate copies one Region's log to another, lag after it was written, unless
// the replication plane is cut.
func (e *earth) replicate(from, to crdt.Region, lag time.Duration) {
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(e.t.Context())
	var late sync.WaitGroup
	e.t.Cleanup(func() { cancel(); <-done; late.Wait() })
	go func() {
		defer close(done)
		var at engine.Positions
		_ = e.engines[from].Follow(ctx, at, func(b engine.Batch) error {
			late.Go(func() {
				wait(lag)
				for e.net.Link(name(from), name(to), fault.Replication).Cut && ctx.Err() == nil {
					wait(10 * time.Millisecond)
				}
				for _, f := range b.Frags { // late, whole and in any order: a join
					_ = e.engines[to].Join(ctx, f.Effect)
				}
			})
			return nil
		})
	}()
}

// wait lets the bubble's time pass.
func wait(d time.Duration) { <-time.After(d) }

// cut cuts all calls, and optionally replication, between two Regions.
func (e *earth) cut(a, b crdt.Region, on bool, planes ...fault.Plane) {
	for _, p := range planes {
		for _, pair := range [][2]string{{name(a), name(b)}, {name(b), name(a)}} {
			l := e.net.Link(pair[0], pair[1], p)
			l.Cut = on
			e.net.SetLink(pair[0], pair[1], p, l)
		}
	}
}

// login makes a session of alice in a Region.
func (e *earth) login(at crdt.Region) (crdt.Key, router.Answer) {
	e.t.Helper()
	now := crdt.TimeOf(time.Now())
	key := crdt.SessionKey(crdt.NewSessionID(now.Add(time.Hour), at, crdt.IDEntropy{byte(now), byte(now >> 8), byte(now >> 16), byte(at)}))
	a, err := e.routers[at].Write(e.t.Context(), router.Write{Key: key, Op: crdt.Op{
		Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}, User: "alice",
	}})
	if err != nil {
		e.t.Fatalf("login in %s: %v", name(at), err)
	}
	return key, a
}

func (e *earth) put(at crdt.Region, k crdt.Key, seen crdt.Token, field, value string) (router.Answer, error) {
	base, err := e.routers[at].Read(e.t.Context(), router.Query{Key: k, Seen: seen})
	if err != nil {
		return base, err
	}
	return e.routers[at].Write(e.t.Context(), router.Write{
		Key: k, Seen: seen, Base: base.Record, Op: crdt.Op{Changes: []crdt.Change{crdt.Put(field, []byte(value))}},
	})
}

// value reads a field of a session as a Region shows it.
func (e *earth) value(at crdt.Region, k crdt.Key, seen crdt.Token, field string) (string, router.Answer) {
	e.t.Helper()
	a, err := e.routers[at].Read(e.t.Context(), router.Query{Key: k, Seen: seen})
	if err != nil && !errors.Is(err, router.ErrDoubtful) {
		e.t.Fatalf("read in %s: %v", name(at), err)
	}
	v, _ := a.Record.Value(field)
	return string(v), a
}
