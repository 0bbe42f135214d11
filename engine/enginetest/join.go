package enginetest

import (
	"time"

	"github.com/roam-sessions/roam/crdt"
)

func joinCases() []testCase {
	return []testCase{
		{"a state from elsewhere is merged", stateFromElsewhereMerged},
		{"a state and a write here are both kept", stateWriteHereBothKept},
		{"a tombstone ends a session", tombstoneEndsSession},
		{"nothing joins nothing", nothingJoinsNothing},
		{"what is past its time is dropped", whatPastTimeDropped},
	}
}

func stateFromElsewhereMerged(w *world) {
	e, k, p := w.open(here), w.key(), w.peer(far)
	p.apply(k, w.birth("ann", 0))
	early := p.records[k]
	p.apply(k, w.put("a", "1"))
	w.join(e, p.records[k])
	w.wantSame(w.read(e, k), p.records[k], "record after Join into nothing")
	w.join(e, early)
	w.join(e, p.records[k])
	w.wantSame(w.read(e, k), p.records[k], "record after older and repeated Joins")
}

func stateWriteHereBothKept(w *world) {
	e, k, p := w.open(here), w.key(), w.peer(far)
	p.apply(k, w.birth("ann", 0))
	w.join(e, p.records[k])
	w.apply(e, k, w.put("mine", "1"))
	p.apply(k, w.put("theirs", "2"))
	want := crdt.Join(w.read(e, k), p.records[k])
	w.join(e, p.records[k])
	w.wantSame(w.read(e, k), want, "record after concurrent writes")
}

func tombstoneEndsSession(w *world) {
	e, k := w.open(here), w.key()
	w.apply(e, k, w.birth("ann", 0))
	w.join(e, crdt.Record{Key: k, Dead: true})
	w.wantDead(e, k)
}

func nothingJoinsNothing(w *world) {
	e, k := w.open(here), w.key()
	w.join(e, crdt.Record{Key: k})
	w.wantBottom(e, k)
}

func whatPastTimeDropped(w *world) {
	e, p := w.open(here), w.peer(far)
	k := w.keyUntil(w.now().Add(-lifetime))
	p.skew = -2 * lifetime
	p.apply(k, crdt.Op{Birth: &crdt.Birth{}, Stamp: 1, Auth: &crdt.Auth{Gen: 1, Cur: w.hash()}})
	w.join(e, p.records[k])
	w.wantBottom(e, k)
	w.join(e, crdt.Record{Key: k, Dead: true})
	w.wantBottom(e, k)
}

// timeCases need Options.Advance.
func timeCases() []testCase {
	return []testCase{
		{"an idle session is refused, then dropped", idleSessionRefusedThenDropped},
		{"a session that is touched stays", sessionTouchedStays},
		{"a tombstone stays to the deadline and goes", tombstoneStaysDeadlineGoes},
	}
}

func idleSessionRefusedThenDropped(w *world) {
	e, k := w.open(here), w.key()
	w.apply(e, k, w.birth("", 10*time.Minute))
	w.o.Advance(10*time.Minute + time.Second)
	w.refuse(e, k, w.put("a", "1"), crdt.ErrExpired)
	if w.read(e, k).IsBottom() {
		w.Errorf("Read just after the idle time = bottom, want the copy kept for a touch on its way")
	}
	w.o.Advance(10 * time.Minute)
	w.wantBottom(e, k)
}

func sessionTouchedStays(w *world) {
	e, k := w.open(here), w.key()
	w.apply(e, k, w.birth("", 4*time.Minute))
	for range 6 {
		w.o.Advance(3 * time.Minute)
		w.apply(e, k, crdt.Op{Touch: true})
	}
	w.apply(e, k, w.put("a", "1"))
	w.wantValue(e, k, "a", "1")
}

func tombstoneStaysDeadlineGoes(w *world) {
	e, k := w.open(here), w.key()
	birth := w.birth("", time.Minute)
	w.apply(e, k, birth)
	w.apply(e, k, crdt.Op{Destroy: true})
	w.o.Advance(lifetime - time.Minute)
	w.refuse(e, k, birth, crdt.ErrDead)
	w.o.Advance(10 * time.Minute)
	w.wantBottom(e, k)
	w.nothing(e, k, crdt.Op{Destroy: true})
}
