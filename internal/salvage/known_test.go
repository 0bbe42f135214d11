package salvage_test

import (
	"context"
	"testing"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/salvage"
)

// torn is a target that has less of an actor's log than that wrote.
type torn struct {
	engine.Engine
	actor crdt.Actor
	has   uint64
}

func (t torn) Unwrap() engine.Engine { return t.Engine }

func (t torn) Known(_ context.Context, of engine.Positions) (out engine.Positions, _ error) {
	for p, at := range of {
		if at.Actor == t.actor {
			out[p] = engine.Position{Actor: t.actor, N: t.has}
		}
	}
	return out, nil
}

// batches is a spool.
type batches []engine.Batch

func (b batches) Read(_ context.Context, _ engine.Positions, emit func(engine.Batch) error) error {
	for _, one := range b {
		if err := emit(one); err != nil {
			return err
		}
	}
	return nil
}

// A spool begins where its ten minutes do. What is older and at the target is no hole; what
// is neither here nor there is one.
func TestHolesOfATornLog(t *testing.T) {
	w := newWorld(t, memory.Config{})
	for i := range 12 {
		w.apply(w.old, w.key(i), birth())
	}
	var one engine.Batch
	ctx, enough := context.WithCancel(t.Context())
	log, _ := engine.As[engine.Log](w.old)
	_ = log.Follow(ctx, engine.Positions{}, func(b engine.Batch) error { one = b; enough(); return nil }) // it ends when it has one
	one.First = 91
	for has, want := range map[uint64]int{90: 0, 80: 1, 0: 0} {
		c := w.config()
		c.Old, c.Home, c.Fork, c.Parted, c.Spool = nil, true, engine.Positions{}, false, batches{one}
		c.Target = torn{c.Target, one.Actor, has}
		if out := w.run(c); len(out.Holes) != want || want > 0 && (out.Holes[0].First != 81 || out.Holes[0].Last != 90) {
			t.Errorf("with %d at the target the holes are %+v, want %d", has, out.Holes, want)
		}
	}
	c := w.config()
	c.Old, c.Parted, c.Spool = nil, true, batches{one}
	c.Fork = engine.Positions{}
	c.Fork[one.Partition] = engine.Position{Actor: one.Actor + 1, N: 95}
	c.Target = torn{c.Target, one.Actor, 80}
	if out := w.run(c); len(out.Holes) == 0 || out.Holes[0].First != 81 || out.Holes[0].Last != 90 || len(out.Items) == 0 {
		t.Errorf("with other writes under the same numbers: %d items, holes %+v, want 81 to 90 first", len(out.Items), out.Holes)
	}
}

// Where the logs parted may not be known yet. What the target has of a partition, all or some of
// it, is no hole then either.
func TestNoForkIsNoHole(t *testing.T) {
	w := newWorld(t, memory.Config{})
	w.apply(w.old, w.key(0), birth())
	w.apply(w.old, w.key(1), birth())
	w.replicate()
	w.lose(w.key(1), put("1"), salvage.Write)
	w.lose(w.key(2), birth(), salvage.Birth)
	head, err := w.old.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := w.config()
	c.Fork, c.Parted = engine.Positions{}, false
	known := engine.Positions{}
	for _, i := range []int{0, 1} {
		p := w.key(i).Partition()
		known[p] = engine.Position{Actor: head[p].Actor, N: 1}
	}
	c.Target = knower{c.Target, known}
	if out := w.run(c); len(out.Holes) > 0 || !out.Complete() || out.Missing() != 2 {
		t.Errorf("%d missing, holes %+v, want the two that were lost and none", out.Missing(), out.Holes)
	}
}

// knower is a target that has so much of a log.
type knower struct {
	engine.Engine
	has engine.Positions
}

func (k knower) Unwrap() engine.Engine { return k.Engine }

func (k knower) Known(_ context.Context, of engine.Positions) (out engine.Positions, _ error) {
	for p, at := range of {
		if out[p] = k.has[p]; at.Actor != k.has[p].Actor {
			out[p] = engine.Position{Actor: at.Actor}
		}
	}
	return out, nil
}

var _ salvage.Knower = torn{}
