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
	for p := range uint16(crdt.Partitions) {
		err := s.Scan(w.ctx(), p, func(r crdt.Record) bool {
			if r.Key.Partition() != p || want[r.Key] != r.Digest() {
				w.Errorf("Scan(%d) yields %+v, want what Read returns, of that partition, once", p, r)
			}
			delete(want, r.Key)
			return true
		})
		if err != nil {
			w.Errorf("Scan(%d) = %v, want no error", p, err)
		}
	}
	if len(want) > 0 {
		w.Errorf("Scan did not yield %d records", len(want))
	}
}

func endsWhenTold(w *world) {
	e, s := w.openScanner()
	k := w.key()
	for range 5 {
		w.apply(e, k, w.birth("", 0))
		k = w.keyIn(k)
	}
	calls := 0
	err := s.Scan(w.ctx(), k.Partition(), func(crdt.Record) bool { calls++; return calls < 2 })
	if err != nil || calls != 2 {
		w.Errorf("Scan = %v after %d calls, want no error after 2", err, calls)
	}
}

func recordsMayBeWrittenWhileYields(w *world) {
	e, s := w.openScanner()
	k := w.key()
	w.apply(e, k, w.birth("", 0))
	err := s.Scan(w.ctx(), k.Partition(), func(r crdt.Record) bool {
		w.apply(e, r.Key, w.put("a", "1"))
		return true
	})
	if err != nil {
		w.Errorf("Scan = %v, want no error", err)
	}
	w.wantValue(e, k, "a", "1")
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
