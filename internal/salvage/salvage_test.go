package salvage_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/salvage"
)

// change draws what a request does to a session or user.
func change(t *rapid.T) (op crdt.Op, kind salvage.Kind) {
	switch rapid.IntRange(0, 9).Draw(t, "what") {
	case 0, 1:
		return birth(), salvage.Birth
	case 2:
		return crdt.Op{Destroy: true}, salvage.Destroy
	case 3:
		return crdt.Op{Changes: []crdt.Change{crdt.Add("n", 1)}}, salvage.Write
	case 4:
		return crdt.Op{Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{2}}}, salvage.Write
	case 5:
		return crdt.Op{Revoke: true}, salvage.Revoke
	}
	return put(rapid.StringN(1, 3, -1).Draw(t, "value")), salvage.Write
}

// Whatever both sides have written: after a salvage the new primary has all of both, lists
// what it lacked and nothing else, and another salvage changes nothing and lists the same.
func TestSalvageLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, memory.Config{})
		keys := []crdt.Key{crdt.UserKey("ann"), crdt.UserKey("bob")}
		for i := range 6 {
			keys = append(keys, w.key(i))
		}
		step := func(write func(crdt.Key, crdt.Op, salvage.Kind)) {
			w.clock = w.clock.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "ms")) * time.Millisecond)
			op, kind := change(t)
			k := rapid.SampledFrom(keys).Draw(t, "key")
			if op.Revoke {
				k = keys[rapid.IntRange(0, 1).Draw(t, "user")]
			} else if k.Kind() == crdt.KindUser {
				k = keys[2]
			}
			write(k, op, kind)
		}
		at := func(e *memory.Engine) func(crdt.Key, crdt.Op, salvage.Kind) {
			return func(k crdt.Key, op crdt.Op, _ salvage.Kind) { w.apply(e, k, op) }
		}
		for range rapid.IntRange(0, 20).Draw(t, "before") {
			step(at(w.old))
		}
		w.replicate()
		for range rapid.IntRange(0, 30).Draw(t, "after") {
			if rapid.Bool().Draw(t, "at home") {
				step(at(w.home))
			} else {
				step(func(k crdt.Key, op crdt.Op, kind salvage.Kind) { w.lose(k, op, kind) })
			}
		}
		var want []uint64
		for _, k := range keys {
			joined := crdt.Join(w.read(w.old, k), w.read(w.home, k))
			joined.VV = nil
			want = append(want, joined.Digest())
		}
		check(w, keys, want)
	})
}

func check(w *world, keys []crdt.Key, want []uint64) {
	fork := w.fork()
	c := w.config()
	first := w.run(c)
	w.wantListed(first)
	for i, k := range keys {
		r := w.read(w.home, k)
		if !r.Dead && !r.VV.Covers(w.read(w.old, k).VV) {
			w.Errorf("%v at home does not claim what the old primary has", k)
		}
		if r.VV = nil; r.Digest() != want[i] {
			w.Errorf("%v at home is not what both have", k)
		}
	}
	had, log := w.digests(w.home, keys), w.logged(w.home)
	c.Fork = fork
	again := w.run(c)
	w.wantListed(again)
	if !slices.Equal(w.digests(w.home, keys), had) || w.logged(w.home) != log || again.Adopted != 0 {
		w.Errorf("a second salvage changed %d records and %d entries", again.Adopted, w.logged(w.home)-log)
	}
	if !slices.Equal(first.Items, again.Items) {
		w.Errorf("a second salvage lists %v, the first one %v", again.Items, first.Items)
	}
	c.Fork = engine.Positions{}
	if out := w.run(c); out.Missing() != 0 || out.Adopted != 0 {
		w.Errorf("without a fork it lists what is there: %v", out.Summary())
	}
}

// Fates: what is shown again, what was changed later, what has ended.
func TestFates(t *testing.T) {
	w := newWorld(t, memory.Config{})
	for i := range 4 {
		w.apply(w.old, w.key(i), birth())
	}
	w.replicate()
	w.lose(w.key(0), put("lost"), salvage.Write)
	w.lose(w.key(1), put("lost"), salvage.Write)
	kept := w.lose(w.key(2), put("lost"), salvage.Write)
	count := w.lose(w.key(2), crdt.Op{Changes: []crdt.Change{crdt.Add("n", 1)}}, salvage.Write)
	count2 := w.lose(w.key(2), crdt.Op{Changes: []crdt.Change{crdt.Add("n", 1)}}, salvage.Write)
	ended := w.lose(w.key(3), crdt.Op{Destroy: true}, salvage.Destroy)
	born := w.lose(w.key(4), birth(), salvage.Birth)
	revoked := w.lose(crdt.UserKey("ann"), crdt.Op{Revoke: true}, salvage.Revoke)
	w.apply(w.home, w.key(0), put("later"))
	w.apply(w.home, w.key(1), crdt.Op{Destroy: true})
	w.apply(w.home, w.key(3), put("used meanwhile"))
	out := w.run(w.config())
	w.wantListed(out)
	want := map[lost]salvage.Fate{}
	for _, d := range []lost{kept, count, count2, ended, born, revoked} {
		want[d] = salvage.Recovered
	}
	for _, i := range out.Items {
		if fate, ok := want[lost{i.Session, i.Dot}]; ok != (i.Fate == salvage.Recovered) || ok && fate != i.Fate || (i.Reason == "") != ok {
			t.Errorf("%v %v is %v (%s)", i.Kind, i.Dot, i.Fate, i.Reason)
		}
	}
	if n := w.read(w.home, w.key(2)).Count("n"); n != 2 {
		t.Errorf("a counter is %d, want 2", n)
	}
	if !w.read(w.home, w.key(3)).Dead || w.read(w.home, w.key(4)).User != "ann" || len(w.read(w.home, crdt.UserKey("ann")).Epochs()) != 1 {
		t.Error("a logout, a birth or a revocation is not at home")
	}
	if got, want := out.Summary(), "8 writes were missing: 6 recovered, 2 superseded"; got != want {
		t.Errorf("Summary = %q, want %q", got, want)
	}
}

// However few writes the outcome names, whoever lists them is told of all that it counts,
// states that were brought home among them.
func TestListedIsToldOfAll(t *testing.T) {
	w := newWorld(t, memory.Config{LogBytes: crdt.Partitions << 10})
	w.apply(w.old, w.key(0), birth())
	w.replicate()
	for range 20 {
		w.lose(w.key(0), put(string(make([]byte, 200))), salvage.Write)
	}
	for i := range 9 {
		w.lose(w.key(i+1), birth(), salvage.Birth)
	}
	var listed []salvage.Item
	c := w.config()
	c.Items, c.Listed = 1, func(i salvage.Item) { listed = append(listed, i) }
	out := w.run(c)
	counts := map[salvage.Fate]uint64{}
	for _, i := range listed {
		counts[i.Fate]++
	}
	if len(out.Items) != 1 || listed[0] != out.Items[0] || !maps.Equal(counts, out.Counts) || counts[salvage.Unknown] != 1 || len(listed) < 5 {
		t.Errorf("listed are %v, counted %v, want the same and a state among them", listed, out.Counts)
	}
}

// The server comes back empty: only the spool has what it took. What the spool lacks is a
// hole, and a write behind it is brought home by itself.
func TestOnlyTheSpoolHasIt(t *testing.T) {
	w := newWorld(t, memory.Config{})
	k, other := w.key(0), w.key(1)
	w.apply(w.old, k, birth())
	w.apply(w.old, other, birth())
	w.replicate()
	w.lose(k, put("1"), salvage.Write)
	gone := w.lose(other, put("gone"), salvage.Write)
	w.lose(other, crdt.Op{Changes: []crdt.Change{crdt.Put("b", nil)}}, salvage.Write)
	w.lose(k, crdt.Op{Changes: []crdt.Change{crdt.Put("b", []byte("2"))}}, salvage.Write)
	delete(w.missing, gone)
	s := openSpool(t, salvage.SpoolConfig{Dir: t.TempDir()})
	var seen int
	err := w.old.Follow(t.Context(), engine.Positions{}, func(b engine.Batch) error {
		for i, f := range b.Frags {
			if f.Dot != gone.dot || f.Effect.Key != other {
				one := b
				one.First, one.Frags = b.First+uint64(i), b.Frags[i:i+1] //nolint:gosec // small
				write(t, s, one)
			}
			if seen++; seen == 6 {
				return errThere
			}
		}
		return nil
	})
	if !errors.Is(err, errThere) {
		t.Fatal(err)
	}
	c := w.config()
	c.Spool, c.Old = s, w.open(1, memory.Config{Clock: c.Clock})
	out := w.run(c)
	if len(out.Holes) != 1 || out.Holes[0].First != out.Holes[0].Last || out.Complete() {
		t.Errorf("holes %v, want the one entry", out.Holes)
	}
	out.Holes = nil
	w.wantListed(out)
	if b, _ := w.read(w.home, k).Value("b"); string(b) != "2" {
		t.Errorf("b is %q", b)
	}
	r := w.read(w.home, other)
	if _, has := r.Value("b"); !has || r.VV.Has(gone.dot) {
		t.Errorf("the write behind the hole: there %v, hole claimed %v, want it there and no claim", has, r.VV.Has(gone.dot))
	}
	log := w.logged(w.home)
	if w.run(c); w.logged(w.home) != log {
		t.Error("a second salvage wrote")
	}
	c.Intact, c.Old = nil, nil
	if out := w.run(c); !out.Open {
		t.Error("without the server it is not said that its last writes may be missing")
	}
}

// The log was trimmed before anybody looked: the states tell, and how many writes that is
// of is not known.
func TestTrimmedLogIsMadeUpForByStates(t *testing.T) {
	w := newWorld(t, memory.Config{LogBytes: crdt.Partitions << 10})
	k, ended := w.key(0), w.key(3) // of one partition
	w.apply(w.old, k, birth())
	w.apply(w.old, ended, birth())
	w.replicate()
	w.lose(k, put("first"), salvage.Write)
	w.lose(ended, crdt.Op{Destroy: true}, salvage.Destroy)
	last := w.key(6)
	w.lose(last, birth(), salvage.Birth)
	for range 20 {
		w.lose(last, put(string(make([]byte, 200))), salvage.Write)
	}
	out := w.run(w.config())
	if len(out.Holes) != 1 || out.Complete() || out.Counts[salvage.Unknown] != 1 {
		t.Errorf("holes %v, counts %v, want one hole, and a record of unknown writes", out.Holes, out.Counts)
	}
	if v, _ := w.read(w.home, k).Value("a"); string(v) != "first" || !w.read(w.home, ended).Dead || w.read(w.home, last).User != "ann" {
		t.Errorf("not all states came home: %q, dead %v", v, w.read(w.home, ended).Dead)
	}
}

// A flaky is a target that takes so many operations, and then is closed.
type flaky struct {
	engine.Engine
	left atomic.Int64
}

// Apply takes an operation or says that the engine is closed.
func (f *flaky) Apply(ctx context.Context, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	if f.left.Add(-1) < 0 {
		return crdt.Dot{}, engine.ErrClosed
	}
	return f.Engine.Apply(ctx, k, op)
}

// A target that hangs up in between costs a run, and the next one ends what it began.
func TestSalvageGoesOnAfterACrash(t *testing.T) {
	w := newWorld(t, memory.Config{})
	for i := range 9 {
		w.lose(w.key(i), birth(), salvage.Birth)
		w.lose(w.key(i), put("lost"), salvage.Write)
	}
	c := w.config()
	for n := range int64(4) {
		target := &flaky{Engine: w.home}
		target.left.Store(n)
		f := c
		f.Target = target
		if _, err := salvage.Run(t.Context(), f); !errors.Is(err, engine.ErrClosed) {
			t.Fatalf("Run = %v, want ErrClosed", err)
		}
	}
	w.wantListed(w.run(c))
}

// An orderly target notes what it is asked to adopt, and has no room for one record.
type orderly struct {
	engine.Engine
	full crdt.Key
	mu   sync.Mutex // guards dead
	dead []bool
}

// Apply notes whether it is told of an end.
func (o *orderly) Apply(ctx context.Context, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	o.mu.Lock()
	o.dead = append(o.dead, op.Adopt.Dead)
	o.mu.Unlock()
	if k == o.full {
		return crdt.Dot{}, engine.ErrFull
	}
	return o.Engine.Apply(ctx, k, op)
}

// Endings are brought home before all else, and what there is no room for holds up nothing
// but the end of the salvage.
func TestEndingsComeFirst(t *testing.T) {
	w := newWorld(t, memory.Config{})
	for i := range 20 {
		w.apply(w.old, w.key(i), birth())
	}
	w.replicate()
	for i := range 10 {
		w.lose(w.key(i), put("lost"), salvage.Write)
	}
	for i := range 5 {
		w.lose(w.key(10+i), crdt.Op{Destroy: true}, salvage.Destroy)
	}
	target := &orderly{Engine: w.home, full: w.key(3)}
	c := w.config()
	c.Target = target
	if out, err := salvage.Run(t.Context(), c); !errors.Is(err, engine.ErrFull) || out.Counts[salvage.Recovered] != 14 {
		t.Errorf("Run = %v, %v, want all but one recovered, and ErrFull", out.Counts, err)
	}
	if len(target.dead) != 15 || slices.Contains(target.dead[:5], false) {
		t.Errorf("the target was told of ends: %v, want them first", target.dead)
	}
	w.wantListed(w.run(w.config()))
}

// A forgetful target says that it took what it did not, as a server that was replaced
// behind its name right after.
type forgetful struct{ engine.Engine }

// Apply does nothing and tells of a write.
func (forgetful) Apply(context.Context, crdt.Key, crdt.Op) (crdt.Dot, error) {
	return crdt.Dot{Actor: crdt.NewActor(2, 1), Stamp: 1}, nil
}

// What a target took is looked for before it is called recovered.
func TestSalvageLooksAfterIt(t *testing.T) {
	w := newWorld(t, memory.Config{})
	w.lose(w.key(0), birth(), salvage.Birth)
	c := w.config()
	c.Target = forgetful{w.home}
	if out, err := salvage.Run(t.Context(), c); !errors.Is(err, engine.ErrUnavailable) {
		t.Errorf("Run = %v, %v, want ErrUnavailable", out.Counts, err)
	}
}

// Nothing is done with before another Region has it as well.
func TestSalvageWaitsUntilItIsHeld(t *testing.T) {
	w := newWorld(t, memory.Config{})
	k := w.key(0)
	w.lose(k, birth(), salvage.Birth)
	c := w.config()
	c.Held = func(context.Context, crdt.Record) (bool, error) { return false, nil }
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := salvage.Run(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run while nobody else has it = %v, want it to wait", err)
	}
	asked := 0
	c.Held = func(_ context.Context, rec crdt.Record) (bool, error) {
		if rec.Key != k || rec.User != "ann" {
			t.Errorf("asked for %v", rec.Key)
		}
		asked++
		return asked > 2, nil
	}
	if w.run(c); asked != 3 {
		t.Errorf("asked %d times, want until it is held, though it is at home already", asked)
	}
}

// A run is told all that is wrong with what it is told.
func TestConfig(t *testing.T) {
	_, err := salvage.Run(t.Context(), salvage.Config{Items: -1})
	for _, want := range []string{"Target", "Spool", "Items"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Run = %v, want it to speak of %s", err, want)
		}
	}
}

// What is named is bounded, and what is not is counted.
func TestItemsAreBounded(t *testing.T) {
	w := newWorld(t, memory.Config{})
	for i := range 9 {
		w.lose(w.key(i), birth(), salvage.Birth)
	}
	c := w.config()
	c.Items = 4
	var last salvage.Progress
	c.Progress = func(p salvage.Progress) { last = p }
	out := w.run(c)
	if len(out.Items) != 4 || out.Missing() != 9 || out.Adopted != 9 || last != (salvage.Progress{Entries: 9, Records: 9, Adopted: 9}) {
		t.Errorf("%d items, %d missing, %d adopted, progress %+v", len(out.Items), out.Missing(), out.Adopted, last)
	}
}

// Where two logs parted is known by number. What an earlier run brought home, and could not
// see to be held, is listed by the next one, though the target knew nothing of who wrote it.
func TestListsWhatAnEarlierRunBroughtHome(t *testing.T) {
	w := newWorld(t, memory.Config{})
	w.lose(w.key(1), birth(), salvage.Birth)
	w.lose(w.key(1), put("lost"), salvage.Write)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	c := w.config()
	c.Fork, c.Parted = engine.Positions{}, true
	c.Held = func(context.Context, crdt.Record) (bool, error) { return false, nil }
	if _, err := salvage.Run(ctx, c); err == nil {
		t.Fatal("Run with nobody to hold what was brought home has no error")
	}
	c.Held = nil
	for _, known := range []bool{true, false} {
		c.Parted = known
		if out, want := w.run(c), map[bool]uint64{true: 2}[known]; out.Missing() != want {
			t.Errorf("with the place known (%v) it lists %v, want %d writes", known, out.Items, want)
		}
	}
}
