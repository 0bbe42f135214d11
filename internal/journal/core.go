package journal

import (
	"fmt"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// A Core is the endings that one Region knows of and some Region's engine may
// not have. It is used by one goroutine at a time. The same calls give the same
// answers; of Add and Restore neither order nor repetition matters.
type Core struct {
	actor   crdt.Actor
	most    int
	size    int
	entries map[crdt.Key]*entry
	order   []*entry // in which they came; holds some that are gone
}

// An entry is what is known of one record's end.
type entry struct {
	ending crdt.Record
	have   regions // whose engines show all of it
	told   regions // whose journals took all of it
	until  crdt.Time
	gone   bool
}

// regions is a set of Region numbers.
type regions uint16

func (s regions) has(r crdt.Region) bool { return s&(1<<r) != 0 }

// NewCore returns an empty Core. Epochs that it mints are actor's, which no
// engine and no other Core writes as. It holds up to most endings, where each
// revocation of one user by another actor counts.
func NewCore(actor crdt.Actor, most int) *Core {
	return &Core{actor: actor, most: most, entries: map[crdt.Key]*entry{}}
}

// Knows reports whether a copy of a record shows an ending.
func Knows(rec, ending crdt.Record) bool {
	if ending.Dead || rec.Dead {
		return rec.Dead
	}
	return rec.Epochs().Covers(ending.Epochs())
}

// Known returns what is known of the end of k, as a record to join; bottom if
// that is nothing.
func (c *Core) Known(k crdt.Key) crdt.Record {
	if e := c.entries[k]; e != nil {
		return e.ending
	}
	return crdt.Record{Key: k}
}

// maxAhead is how far Mint follows stamps that are ahead of its clock: as far
// as an engine does. Beyond that, some clock is wrong.
const maxAhead = 60 * time.Second

// Mint returns the dot of a revocation of all sessions of the user k: above the
// clock, above known, and above what this Core has minted for her before
// (DESIGN R18).
func (c *Core) Mint(now crdt.Time, k crdt.Key, known crdt.Vector) crdt.Dot {
	epochs := c.Known(k).Epochs().Join(known)
	s := max(now.Stamp(), min(epochs.Max()+1, now.Add(maxAhead).Stamp()), epochs.At(c.actor)+1)
	return crdt.Dot{Actor: c.actor, Stamp: min(s, crdt.MaxStamp)}
}

// Check reports whether Add would change what is known. It fails with
// crdt.ErrMalformed for a record that is no ending, and with engine.ErrFull if
// there is no room: nothing is forgotten to make any.
func (c *Core) Check(now crdt.Time, ending crdt.Record) (grows bool, err error) {
	if err := check(ending); err != nil {
		return false, err
	}
	ending = ending.Prune(now)
	if until, ok := ending.KeepUntil(); ok && now >= until {
		return false, nil // nobody would serve what it ended
	}
	known := c.Known(ending.Key)
	if Knows(known, ending) {
		return false, nil
	}
	if more := weight(crdt.Join(known, ending)) - weight(known); c.size+more > c.most {
		return false, fmt.Errorf("journal: %w: %d endings", engine.ErrFull, c.size)
	}
	return true, nil
}

// Add joins an ending to what is known. It fails as Check does, and then knows
// what it knew. One that says more than was known has to be confirmed and told
// anew.
func (c *Core) Add(now crdt.Time, ending crdt.Record) error {
	grows, err := c.Check(now, ending)
	if err == nil && grows {
		c.join(ending.Prune(now))
	}
	return err
}

// Restore is Add for what was known before a restart. It has no bound.
func (c *Core) Restore(now crdt.Time, ending crdt.Record) {
	ending = ending.Prune(now)
	if until, ok := ending.KeepUntil(); ok && now >= until || Knows(c.Known(ending.Key), ending) {
		return
	}
	c.join(ending)
}

func (c *Core) join(ending crdt.Record) {
	e := c.entries[ending.Key]
	if e == nil {
		e = &entry{ending: crdt.Record{Key: ending.Key}}
		c.entries[ending.Key] = e
		c.order = append(c.order, e)
	}
	c.size -= weight(e.ending)
	e.ending = crdt.Join(e.ending, ending)
	e.have, e.told = 0, 0
	e.until, _ = e.ending.KeepUntil() // every ending has one
	c.size += weight(e.ending)
}

// Confirm notes that the engine of a Region has an ending.
func (c *Core) Confirm(ending crdt.Record, r crdt.Region) {
	if e := c.entries[ending.Key]; e != nil && Knows(ending, e.ending) {
		e.have |= 1 << r
	}
}

// Tell notes that the journal of a Region took an ending. No read there misses
// it any more, but it stays here until the engine has it.
func (c *Core) Tell(ending crdt.Record, r crdt.Region) {
	if e := c.entries[ending.Key]; e != nil && Knows(ending, e.ending) {
		e.told |= 1 << r
	}
}

// Waiting returns the endings that the engine of a Region has not confirmed, in
// the order in which they came: without the first skip of them, and n at most.
func (c *Core) Waiting(r crdt.Region, skip, n int) []crdt.Record {
	return c.pick(skip, n, func(e *entry) bool { return !e.have.has(r) })
}

// Untold returns those of them that its journal has not taken either.
func (c *Core) Untold(r crdt.Region, skip, n int) []crdt.Record {
	return c.pick(skip, n, func(e *entry) bool { return !(e.have | e.told).has(r) })
}

// All returns every ending, in the order in which they came.
func (c *Core) All() []crdt.Record {
	return c.pick(0, len(c.order), func(*entry) bool { return true })
}

func (c *Core) pick(skip, n int, want func(*entry) bool) []crdt.Record {
	var out []crdt.Record
	for _, e := range c.order {
		switch {
		case e.gone || !want(e):
		case skip > 0:
			skip--
		case len(out) < n:
			out = append(out, e.ending)
		default:
			return out
		}
	}
	return out
}

// Sweep drops the endings that the engines of all the Regions given have, and
// those of what is past its time everywhere. It returns them.
func (c *Core) Sweep(now crdt.Time, all []crdt.Region) []crdt.Record {
	var every regions
	for _, r := range all {
		every |= 1 << r
	}
	var dropped []crdt.Record
	for _, e := range c.order {
		if !e.gone && (e.have&every == every || now >= e.until) {
			dropped = append(dropped, e.ending)
			c.drop(e)
		}
	}
	c.tidy()
	return dropped
}

// Settle drops an ending that was known to be everywhere before a restart. It
// keeps one that says more.
func (c *Core) Settle(ending crdt.Record) {
	if e := c.entries[ending.Key]; e != nil && Knows(ending, e.ending) {
		c.drop(e)
		if len(c.order) > 2*len(c.entries)+tidyAfter {
			c.tidy()
		}
	}
}

// tidyAfter keeps a small Core from tidying up all the time.
const tidyAfter = 64

func (c *Core) drop(e *entry) {
	e.gone = true
	c.size -= weight(e.ending)
	delete(c.entries, e.ending.Key)
}

// tidy lets go of the entries that are gone.
func (c *Core) tidy() {
	kept := c.order[:0]
	for _, e := range c.order {
		if !e.gone {
			kept = append(kept, e)
		}
	}
	clear(c.order[len(kept):])
	c.order = kept
}

// Len returns how many records have an ending here.
func (c *Core) Len() int { return len(c.entries) }

// weight returns how much of the bound a record takes.
func weight(ending crdt.Record) int {
	if ending.Dead {
		return 1
	}
	return len(ending.Fields)
}

// check refuses what is no ending: a dead session, or epochs of a user and
// nothing else.
func check(rec crdt.Record) error {
	only := crdt.Record{Key: rec.Key, Dead: rec.Key.Kind() == crdt.KindSession}
	if rec.Key.Kind() == crdt.KindUser {
		for _, d := range rec.Epochs() {
			only = crdt.Join(only, crdt.EpochRecord(rec.Key, d))
		}
	}
	if only.IsBottom() || rec.Digest() != only.Digest() {
		return fmt.Errorf("journal: %w: the record of %v is no ending", crdt.ErrMalformed, rec.Key)
	}
	return nil
}
