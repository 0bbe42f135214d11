package replica

import (
	"testing"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// A taking is a Receiver, and what is being done for it.
type taking struct {
	*testing.T
	r *Receiver
}

func (k taking) next(part uint16, first uint64) Work {
	k.Helper()
	work, due := k.r.Work()
	if !due || work.Batch == nil || work.Batch.Partition != part || work.Batch.First != first {
		k.Fatalf("Work() = %+v, %v, want entry %d of partition %d", work, due, first, part)
	}
	return work
}

func (k taking) nothing(why string) {
	k.Helper()
	if work, due := k.r.Work(); due {
		k.Fatalf("Work() = %+v, want nothing: %s", work, why)
	}
}

func (k taking) finish(work Work) {
	k.Helper()
	var res engine.Ingested
	if work.Batch != nil {
		res.Position = work.Batch.Last()
	}
	if err := k.r.Done(1, work, res, nil); err != nil {
		k.Fatalf("Done = %v", err)
	}
}

// Partitions are taken in beside each other, up to a bound; the batches of one in
// their order, and records alone.
func TestReceiverWorksOnPartitions(t *testing.T) {
	batch := func(part uint16, first uint64) Entries {
		frags := make([]crdt.Fragment, 1)
		return Entries{Batch: engine.Batch{Partition: part, Actor: crdt.NewActor(1, 5), First: first, Frags: frags}}
	}
	k := taking{t, NewReceiver(2, 1, engine.Positions{}, 0, Limits{Parallel: 2}.withDefaults())}
	for _, f := range []Frame{batch(1, 1), batch(1, 2), batch(2, 1), batch(3, 1), States{Serial: 1, Records: []crdt.Record{{Key: keyIn(1)}}}, batch(4, 1)} {
		give(t, k.r, f)
	}
	one, two := k.next(1, 1), k.next(2, 1)
	k.nothing("two are being done")
	k.finish(two)
	three := k.next(3, 1) // the first partition is busy
	k.finish(one)
	again := k.next(1, 2)
	k.finish(three)
	k.nothing("records wait for all before them")
	k.finish(again)
	records, due := k.r.Work()
	if !due || records.Records == nil {
		t.Fatalf("Work() = %+v, want the records", records)
	}
	k.nothing("all wait for records")
	k.finish(records)
	k.finish(k.next(4, 1))
	if k.r.held != 0 {
		t.Errorf("%d bytes are held, want none", k.r.held)
	}
}
