package router

import (
	"errors"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
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
	case Knows(res.Record, ending):
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

// Knows reports whether a copy of a record shows the ending.
func Knows(rec, ending crdt.Record) bool {
	if ending.Dead {
		return rec.Dead
	}
	return rec.Epochs().Covers(ending.Epochs())
}

// maxPending bounds the revocations that are pushed again. One beyond it
// still travels with the log, and its caller is told who lacks it.
const maxPending = 100_000

// Revocations are the endings that some Region has not confirmed, in the order
// in which they were made. The zero value is empty. It is used by one goroutine
// at a time.
type Revocations struct {
	list []pendingEnding
}

type pendingEnding struct {
	record  crdt.Record
	waiting RegionSet
}

// Add notes an ending that the Regions of waiting have not confirmed. At the
// bound, or if there are none, it is not noted.
func (p *Revocations) Add(ending crdt.Record, waiting RegionSet) {
	if waiting != 0 && len(p.list) < maxPending {
		p.list = append(p.list, pendingEnding{ending, waiting})
	}
}

// Waiting returns the endings that a Region has not confirmed.
func (p *Revocations) Waiting(id crdt.Region) []crdt.Record {
	var out []crdt.Record
	for _, e := range p.list {
		if e.waiting.Has(id) {
			out = append(out, e.record)
		}
	}
	return out
}

// Confirm notes that a Region knows of an ending.
func (p *Revocations) Confirm(ending crdt.Record, id crdt.Region) {
	p.keep(func(e *pendingEnding) bool {
		if e.record.Key == ending.Key && Knows(ending, e.record) {
			e.waiting &^= 1 << id
		}
		return e.waiting != 0
	})
}

// Expire drops endings of what is past its time everywhere.
func (p *Revocations) Expire(now crdt.Time) {
	p.keep(func(e *pendingEnding) bool {
		until, ok := e.record.KeepUntil()
		return !ok || now < until
	})
}

// Len returns how many there are.
func (p *Revocations) Len() int { return len(p.list) }

func (p *Revocations) keep(ok func(*pendingEnding) bool) {
	kept := p.list[:0]
	for i := range p.list {
		if ok(&p.list[i]) {
			kept = append(kept, p.list[i])
		}
	}
	clear(p.list[len(kept):])
	p.list = kept
}
