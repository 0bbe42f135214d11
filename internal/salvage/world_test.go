package salvage_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/salvage"
)

// A testingT has what tests and cases of laws have.
type testingT interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Cleanup(f func())
	Context() context.Context
}

// A world is a former primary that a new one has followed for a while.
type world struct {
	testingT
	old, home *memory.Engine
	clock     time.Time
	ops       uint64
	// missing are the writes that the old one has acknowledged since, by kind.
	missing map[lost]salvage.Kind
}

// A lost is a write, as an item of an outcome names it.
type lost struct {
	session string
	dot     crdt.Dot
}

func newWorld(t testingT, c memory.Config) *world {
	t.Helper()
	w := &world{testingT: t, clock: time.Unix(1764000000, 0), missing: map[lost]salvage.Kind{}}
	c.Clock = func() time.Time { return w.clock }
	w.old, w.home = w.open(1, c), w.open(2, memory.Config{Clock: c.Clock})
	return w
}

func (w *world) open(here crdt.Region, c memory.Config) *memory.Engine {
	e, err := memory.New(here, c)
	if err != nil {
		w.Fatalf("memory.New = %v", err)
	}
	w.Cleanup(func() { _ = e.Close() }) // never fails
	return e
}

func (w *world) now() crdt.Time { return crdt.TimeOf(w.clock) }

// key returns the key of the i-th session, or user.
func (w *world) key(i int) crdt.Key {
	id := crdt.NewSessionID(crdt.TimeOf(time.Unix(1764000000, 0)).Add(time.Hour), 1, crdt.IDEntropy{0, byte(i % 3), byte(i)})
	return crdt.SessionKey(id)
}

// apply applies an operation and reports whether it wrote something.
func (w *world) apply(e *memory.Engine, k crdt.Key, op crdt.Op) (crdt.Dot, bool) {
	w.Helper()
	w.ops++
	op.ID, op.Stamp = w.ops, w.now().Stamp()+crdt.Stamp(w.ops)
	d, err := e.Apply(w.Context(), k, op)
	if err != nil && !engine.IsRefusal(err) {
		w.Fatalf("Apply = %v", err)
	}
	return d, err == nil && !d.IsZero()
}

// lose has the old primary take a write that the new one does not get.
func (w *world) lose(k crdt.Key, op crdt.Op, kind salvage.Kind) lost {
	w.Helper()
	is := !w.read(w.old, k).Born.Dot.IsZero()
	d, ok := w.apply(w.old, k, op)
	l := lost{k.String(), d}
	if ok {
		w.missing[l] = kind
		if kind == salvage.Birth && is {
			w.missing[l] = salvage.Write // the same birth again
		}
	}
	return l
}

func birth() crdt.Op {
	return crdt.Op{Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}, User: "ann"}
}

func put(value string) crdt.Op {
	return crdt.Op{Changes: []crdt.Change{crdt.Put("a", []byte(value))}}
}

var errThere = errors.New("all is there")

// replicate brings the new primary all that the old one has.
func (w *world) replicate() {
	w.Helper()
	head, err := w.old.Head(w.Context())
	if err != nil {
		w.Fatalf("Head = %v", err)
	}
	if w.fork() == head {
		return
	}
	err = w.old.Follow(w.Context(), w.fork(), func(b engine.Batch) error {
		if got, err := w.home.Ingest(w.Context(), 1, b); err != nil || len(got.Gaps) > 0 || got.Hole {
			return fmt.Errorf("Ingest = %+v, %w", got, err)
		}
		if w.fork() == head {
			return errThere
		}
		return nil
	})
	if !errors.Is(err, errThere) {
		w.Fatalf("Follow = %v", err)
	}
}

// fork returns how far the new primary has the old one's log.
func (w *world) fork() engine.Positions {
	w.Helper()
	at, err := w.home.Positions(w.Context(), 1)
	if err != nil {
		w.Fatalf("Positions = %v", err)
	}
	for p := range at {
		if at[p].Actor == 0 {
			head, _ := w.old.Head(w.Context()) // it never fails
			at[p].Actor = head[p].Actor        // nothing of it is known
		}
	}
	return at
}

func (w *world) config() salvage.Config {
	return salvage.Config{
		Old: w.old, Intact: func(context.Context) bool { return true }, Target: w.home, Fork: w.fork(), Rate: 1e6, Quiet: 50 * time.Millisecond,
		Clock: func() time.Time { return w.clock },
	}
}

func (w *world) run(c salvage.Config) salvage.Outcome {
	w.Helper()
	out, err := salvage.Run(w.Context(), c)
	if err != nil {
		w.Fatalf("Run = %v", err)
	}
	return out
}

func (w *world) read(e *memory.Engine, k crdt.Key) crdt.Record {
	w.Helper()
	r, err := e.Read(w.Context(), k, crdt.Token{})
	if err != nil {
		w.Fatalf("Read = %v", err)
	}
	return r
}

// digests returns what an engine has of some sessions and users.
func (w *world) digests(e *memory.Engine, keys []crdt.Key) (out []uint64) {
	for _, k := range keys {
		out = append(out, w.read(e, k).Digest())
	}
	return out
}

// logged returns how many entries an engine's log has come to.
func (w *world) logged(e *memory.Engine) (n uint64) {
	head, _ := e.Head(w.Context()) // it never fails
	for _, p := range head {
		n += p.N
	}
	return n
}

// wantListed compares the items of an outcome with what was lost.
func (w *world) wantListed(out salvage.Outcome) {
	w.Helper()
	got := map[lost]salvage.Kind{}
	for _, i := range out.Items {
		l := lost{i.Session, i.Dot}
		if _, twice := got[l]; twice {
			w.Errorf("%v is listed twice", l)
		}
		got[l] = i.Kind
		if i.Fate != salvage.Recovered && i.Fate != salvage.Superseded {
			w.Errorf("%v of %v is %v: %v", i.Kind, i.Dot, i.Fate, i.Reason)
		}
	}
	if !maps.Equal(got, w.missing) {
		w.Errorf("listed are %v, want %v", got, w.missing)
	}
	if out.Missing() != uint64(len(w.missing)) || !out.Complete() {
		w.Errorf("%d missing, complete %v, want %d and all: %s", out.Missing(), out.Complete(), len(w.missing), out.Summary())
	}
}
