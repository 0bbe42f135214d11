package roam_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
)

// A wire is one Region's way to the engine of a Region; it can be made to fail.
type wire struct {
	engine.Engine
	err    atomic.Pointer[error]
	writes *atomic.Int64
	hook   func(k crdt.Key, write bool) error // before each call; nil: none
}

func (w *wire) Unwrap() engine.Engine { return w.Engine }

func (w *wire) fail(err error) { w.err.Store(&err) }

func (w *wire) heal() { w.err.Store(nil) }

func (w *wire) Read(ctx context.Context, k crdt.Key, seen crdt.Token) (crdt.Record, error) {
	if w.hook != nil {
		if err := w.hook(k, false); err != nil {
			return crdt.Record{}, err
		}
	}
	if err := w.err.Load(); err != nil {
		return crdt.Record{}, *err
	}
	return w.Engine.Read(ctx, k, seen)
}

func (w *wire) Apply(ctx context.Context, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	if w.hook != nil {
		if err := w.hook(k, true); err != nil {
			return crdt.Dot{}, err
		}
	}
	if err := w.err.Load(); err != nil {
		return crdt.Dot{}, *err
	}
	w.writes.Add(1)
	return w.Engine.Apply(ctx, k, op)
}

// A land is several Regions that all take writes and hear of each other only
// when a test says so: Regions 1 to n, called by index from 0.
type land struct {
	t       *testing.T
	engines []*memory.Engine
	wires   [][]*wire // [from][to]
	apps    []*app
	writes  atomic.Int64 // that any engine was asked for
}

// newLand opens n Regions; edit, if given, changes the configuration of each.
func newLand(t *testing.T, n int, mode roam.Mode, edit ...func(from int, c *roam.Config)) *land {
	t.Helper()
	l := &land{t: t}
	for i := range n {
		e, err := memory.New(crdt.Region(i+1), memory.Config{Clock: clock})
		if err != nil {
			t.Fatalf("memory.New: %v", err)
		}
		t.Cleanup(func() { _ = e.Close() })
		l.engines = append(l.engines, e)
	}
	for from := range n {
		l.open(from, mode, edit)
	}
	return l
}

func (l *land) open(from int, mode roam.Mode, edit []func(int, *roam.Config)) {
	l.t.Helper()
	c := roam.Config{ReadAfterWrite: mode, WriteBudget: 400 * time.Millisecond, Clock: clock}
	l.wires = append(l.wires, make([]*wire, len(l.engines)))
	for to, e := range l.engines {
		l.wires[from][to] = &wire{Engine: e, writes: &l.writes}
		g := roam.Region{ID: crdt.Region(to + 1), Name: string(rune('a' + to)), Engine: l.wires[from][to]}
		if to == from {
			c.Here = g
		} else {
			c.Peers = append(c.Peers, g)
		}
	}
	for _, e := range edit {
		e(from, &c)
	}
	store, err := roam.Open(l.t.Context(), c)
	if err != nil {
		l.t.Fatalf("Open: %v", err)
	}
	l.t.Cleanup(func() { _ = store.Close() })
	a := &app{store: store, engine: &probe{Engine: l.engines[from]}}
	a.sessions = a.manager(l.t, testKey("land"), a.options())
	l.apps = append(l.apps, a)
}

// cut makes every call between two Regions fail at once; err nil heals it.
func (l *land) cut(a, b int, err error) {
	for _, w := range []*wire{l.wires[a][b], l.wires[b][a]} {
		if err == nil {
			w.heal()
		} else {
			w.fail(err)
		}
	}
}

// replicate brings all that one Region has to another.
func (l *land) replicate(from, to int) {
	l.t.Helper()
	err := l.engines[from].Scan(l.t.Context(), engine.EveryPartition, func(r crdt.Record) bool {
		return l.engines[to].Join(l.t.Context(), r) == nil
	})
	if err != nil {
		l.t.Fatalf("replicate: %v", err)
	}
}
