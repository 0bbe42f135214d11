package memory_test

import (
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
)

// succession is a primary that wrote lost entries more than its copy has, and
// the copy, which took over and wrote one entry of its own.
func succession(t *testing.T, lost int) (primary, successor *memory.Core, k crdt.Key, now crdt.Time) {
	t.Helper()
	d := newDriver()
	now = crdt.TimeOf(newClock().Now())
	primary, k = memory.NewCore(crdt.NewActor(1, 1), memory.Config{}), d.key(now)
	put := func(c *memory.Core, op crdt.Op) {
		if _, err := c.Apply(now, k, op); err != nil {
			t.Fatalf("Apply(%+v) = %v, want no error", op, err)
		}
	}
	put(primary, d.birth(now, "ann", time.Hour))
	put(primary, d.put(now, "a", 1))
	successor = primary.Clone()
	for range lost {
		put(primary, d.put(now, "a", 2))
	}
	successor.Promote(crdt.NewActor(1, 2))
	put(successor, d.put(now, "b", 3))
	return primary, successor, k, now
}

func TestPromotedCopyGoesOnWithItsLog(t *testing.T) {
	old, c, k, _ := succession(t, 3)
	p := k.Partition()
	for _, step := range []struct {
		from        engine.Position
		actor       crdt.Actor
		fork, first uint64
		count       int
		more        bool
	}{
		{engine.Position{}, old.Actor(), 0, 1, 2, true},
		{engine.Position{Actor: old.Actor(), N: 1}, old.Actor(), 0, 2, 1, true},
		{engine.Position{Actor: old.Actor(), N: 2}, c.Actor(), 2, 3, 2, false},
		{engine.Position{Actor: old.Actor(), N: 5}, c.Actor(), 2, 3, 2, false}, // has what was lost
		{engine.Position{Actor: c.Actor(), N: 3}, c.Actor(), 2, 4, 1, false},
		{engine.Position{Actor: crdt.NewActor(1, 9), N: 3}, old.Actor(), 0, 1, 2, true}, // nobody's
	} {
		b, more := c.Log(p, step.from, 10, 1<<20)
		if b.Actor != step.actor || b.Fork != step.fork || b.First != step.first || len(b.Frags) != step.count || more != step.more {
			t.Errorf("Log(from %v) = %d fragments of %v from %d, fork %d, more %v, want %+v",
				step.from, len(b.Frags), b.Actor, b.First, b.Fork, more, step)
		}
	}
	if got, want := c.Head(p), (engine.Position{Actor: c.Actor(), N: 4}); got != want {
		t.Errorf("Head = %v, want %v", got, want)
	}
}

// Whoever followed the primary is told by the successor's fork that some of what
// it has was lost, and misses nothing of what came after.
func TestFollowerOfALostPrimaryGoesOn(t *testing.T) {
	old, c, k, now := succession(t, 3)
	peer := memory.NewCore(crdt.NewActor(2, 1), memory.Config{})
	for _, from := range []*memory.Core{old, c} {
		for more := true; more; {
			var b engine.Batch
			b, more = from.Log(k.Partition(), peer.Position(1, k.Partition()), 10, 1<<20)
			if got, err := peer.Ingest(now, 1, b); err != nil || got.Hole || len(got.Gaps) > 0 {
				t.Fatalf("Ingest(%+v) = %+v, %v, want it merged", b, got, err)
			}
		}
	}
	if got, want := peer.Position(1, k.Partition()), c.Head(k.Partition()); got != want {
		t.Errorf("Position = %v, want the head %v", got, want)
	}
	r := peer.Read(now, k)
	a, _ := r.Value("a")
	b, _ := r.Value("b")
	if len(a) != 2 || len(b) != 3 {
		t.Errorf("Read = values of %d and %d bytes, want the lost one's 2 and the successor's 3", len(a), len(b))
	}
}

func TestCloneIsOfItsOwn(t *testing.T) {
	d, now := newDriver(), crdt.TimeOf(newClock().Now())
	c, k := memory.NewCore(crdt.NewActor(1, 1), memory.Config{}), d.key(now)
	birth, put := d.birth(now, "ann", time.Minute), d.put(now, "a", 1)
	if _, err := c.Apply(now, k, birth); err != nil {
		t.Fatalf("Apply(birth) = %v, want no error", err)
	}
	copied := c.Clone()
	if _, err := c.Apply(now, k, put); err != nil {
		t.Fatalf("Apply(put) = %v, want no error", err)
	}
	if _, ok := copied.Read(now, k).Value("a"); ok || copied.Head(k.Partition()).N != 1 {
		t.Errorf("clone has a = %v and head %v after a write to the other, want neither", ok, copied.Head(k.Partition()))
	}
	if _, err := copied.Apply(now, k, put); err != nil {
		t.Fatalf("Apply(put) to the clone = %v, want no error", err)
	}
	if got, want := copied.Read(now, k).Digest(), c.Read(now, k).Digest(); got != want {
		t.Errorf("Digest of the clone after the same calls = %x, want %x", got, want)
	}
	copied.Sweep(now.Add(time.Hour), k.Partition(), 10)
	if copied.Read(now, k).IsBottom() == c.Read(now, k).IsBottom() {
		t.Errorf("a sweep of the clone was one of the other, or of neither")
	}
}

func TestHeadOfAnEmptyLogIsZero(t *testing.T) {
	c := memory.NewCore(crdt.NewActor(1, 1), memory.Config{})
	c.Promote(crdt.NewActor(1, 2))
	if got := c.Head(7); got != (engine.Position{}) {
		t.Errorf("Head of an empty log = %v, want zero", got)
	}
}
