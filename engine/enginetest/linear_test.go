package enginetest_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/enginetest"
	"github.com/roam-sessions/roam/engine/memory"
)

// A liar answers for an engine, and now and then wrongly.
type liar struct {
	engine.Engine
	mu    sync.Mutex // guards what follows
	calls int
	old   crdt.Record
	read  func(l *liar, r crdt.Record) crdt.Record
	apply func(l *liar, op crdt.Op) (forget bool, twice bool)
}

func (l *liar) Read(ctx context.Context, k crdt.Key, seen crdt.Token) (crdt.Record, error) {
	r, err := l.Engine.Read(ctx, k, seen)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	if l.read != nil {
		r = l.read(l, r)
	}
	return r, err
}

func (l *liar) Apply(ctx context.Context, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	l.mu.Lock()
	l.calls++
	var forget, twice bool
	if l.apply != nil {
		forget, twice = l.apply(l, op)
	}
	l.mu.Unlock()
	switch {
	case forget:
		return crdt.Dot{Actor: crdt.NewActor(1, 1), Stamp: op.Stamp}, nil
	case twice:
		if _, err := l.Engine.Apply(ctx, k, op); err != nil {
			return crdt.Dot{}, err
		}
		op.ID += 1000
	}
	return l.Engine.Apply(ctx, k, op)
}

// An engine that is none must be found out: a check that can't fail holds nothing.
func TestLinearizableFindsLiars(t *testing.T) {
	for name, lie := range map[string]func(l *liar){
		"nobody lies": func(*liar) {},
		"reads are stale": func(l *liar) {
			l.read = func(l *liar, r crdt.Record) crdt.Record {
				if l.calls%8 == 0 && !l.old.IsBottom() {
					return l.old
				}
				if l.calls%5 == 0 {
					l.old = r
				}
				return r
			}
		},
		"an acknowledged write is forgotten": func(l *liar) {
			l.apply = func(l *liar, op crdt.Op) (bool, bool) { return op.HasAdd() && l.calls%6 == 0, false }
		},
		"an addition counts twice": func(l *liar) {
			l.apply = func(l *liar, op crdt.Op) (bool, bool) { return false, op.HasAdd() && l.calls%6 == 0 }
		},
		"an ending is forgotten": func(l *liar) {
			l.apply = func(_ *liar, op crdt.Op) (bool, bool) { return op.Destroy, false }
		},
	} {
		t.Run(name, func(t *testing.T) {
			found := ""
			for seed := range uint64(40) {
				e, err := memory.New(1, memory.Config{})
				if err != nil {
					t.Fatal(err)
				}
				l := &liar{Engine: e}
				lie(l)
				now := crdt.TimeOf(time.Now())
				id := crdt.NewSessionID(now.Add(time.Hour), 1, crdt.IDEntropy{byte(seed)})
				if err := enginetest.Linearizable(t.Context(), l, crdt.SessionKey(id), now, seed); err != nil {
					found = err.Error()
				}
				_ = e.Close()
			}
			if (found == "") != (name == "nobody lies") {
				t.Errorf("found %q", found)
			}
			if found != "" && (!strings.Contains(found, "(illegal)") || !strings.Contains(found, "client")) {
				t.Errorf("found %q, want the calls", found)
			}
		})
	}
}
