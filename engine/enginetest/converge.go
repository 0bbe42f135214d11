package enginetest

import (
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

const (
	convergeWrites = 400
	convergeKeys   = 12
	// exchangeEvery writes, on average, one Region hears of the other, badly.
	exchangeEvery = 12
	// exchangeRounds bounds how often what is left is sent at the end.
	exchangeRounds = 8
)

func convergeCases() []testCase {
	return []testCase{
		{"two Regions that hear of each other agree", twoRegionsHearEachOtherAgree},
	}
}

func twoRegionsHearEachOtherAgree(w *world) {
	a, b := w.open(here), w.open(there)
	lanes := []lane{w.lane(a, b, here), w.lane(b, a, there)}
	keys := []crdt.Key{crdt.UserKey("ann"), crdt.UserKey("bob")}
	for len(keys) < convergeKeys {
		keys = append(keys, w.key())
	}
	for range convergeWrites {
		e := []engine.Engine{a, b}[w.rng.IntN(2)]
		k := keys[w.rng.IntN(len(keys))]
		op := w.randomOp(k)
		if _, err := e.Apply(w.ctx(), k, op); err != nil && !engine.IsRefusal(err) {
			w.Fatalf("Apply(%v, %+v) = %v, want it taken or refused", k, op, err)
		}
		if w.rng.IntN(exchangeEvery) == 0 {
			lanes[w.rng.IntN(2)].disorder()
		}
	}
	lanes[0].finish()
	lanes[1].finish()
	for _, k := range keys {
		w.wantSame(w.read(b, k), w.read(a, k), "record of the other Region")
	}
}

// randomOp returns something that one might do to k. Births in both Regions,
// of two users, are among it.
func (w *world) randomOp(k crdt.Key) crdt.Op {
	n := w.rng.IntN(40)
	if k.Kind() == crdt.KindUser {
		if n < 10 {
			return crdt.Op{Revoke: true}
		}
		return w.change(crdt.Index(w.key().SessionID(), []byte("note")))
	}
	switch {
	case n == 0:
		return crdt.Op{Destroy: true}
	case n == 1:
		return w.birth("bob", lifetime)
	case n < 10:
		return w.birth("ann", lifetime)
	case n < 12:
		op := w.birth("", 0)
		op.Birth = nil // a rotation
		return op
	}
	return w.randomChange()
}

// A lane brings the log of one engine to another.
type lane struct {
	w      *world
	source engine.Engine
	log    engine.Log
	sink   engine.Sink
	dest   engine.Engine
	origin crdt.Region
}

func (w *world) lane(from, to engine.Engine, origin crdt.Region) lane {
	w.Helper()
	log, logs := engine.As[engine.Log](from)
	sink, sinks := engine.As[engine.Sink](to)
	if !logs || !sinks {
		w.Fatalf("engines %T, %T lack Log (%v) or Sink (%v), though others of their kind do not", from, to, logs, sinks)
	}
	return lane{w, from, log, sink, to, origin}
}

// disorder delivers pieces of the log: cut anywhere, in any order, some twice
// and some not at all.
func (l lane) disorder() {
	var pieces []engine.Batch
	for _, b := range l.w.drain(l.log, engine.Positions{}) {
		for len(b.Frags) > 0 {
			n := 1 + l.w.rng.IntN(len(b.Frags))
			piece := b
			piece.Frags = b.Frags[:n]
			for range l.w.rng.IntN(3) {
				pieces = append(pieces, piece)
			}
			b.First, b.Frags = b.First+uint64(n), b.Frags[n:] //nolint:gosec // small
		}
	}
	l.w.rng.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
	for _, b := range pieces {
		l.deliver(b)
	}
}

// finish delivers what is left, as a replicator does.
func (l lane) finish() {
	l.w.Helper()
	for range exchangeRounds {
		at, err := l.sink.Positions(l.w.ctx(), l.origin)
		if err != nil {
			l.w.Fatalf("Positions(%d) = %v, want no error", l.origin, err)
		}
		left := l.w.drain(l.log, at)
		if len(left) == 0 {
			return
		}
		for _, b := range left {
			l.deliver(b)
		}
	}
	l.w.Errorf("log of region %d is not taken in after %d rounds", l.origin, exchangeRounds)
}

// deliver gives a batch to the sink and mends its gaps.
func (l lane) deliver(b engine.Batch) {
	l.w.Helper()
	for range 2 {
		got, err := l.sink.Ingest(l.w.ctx(), l.origin, b)
		if err != nil {
			l.w.Fatalf("Ingest(%+v) = %v, want no error", b, err)
		}
		if len(got.Gaps) == 0 {
			return
		}
		for _, k := range got.Gaps {
			l.w.join(l.dest, l.w.read(l.source, k))
		}
	}
	l.w.Errorf("Ingest(%+v) has gaps after they were mended", b)
}
