package router

import (
	"errors"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/journal"
)

// What becomes of records that one place has and another must have: the side
// store's, which are taken back to where writes belong, and endings, which every
// Region must know. Both are brought by one operation that adopts the record
// (DESIGN R18), so that the peers of whoever adopts it hear of it too.

// Adoption returns the operation that brings rec to an engine that takes writes.
func Adoption(rec crdt.Record) crdt.Op { return crdt.Op{Adopt: &rec} }

// A Fate is what became of an adoption.
type Fate uint8

// The fates.
const (
	// Settled: it is there, or nobody there would show the record anyway.
	Settled Fate = iota
	// Stuck: this record can't be adopted at present; others may be.
	Stuck
	// Away: the engine is out of reach, so others need not be tried either.
	Away
)

// FateOfEnding returns what err, of an operation that adopts an ending, means.
func FateOfEnding(err error) Fate {
	if errors.Is(err, crdt.ErrExpired) {
		return Settled // nobody there shows it any more
	}
	return fateOf(err)
}

// FateOfLook returns what a look at a Region that takes no writes says of an
// ending on its way there.
func FateOfLook(res Result, ending crdt.Record) Fate {
	switch {
	case res.Err != nil:
		return fateOf(res.Err)
	case journal.Knows(res.Record, ending):
		return Settled
	}
	return Stuck // not there yet
}

// FateOfReturn returns what err, of an operation that takes a record back from a
// side store, means. A refusal is an end as well: the session died or expired
// meanwhile.
func FateOfReturn(err error) Fate {
	if engine.IsRefusal(err) {
		return Settled
	}
	return fateOf(err)
}

// Holds reports whether a copy of a record has all that another has.
func Holds(have, rec crdt.Record) bool {
	return have.Dead || !rec.Dead && have.VV.Covers(rec.VV)
}

// Holders returns in how many Regions a record that was taken back must be seen
// before its source may forget it (DESIGN R8): what one of them took it may lose
// in a failover.
func (r *Rules) Holders() int { return min(2, len(r.Near)) }

// Missed reports whether a log no longer has all that comes after at, so that b
// begins further on. What it missed is in the records only.
func Missed(at engine.Position, b engine.Batch) bool {
	if at.Actor != b.Actor { // of a predecessor, all before the fork was needed
		at.N = min(at.N, b.Fork)
	}
	return b.First > at.N+1
}

func fateOf(err error) Fate {
	switch {
	case err == nil:
		return Settled
	case engine.IsRefusal(err), errors.Is(err, engine.ErrFull), errors.Is(err, engine.ErrCorrupt):
		return Stuck
	}
	return Away
}

// EndingOf returns what every Region has to know after a write that ends
// something was taken with the dot d: a dead session, or an epoch.
func EndingOf(w Write, d crdt.Dot) crdt.Record {
	if w.Op.Revoke {
		return crdt.EpochRecord(w.Key, d)
	}
	return crdt.Record{Key: w.Key, Dead: w.Op.Destroy}
}
