package enginetest

import (
	"context"
	"errors"
	"slices"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

func logCases() []testCase {
	return []testCase{
		{"the log is dense, in order and chained", logDenseInOrderChained},
		{"the log makes the records again", logMakesRecordsAgain},
		{"what wrote nothing is not logged", whatWroteNothingNotLogged},
		{"what is adopted is logged", whatAdoptedLogged},
		{"head is where the log ends", headWhereLogEnds},
		{"release lets the log go on", releaseLetsLogGoOn},
	}
}

func logDenseInOrderChained(w *world) {
	e, l := w.openLog()
	want := w.story(e, 12, 10)
	got := map[crdt.Key][]crdt.Dot{}
	next := map[uint16]uint64{}
	for _, b := range w.drain(l, engine.Positions{}) {
		if b.Actor.Region() != here || b.Fork >= b.First || b.First != max(b.Fork+1, next[b.Partition]) {
			w.Errorf("batch of %v, fork %d, begins at %d, want region %d and number %d",
				b.Actor, b.Fork, b.First, here, next[b.Partition])
		}
		next[b.Partition] = b.Last().N + 1
		for _, f := range b.Frags {
			k := f.Effect.Key
			prev := crdt.Stamp(0)
			if n := len(got[k]); n > 0 {
				prev = got[k][n-1].Stamp
			}
			if f.Prev != prev || k.Partition() != b.Partition || f.Dot.Actor != b.Actor {
				w.Errorf("fragment %v of partition %d after %v in a batch of %v, partition %d, want it after %v",
					f.Dot, k.Partition(), f.Prev, b.Actor, b.Partition, prev)
			}
			got[k] = append(got[k], f.Dot)
		}
	}
	for k, dots := range want {
		if !slices.Equal(got[k], dots) {
			w.Errorf("dots of %v in the log = %v, want %v as Apply returned them", k, got[k], dots)
		}
	}
}

func logMakesRecordsAgain(w *world) {
	e, l := w.openLog()
	w.story(e, 8, 10)
	again := map[crdt.Key]crdt.Record{}
	for _, b := range w.drain(l, engine.Positions{}) {
		for _, f := range b.Frags {
			k := f.Effect.Key
			r, ok := again[k]
			if !ok {
				r = crdt.Record{Key: k}
			}
			var outcome crdt.Outcome
			if again[k], outcome = crdt.Merge(r, f); outcome != crdt.Applied {
				w.Fatalf("Merge(%+v, %+v) = %v, want applied", r, f, outcome)
			}
		}
	}
	for k, r := range again {
		w.wantSame(r, w.read(e, k), "record made of the log")
	}
}

func whatWroteNothingNotLogged(w *world) {
	e, l := w.openLog()
	k, p := w.key(), w.peer(far)
	w.apply(e, k, w.birth("ann", lifetime))
	before := w.head(l)
	w.nothing(e, k, crdt.Op{Touch: true})
	w.refuse(e, k, w.birth("ann", 0), crdt.ErrExists)
	p.apply(k, w.birth("ann", 0))
	w.join(e, p.records[k])
	if after := w.head(l); after != before {
		w.Errorf("Head after a touch too soon, a refusal and a Join = %v, want %v as before", after, before)
	}
}

func whatAdoptedLogged(w *world) {
	e, l := w.openLog()
	k, p := w.key(), w.peer(far)
	p.apply(k, w.birth("ann", 0))
	p.apply(k, w.put("a", "1"))
	side := p.records[k]
	dot := w.apply(e, k, crdt.Op{Stamp: w.stamp(), Adopt: &side})
	bs := w.drain(l, engine.Positions{})
	if len(bs) != 1 || len(bs[0].Frags) != 1 {
		w.Fatalf("log after one adoption = %+v, want one fragment", bs)
	}
	r, outcome := crdt.Merge(crdt.Record{Key: k}, bs[0].Frags[0])
	if v, _ := r.Value("a"); outcome != crdt.Applied || string(v) != "1" || !r.VV.Has(dot) || !r.VV.Covers(side.VV) {
		w.Errorf("fragment of the adoption makes %+v, %v, want what was adopted and %v", r, outcome, dot)
	}
}

func headWhereLogEnds(w *world) {
	e, l := w.openLog()
	if head := w.head(l); head != (engine.Positions{}) {
		w.Errorf("Head of a new engine = %v, want zero", head)
	}
	w.story(e, 6, 5)
	head, at := w.head(l), engine.Positions{}
	for _, b := range w.drain(l, engine.Positions{}) {
		at[b.Partition] = b.Last()
	}
	for p := range at {
		if at[p] != head[p] {
			w.Errorf("Head of partition %d = %v, want %v as followed", p, head[p], at[p])
		}
	}
}

func releaseLetsLogGoOn(w *world) {
	e, l := w.openLog()
	k := w.key()
	w.apply(e, k, w.birth("", 0))
	upto := w.head(l)
	if err := l.Release(w.ctx(), upto); err != nil {
		w.Fatalf("Release = %v, want no error", err)
	}
	dot := w.apply(e, k, w.put("a", "1"))
	bs := w.drain(l, upto)
	if len(bs) != 1 || len(bs[0].Frags) != 1 || bs[0].Frags[0].Dot != dot || bs[0].First != upto[k.Partition()].N+1 {
		w.Errorf("log after what was released = %+v, want %v at %d", bs, dot, upto[k.Partition()].N+1)
	}
}

func (w *world) openLog() (engine.Engine, engine.Log) {
	w.Helper()
	e := w.open(here)
	l, ok := engine.As[engine.Log](e)
	if !ok {
		w.Fatalf("engine %T has no log, though another of its kind has", e)
	}
	return e, l
}

// story applies random operations to keys and returns their dots in order.
func (w *world) story(e engine.Engine, keys, each int) map[crdt.Key][]crdt.Dot {
	w.Helper()
	out := map[crdt.Key][]crdt.Dot{}
	var order []crdt.Key
	for range keys {
		k := w.key()
		order = append(order, k)
		out[k] = append(out[k], w.apply(e, k, w.birth("ann", 0)))
	}
	for range keys * each {
		k := order[w.rng.IntN(keys)]
		out[k] = append(out[k], w.apply(e, k, w.randomChange()))
	}
	return out
}

func (w *world) randomChange() crdt.Op {
	name := string(rune('a' + w.rng.IntN(4)))
	switch w.rng.IntN(4) {
	case 0:
		return w.change(crdt.Add("n", int64(w.rng.IntN(9))-4))
	case 1:
		return w.change(crdt.Mark("s", name))
	case 2:
		return w.change(crdt.Delete(name), crdt.Unmark("s", name))
	}
	return w.put(name, string(rune('0'+w.rng.IntN(10))))
}

func (w *world) head(l engine.Log) engine.Positions {
	w.Helper()
	head, err := l.Head(w.ctx())
	if err != nil {
		w.Fatalf("Head = %v, want no error", err)
	}
	return head
}

var errEnough = errors.New("enough")

// drain returns what the log has after from, up to its present head.
func (w *world) drain(l engine.Log, from engine.Positions) []engine.Batch {
	w.Helper()
	head := w.head(l)
	reached := func() bool {
		for p, h := range head {
			if h.N > 0 && (from[p].Actor != h.Actor || from[p].N < h.N) {
				return false
			}
		}
		return true
	}
	if reached() {
		return nil
	}
	var out []engine.Batch
	err := l.Follow(w.ctx(), from, func(b engine.Batch) error {
		out = append(out, b)
		if from[b.Partition] = b.Last(); reached() {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		w.Fatalf("Follow to %v = %v, want the error of emit", head, err)
	}
	return out
}

// following runs Follow in a goroutine until the case ends.
func (w *world) following(ctx context.Context, l engine.Log, from engine.Positions) (<-chan engine.Batch, <-chan error) {
	batches, done := make(chan engine.Batch), make(chan error, 1)
	ctx, cancel := context.WithCancelCause(ctx)
	w.Cleanup(func() { cancel(errEnough) })
	go func() {
		done <- l.Follow(ctx, from, func(b engine.Batch) error {
			select {
			case batches <- b:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	}()
	return batches, done
}
