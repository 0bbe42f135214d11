package memory_test

import (
	"testing"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
)

// However many primaries there were, each entry is given out as its writer's; what
// was written by one that is not remembered is not given out at all.
func TestLogOfManyPrimaries(t *testing.T) {
	d, now := newDriver(), crdt.Time(90_000_000_000)
	core := memory.NewCore(crdt.NewActor(1, 0), memory.Config{})
	k := d.key(now)
	for i := range uint32(20) {
		op := d.put(now, "a", 1)
		if i == 0 {
			op = d.birth(now, "ann", 0)
		}
		if _, err := core.Apply(now, k, op); err != nil {
			t.Fatalf("Apply: %v", err)
		}
		core.Promote(crdt.NewActor(1, i+1))
	}
	at, read := engine.Position{}, 0
	for {
		b, _ := core.Log(k.Partition(), at, 100, 1<<30)
		if len(b.Frags) == 0 {
			break
		}
		if err := b.Check(1); err != nil {
			t.Fatalf("Log(%v) = %d entries: %v", at, len(b.Frags), err)
		}
		at, read = b.Last(), read+len(b.Frags)
	}
	if at != core.Head(k.Partition()) || read < 8 {
		t.Errorf("read %d entries up to %v, want some up to the head, %v", read, at, core.Head(k.Partition()))
	}
}
