package enginetest

import (
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

func scanCases() []testCase {
	return []testCase{
		{"every record is there once", everyRecordThereOnce},
		{"it ends when told to", endsWhenTold},
		{"records may be written while it yields", recordsMayBeWrittenWhileYields},
	}
}

func everyRecordThereOnce(w *world) {
	e, s := w.openScanner()
	want := map[crdt.Key]uint64{}
	for i := range 200 {
		k := w.key()
		w.apply(e, k, w.birth("ann", 0))
		if i%5 == 0 {
			w.apply(e, k, crdt.Op{Destroy: true})
		}
		want[k] = w.read(e, k).Digest()
	}
	user := crdt.UserKey("ann")
	w.apply(e, user, crdt.Op{Revoke: true})
	want[user] = w.read(e, user).Digest()
	w.wantScan(s, engine.EveryPartition, want)
	w.wantScan(s, 0, want)
	for p := range engine.EveryPartition.All() {
		w.wantScan(s, engine.PartitionsOf(p), want)
	}
	for range 5 { // sets of about half of them, of few, and of all but few
		some := engine.Partitions(w.rng.Uint64())
		w.wantScan(s, some, want)
		some &= engine.Partitions(w.rng.Uint64() & w.rng.Uint64() & w.rng.Uint64())
		w.wantScan(s, some, want)
		w.wantScan(s, engine.EveryPartition&^some, want)
	}
}

func endsWhenTold(w *world) {
	e, s := w.openScanner()
	k := w.key()
	for range 5 {
		w.apply(e, k, w.birth("", 0))
		k = w.keyIn(k)
	}
	other := w.key()
	for other.Partition() == k.Partition() {
		other = w.key()
	}
	w.apply(e, other, w.birth("", 0))
	for _, of := range []engine.Partitions{engine.PartitionsOf(k.Partition()), engine.EveryPartition} {
		calls := 0
		err := s.Scan(w.ctx(), of, func(crdt.Record) bool { calls++; return calls < 2 })
		if err != nil || calls != 2 {
			w.Errorf("Scan(%b) = %v after %d calls, want no error after 2", of, err, calls)
		}
	}
}

func recordsMayBeWrittenWhileYields(w *world) {
	e, s := w.openScanner()
	k := w.key()
	w.apply(e, k, w.birth("", 0))
	err := s.Scan(w.ctx(), engine.EveryPartition, func(r crdt.Record) bool {
		w.apply(e, r.Key, w.put("a", "1"))
		return true
	})
	if err != nil {
		w.Errorf("Scan = %v, want no error", err)
	}
	w.wantValue(e, k, "a", "1")
}

// wantScan scans some partitions of an engine that has the records in all.
func (w *world) wantScan(s engine.Scanner, of engine.Partitions, all map[crdt.Key]uint64) {
	w.Helper()
	got := map[crdt.Key]bool{}
	err := s.Scan(w.ctx(), of, func(r crdt.Record) bool {
		if !of.Has(r.Key.Partition()) || all[r.Key] != r.Digest() || got[r.Key] {
			w.Errorf("Scan(%b) yields %+v, want what Read returns, of those partitions, once", of, r)
		}
		got[r.Key] = true
		return true
	})
	if err != nil {
		w.Errorf("Scan(%b) = %v, want no error", of, err)
	}
	for k := range all {
		if of.Has(k.Partition()) && !got[k] {
			w.Errorf("Scan(%b) does not yield %v of partition %d", of, k, k.Partition())
		}
	}
}

func (w *world) openScanner() (engine.Engine, engine.Scanner) {
	w.Helper()
	e := w.open(here)
	s, ok := engine.As[engine.Scanner](e)
	if !ok {
		w.Fatalf("engine %T can't scan, though another of its kind can", e)
	}
	return e, s
}
