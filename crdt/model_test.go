package crdt_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/roam-sessions/roam/crdt"
)

// A mail is a fragment on its way to a node.
type mail struct {
	to   int
	from int
	frag crdt.Fragment
}

// A world is several replicas of one session that write to themselves and send
// fragments to each other, and what must come of it.
type world struct {
	now     crdt.Time
	nodes   []*node
	mails   []mail
	nextID  uint64
	fields  map[string]crdt.Field // the acknowledged write of each field that must win
	sums    map[string]int64      // acknowledged additions
	added   map[uint64]bool       // operations in sums
	anyDead bool
	adds    struct { // the addition being tried
		name  string
		delta int64
	}
}

func newWorld(t *rapid.T, tb testing.TB) *world {
	w := &world{now: start, fields: map[string]crdt.Field{}, sums: map[string]int64{}, added: map[uint64]bool{}, nextID: 1}
	for i := range rapid.IntRange(2, 4).Draw(t, "nodes") {
		w.nodes = append(w.nodes, &node{
			actor: actor(crdt.Region(i+1), uint32(rapid.IntRange(0, 3).Draw(t, "incarnation"))),
			skew:  time.Duration(rapid.IntRange(-20_000, 20_000).Draw(t, "skew ms")) * time.Millisecond,
			rec:   crdt.Record{Key: sessionKey()},
		})
	}
	f, err := w.nodes[0].apply(w.now, birth(w.now, 6*time.Hour))
	if err != nil {
		tb.Fatalf("birth = %v", err)
	}
	w.send(0, f)
	return w
}

func (w *world) send(from int, f crdt.Fragment) {
	for to := range w.nodes {
		if to != from && !f.Dot.IsZero() {
			w.mails = append(w.mails, mail{to, from, f})
		}
	}
}

// deliver merges mail i, as a sink does: a gap or a fork is mended with the full
// record of the origin.
func (w *world) deliver(t *rapid.T, i int) {
	m := w.mails[i]
	to := w.nodes[m.to]
	wasDead := to.rec.Dead
	rec, o := crdt.Merge(to.rec, m.frag)
	if o == crdt.Gap || o == crdt.Fork {
		rec = crdt.Join(rec, w.nodes[m.from].rec)
	}
	if o == crdt.Fork {
		t.Fatalf("fork at node %d of %+v", m.to, m.frag)
	}
	to.rec = rec
	if wasDead && !rec.Dead {
		t.Fatalf("a dead session is back at node %d", m.to)
	}
}

// write applies a random operation, some of them twice, as retries are: at the
// same actor, or at another if nothing is added.
func (w *world) write(t *rapid.T) {
	at := rapid.IntRange(0, len(w.nodes)-1).Draw(t, "at")
	n := w.nodes[at]
	router := w.now.Add(time.Duration(rapid.IntRange(-20_000, 20_000).Draw(t, "router skew")) * time.Millisecond)
	op := crdt.Op{ID: w.nextID, Stamp: max(router.Stamp(), n.rec.VV.Max()+1)}
	w.nextID++
	name := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name")
	switch rapid.SampledFrom([]string{"put", "put", "delete", "add", "add", "mark", "unmark", "touch", "rotate", "destroy"}).Draw(t, "op") {
	case "put":
		op.Changes = []crdt.Change{crdt.Put(name, fmt.Append(nil, op.ID))}
	case "delete":
		op.Changes = []crdt.Change{crdt.Delete(name)}
	case "add":
		w.adds.name, w.adds.delta = name, rapid.Int64Range(-3, 3).Draw(t, "delta")
		op.Changes = []crdt.Change{crdt.Add(name, w.adds.delta)}
	case "mark":
		op.Changes = []crdt.Change{crdt.Mark("s", name)}
	case "unmark":
		op.Changes = []crdt.Change{crdt.Unmark("s", name)}
	case "touch":
		op.Touch = true
	case "rotate":
		op.Auth = &crdt.Auth{Cur: secret(byte(op.ID)), Prev: n.rec.Auth.Cur, Epochs: n.rec.Auth.Epochs}
	case "destroy":
		op.Destroy = rapid.IntRange(0, 9).Draw(t, "really") == 0
	}
	w.try(t, at, op)
	if rapid.IntRange(0, 4).Draw(t, "retry") == 0 {
		if !op.HasAdd() {
			at = rapid.IntRange(0, len(w.nodes)-1).Draw(t, "retry at")
		}
		w.try(t, at, op)
	}
}

func (w *world) try(t *rapid.T, at int, op crdt.Op) {
	n := w.nodes[at]
	before := n.rec
	f, err := n.apply(w.now, op)
	switch {
	case errors.Is(err, crdt.ErrAbsent), errors.Is(err, crdt.ErrDead), errors.Is(err, crdt.ErrExpired):
		sameRecord(t, "after a refusal", n.rec, before)
		return
	case err != nil:
		t.Fatalf("Apply(%+v) at node %d = %v", op, at, err)
	}
	w.send(at, f)
	w.anyDead = w.anyDead || n.rec.Dead
	for _, got := range f.Effect.Fields {
		if got.Name[0] == '#' {
			continue
		}
		if old, ok := w.fields[got.Name]; !ok || beats(got, old) {
			w.fields[got.Name] = got
		}
	}
	if op.HasAdd() && !w.added[op.ID] {
		w.added[op.ID] = true // an acknowledged addition counts once
		w.sums[w.adds.name] += w.adds.delta
	}
}

// beats reports whether a wins over b: by dot; where two clients took one stamp
// for their writes and one actor made both, a deletion, then the greater bytes.
func beats(a, b crdt.Field) bool {
	switch {
	case a.Dot != b.Dot:
		return b.Dot.Before(a.Dot)
	case a.Gone != b.Gone:
		return a.Gone
	}
	return bytes.Compare(a.Value, b.Value) > 0
}

// settle delivers all that is under way.
func (w *world) settle(t *rapid.T) {
	for i := range w.mails {
		w.deliver(t, i)
	}
}

func (w *world) check(t *rapid.T) {
	first := w.nodes[0].rec
	for i, n := range w.nodes {
		if !bytes.Equal(encode(n.rec), encode(first)) || n.rec.Digest() != first.Digest() {
			t.Fatalf("node %d differs from node 0:\n%+v\n%+v", i, n.rec, first)
		}
	}
	if first.Dead != w.anyDead {
		t.Fatalf("dead = %v, want %v", first.Dead, w.anyDead)
	}
	if first.Dead {
		return
	}
	for name, want := range w.fields {
		f, live := first.Field(name)
		if live == want.Gone || live && (f.Dot != want.Dot || !bytes.Equal(f.Value, want.Value)) {
			t.Fatalf("field %q = %+v (live %v), want %+v", name, f, live, want)
		}
	}
	for name, want := range w.sums {
		if got := first.Count(name); got != want {
			t.Fatalf("counter %s = %d, want %d", name, got, want)
		}
	}
}

// Whatever is written where, however late, often and out of order the others
// hear of it, all replicas end up equal, and nothing acknowledged is missing.
func TestReplicasConverge(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt, t)
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			w.now = w.now.Add(time.Duration(rapid.IntRange(0, 600_000).Draw(rt, "wait")) * time.Millisecond)
			if rapid.Bool().Draw(rt, "write") || len(w.mails) == 0 {
				w.write(rt)
				continue
			}
			i := rapid.IntRange(0, len(w.mails)-1).Draw(rt, "mail")
			w.deliver(rt, i)
			if rapid.Bool().Draw(rt, "only once") {
				w.mails = append(w.mails[:i:i], w.mails[i+1:]...)
			}
		}
		w.settle(rt)
		w.check(rt)
	})
}
