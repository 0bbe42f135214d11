package enginetest

import (
	"slices"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

func sinkCases() []testCase {
	return []testCase{
		{"a log is taken in", logTakenIn},
		{"twice is once", twiceOnce},
		{"what comes too early leaves a hole", whatComesTooEarlyLeavesHole},
		{"endings do not wait for holes", endingsDoNotWaitForHoles},
		{"a gap is named and mended by the record's state", gapNamedMendedByRecordSState},
		{"a record that is nowhere any more is passed over", recordNowhereAnyMorePassedOver},
		{"endings do not wait for gaps", endingsDoNotWaitForGaps},
		{"a rebase goes on from the state", rebaseGoesOnFromState},
		{"a rebase takes nothing back", rebaseTakesNothingBack},
		{"a successor goes on from its fork", successorGoesOnFromFork},
		{"a fork beyond what was taken in is a hole", forkBeyondWhatWasTakenInHole},
		{"a late batch of a predecessor takes nothing back", lateBatchOfPredecessorTakesNothingBack},
		{"what is taken in is not passed on", whatTakenInNotPassedOn},
		{"what is past its time is passed over", whatPastTimePassedOver},
	}
}

func logTakenIn(w *world) {
	e, s, p, k := w.openSink(6)
	w.ingest(s, p.batch(k.Partition(), 1, 4), engine.Ingested{Position: p.position(4)})
	w.ingest(s, p.batch(k.Partition(), 5, 0), engine.Ingested{Position: p.position(6)})
	w.wantSame(w.read(e, k), p.records[k], "record taken in")
	w.wantPosition(s, k.Partition(), p.position(6))
}

func twiceOnce(w *world) {
	e, s, p, k := w.openSink(6)
	part := k.Partition()
	w.ingest(s, p.batch(part, 1, 4), engine.Ingested{Position: p.position(4)})
	w.ingest(s, p.batch(part, 1, 4), engine.Ingested{Position: p.position(4)})
	w.ingest(s, p.batch(part, 2, 3), engine.Ingested{Position: p.position(4)})
	w.ingest(s, p.batch(part, 3, 6), engine.Ingested{Position: p.position(6)})
	w.wantSame(w.read(e, k), p.records[k], "record taken in twice")
}

func whatComesTooEarlyLeavesHole(w *world) {
	e, s, p, k := w.openSink(6)
	part := k.Partition()
	w.ingest(s, p.batch(part, 4, 6), engine.Ingested{Hole: true})
	w.wantBottom(e, k)
	w.ingest(s, p.batch(part, 1, 2), engine.Ingested{Position: p.position(2)})
	w.ingest(s, p.batch(part, 4, 6), engine.Ingested{Position: p.position(2), Hole: true})
	w.ingest(s, p.batch(part, 3, 3), engine.Ingested{Position: p.position(3)})
	w.ingest(s, p.batch(part, 4, 6), engine.Ingested{Position: p.position(6)})
	w.wantSame(w.read(e, k), p.records[k], "record taken in, once the hole was filled")
}

func endingsDoNotWaitForHoles(w *world) {
	e, s, p, k := w.openSink(3)
	part := k.Partition()
	p.apply(k, crdt.Op{Destroy: true})
	w.ingest(s, p.batch(part, 1, 1), engine.Ingested{Position: p.position(1)})
	w.ingest(s, p.batch(part, 3, 4), engine.Ingested{Position: p.position(1), Hole: true})
	w.wantDead(e, k)
	w.ingest(s, p.batch(part, 2, 4), engine.Ingested{Position: p.position(4)})
	w.wantDead(e, k)
}

func gapNamedMendedByRecordSState(w *world) {
	e, s, p, k := w.openSink(3)
	part := k.Partition()
	// The engine loses nothing; a rebase without the states is what makes it lack them.
	l := w.keyIn(k)
	p.apply(l, w.birth("", 0))
	p.apply(k, w.put("z", "1"))
	b := p.batch(part, 3, 5)
	b.Rebase = true
	gap := engine.Ingested{Position: p.position(2), Gaps: []crdt.Key{k}}
	w.ingest(s, b, gap)
	b.Rebase = false
	w.ingest(s, b, gap)
	w.wantPosition(s, part, p.position(2))
	w.join(e, p.records[k])
	w.ingest(s, b, engine.Ingested{Position: p.position(5)})
	w.wantSame(w.read(e, k), p.records[k], "record after its gap was mended")
	w.wantSame(w.read(e, l), p.records[l], "other record of a batch with a gap")
}

func recordNowhereAnyMorePassedOver(w *world) {
	e, s, p, k := w.openSink(3)
	part := k.Partition()
	b := p.batch(part, 2, 3)
	b.Rebase = true
	w.ingest(s, b, engine.Ingested{Position: p.position(1), Gaps: []crdt.Key{k}})
	b.Frags = make([]crdt.Fragment, len(b.Frags))
	w.ingest(s, b, engine.Ingested{Position: p.position(3)})
	w.wantBottom(e, k)
}

func endingsDoNotWaitForGaps(w *world) {
	e, s, p, k := w.openSink(3)
	part := k.Partition()
	l := w.keyIn(k)
	p.apply(l, w.birth("", 0))
	p.apply(l, crdt.Op{Destroy: true})
	b := p.batch(part, 3, 5)
	b.Rebase = true
	w.ingest(s, b, engine.Ingested{Position: p.position(2), Gaps: []crdt.Key{k}})
	w.wantDead(e, l)
}

func rebaseGoesOnFromState(w *world) {
	e, s, p, k := w.openSink(3)
	part := k.Partition()
	w.join(e, p.records[k])
	p.apply(k, w.put("z", "1"))
	b := p.batch(part, 4, 4)
	w.ingest(s, b, engine.Ingested{Hole: true})
	b.Rebase = true
	w.ingest(s, b, engine.Ingested{Position: p.position(4)})
	w.wantSame(w.read(e, k), p.records[k], "record after a rebase")
	empty := engine.Batch{Partition: part, Actor: p.actor, First: 10, Rebase: true}
	w.ingest(s, empty, engine.Ingested{Position: p.position(9)})
}

// rebaseTakesNothingBack is DESIGN R14: what was acknowledged stays so, though an
// origin that heard of a loss twice has sent the state twice.
func rebaseTakesNothingBack(w *world) {
	e, s, p, k := w.openSink(4)
	part := k.Partition()
	w.ingest(s, p.batch(part, 1, 3), engine.Ingested{Position: p.position(3)})
	late := engine.Batch{Partition: part, Actor: p.actor, First: 2, Rebase: true}
	w.ingest(s, late, engine.Ingested{Position: p.position(3)})
	w.ingest(s, p.batch(part, 4, 4), engine.Ingested{Position: p.position(4)})
	w.wantSame(w.read(e, k), p.records[k], "record after a late rebase")
}

func successorGoesOnFromFork(w *world) {
	e, s, p, k := w.openSink(6)
	part := k.Partition()
	w.ingest(s, p.batch(part, 1, 6), engine.Ingested{Position: p.position(6)})
	lost := w.read(e, k)
	next := p.successor(part, 4)
	next.apply(k, w.put("next", "1"))
	w.ingest(s, next.batch(part, 1, 1), engine.Ingested{Position: next.position(1)})
	if r := w.read(e, k); !r.VV.Covers(lost.VV) {
		w.Errorf("record after a failover = %+v, want what the predecessor lost kept: %v", r, lost.VV)
	}
	w.wantValue(e, k, "next", "1")
	next.apply(k, w.put("next", "2"))
	w.ingest(s, next.batch(part, 2, 2), engine.Ingested{Position: next.position(2)})
}

func lateBatchOfPredecessorTakesNothingBack(w *world) {
	_, s, p, k := w.openSink(6)
	part := k.Partition()
	w.ingest(s, p.batch(part, 1, 6), engine.Ingested{Position: p.position(6)})
	next := p.successor(part, 4)
	next.apply(k, w.put("next", "1"))
	w.ingest(s, next.batch(part, 1, 1), engine.Ingested{Position: next.position(1)})
	w.ingest(s, p.batch(part, 1, 4), engine.Ingested{Position: next.position(1), Hole: true})
	w.wantPosition(s, part, next.position(1))
}

func forkBeyondWhatWasTakenInHole(w *world) {
	_, s, p, k := w.openSink(6)
	part := k.Partition()
	w.ingest(s, p.batch(part, 1, 2), engine.Ingested{Position: p.position(2)})
	next := p.successor(part, 4)
	next.apply(k, w.put("next", "1"))
	w.ingest(s, next.batch(part, 1, 1), engine.Ingested{Position: p.position(2), Hole: true})
	w.ingest(s, p.batch(part, 3, 4), engine.Ingested{Position: p.position(4)})
	w.ingest(s, next.batch(part, 1, 1), engine.Ingested{Position: next.position(1)})
}

func whatTakenInNotPassedOn(w *world) {
	e, s, p, k := w.openSink(3)
	w.ingest(s, p.batch(k.Partition(), 1, 0), engine.Ingested{Position: p.position(3)})
	if l, ok := engine.As[engine.Log](e); ok && len(w.drain(l, engine.Positions{})) > 0 {
		w.Errorf("the log holds what another Region wrote, want nothing")
	}
}

func whatPastTimePassedOver(w *world) {
	e, s := w.openSinkOnly()
	p, k := w.peer(far), w.keyUntil(w.now().Add(-lifetime))
	p.skew = -2 * lifetime
	p.apply(k, crdt.Op{Birth: &crdt.Birth{}, Stamp: 1, Auth: &crdt.Auth{Gen: 1, Cur: w.hash()}})
	p.apply(k, crdt.Op{Stamp: 2, Changes: []crdt.Change{crdt.Put("a", nil)}})
	p.apply(k, crdt.Op{Destroy: true})
	noGap := p.batch(k.Partition(), 2, 2) // its birth is missing, and nowhere to be had
	noGap.Rebase = true
	w.ingest(s, noGap, engine.Ingested{Position: p.position(2)})
	w.ingest(s, p.batch(k.Partition(), 1, 3), engine.Ingested{Position: p.position(3)})
	w.wantBottom(e, k)
}

func (w *world) openSinkOnly() (engine.Engine, engine.Sink) {
	w.Helper()
	e := w.open(here)
	s, ok := engine.As[engine.Sink](e)
	if !ok {
		w.Fatalf("engine %T is no sink, though another of its kind is", e)
	}
	return e, s
}

// openSink returns a sink and a peer whose log of a session has n entries.
func (w *world) openSink(n int) (engine.Engine, engine.Sink, *peer, crdt.Key) {
	w.Helper()
	e, s := w.openSinkOnly()
	p, k := w.peer(far), w.key()
	p.apply(k, w.birth("ann", 0))
	for range n - 1 {
		p.apply(k, w.randomChange())
	}
	return e, s, p, k
}

func (w *world) ingest(s engine.Sink, b engine.Batch, want engine.Ingested) {
	w.Helper()
	got, err := s.Ingest(w.ctx(), b.Actor.Region(), b)
	same := got.Position == want.Position && got.Hole == want.Hole && slices.Equal(got.Gaps, want.Gaps)
	if err != nil || !same {
		w.Fatalf("Ingest(%d entries from %d of %v, fork %d) = %+v, %v, want %+v",
			len(b.Frags), b.First, b.Actor, b.Fork, got, err, want)
	}
}

func (w *world) wantPosition(s engine.Sink, part uint16, want engine.Position) {
	w.Helper()
	ps, err := s.Positions(w.ctx(), want.Actor.Region())
	if err != nil || ps[part] != want {
		w.Errorf("Positions of partition %d = %v, %v, want %v", part, ps[part], err, want)
	}
}
