package memory

import (
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// A journal is the log of one partition, numbered densely from 1.
type journal struct {
	first    uint64 // number of frags[0]
	frags    []crdt.Fragment
	bytes    int64
	released uint64 // what every peer holds
	marks    []mark // of released, oldest first; at most releaseMarks+1
	eras     []era  // whose entries are kept, oldest first; never empty
}

// An era is a run of entries by one actor. A log has one, and one more each time
// that a copy of its engine took over.
type era struct {
	actor crdt.Actor
	fork  uint64 // the last number before it
}

// maxEras bounds the eras that are remembered: whoever reads from an older one
// begins anew, which costs it time and nothing else.
const maxEras = 8

// after returns the number of the entry that a reader at from has last. A reader
// that is beyond the end of its era has entries that were lost; its next is the
// first of the era that followed.
func (j *journal) after(from engine.Position) uint64 {
	for i, e := range j.eras {
		if e.actor != from.Actor {
			continue
		}
		if i+1 < len(j.eras) {
			return min(from.N, j.eras[i+1].fork)
		}
		if from.N <= j.head() {
			return from.N
		}
	}
	return 0
}

// eraOf returns the era of entry n and the number of the era's last entry.
func (j *journal) eraOf(n uint64) (era, uint64) {
	last := j.head()
	for i := len(j.eras) - 1; i > 0; i-- {
		if n > j.eras[i].fork {
			return j.eras[i], last
		}
		last = j.eras[i].fork
	}
	return j.eras[0], last
}

// begin starts the era of actor. Its first entry holds nothing: it says to
// readers, and to whoever compares them with the head, that this actor took over
// and what it took over.
func (j *journal) begin(actor crdt.Actor, share int64) {
	fork := j.head()
	if fork == 0 {
		j.eras = []era{{actor: actor}}
		return
	}
	j.eras = append(j.eras, era{actor, fork})
	if over := len(j.eras) - maxEras; over > 0 {
		j.eras = j.eras[over:]
		j.trim(j.eras[0].fork + 1) // nobody could say whose those were
	}
	j.append(crdt.Fragment{}, share)
}

// A mark says that the log up to n was released at the latest at at.
type mark struct {
	n  uint64
	at crdt.Time
}

// releaseMarks is how many marks a KeepReleased is divided into: acknowledged
// entries stay at most a sixteenth longer, for 16 marks a partition.
const releaseMarks = 16

// head returns the number of the newest entry; 0 if there was none yet.
func (j *journal) head() uint64 { return j.first + uint64(len(j.frags)) - 1 }

// append adds f and keeps the log within share, but for its newest entry.
func (j *journal) append(f crdt.Fragment, share int64) {
	j.frags = append(j.frags, f)
	j.bytes += fragmentBytes(f)
	cut := 0
	for over := j.bytes - share; over > 0 && cut < len(j.frags)-1; cut++ {
		over -= fragmentBytes(j.frags[cut])
	}
	j.trim(j.first + uint64(cut))
}

// trim lets go of what is before first.
func (j *journal) trim(first uint64) {
	if first <= j.first {
		return
	}
	n := int(min(first-j.first, uint64(len(j.frags)))) //nolint:gosec // at most a length
	for _, f := range j.frags[:n] {
		j.bytes -= fragmentBytes(f)
	}
	clear(j.frags[:n]) // the array lives on under what is left
	j.frags = j.frags[n:]
	j.first += uint64(n)
	if len(j.frags) == 0 {
		j.frags = nil
	}
}

// release notes that peers hold everything up to n.
func (j *journal) release(n uint64) { j.released = max(j.released, min(n, j.head())) }

// trimReleased lets go of what was released before now-keep.
func (j *journal) trimReleased(now, keep crdt.Time) {
	var last mark
	if len(j.marks) > 0 {
		last = j.marks[len(j.marks)-1]
	}
	if j.released > last.n && now >= last.at+keep/releaseMarks {
		j.marks = append(j.marks, mark{j.released, now})
	}
	done := 0
	for done < len(j.marks) && j.marks[done].at+keep <= now {
		done++
	}
	if done > 0 {
		j.trim(j.marks[done-1].n + 1)
		j.marks = append(j.marks[:0:0], j.marks[done:]...)
	}
}

// Log returns entries of a partition that come after from, at most entries
// and, but for one entry that is larger, maxBytes; and whether there are more.
// They are of one actor. A position of an actor that is not remembered is before
// them all.
func (c *Core) Log(partition uint16, from engine.Position, entries int, maxBytes int64) (b engine.Batch, more bool) {
	if c.parts[partition] == nil {
		return engine.Batch{Partition: partition, Actor: c.actor, First: 1}, false
	}
	j := &c.parts[partition].log
	first := max(j.after(from)+1, j.first)
	by, last := j.eraOf(first)
	b = engine.Batch{Partition: partition, Actor: by.actor, Fork: by.fork, First: first}
	rest := j.frags[first-j.first:]
	n, size := 0, int64(0)
	for n < min(entries, len(rest)) && first+uint64(n) <= last { //nolint:gosec // at most a length
		if size += fragmentBytes(rest[n]); n > 0 && size > maxBytes {
			break
		}
		n++
	}
	b.Frags = append(b.Frags, rest[:n]...) // trim clears the array
	return b, n < len(rest)
}

// Release says that every peer holds the log of a partition up to upto. Sweep
// trims it KeepReleased later. The position of an actor that is not remembered
// says nothing.
func (c *Core) Release(partition uint16, upto engine.Position) {
	if c.parts[partition] == nil {
		return
	}
	j := &c.parts[partition].log
	j.release(j.after(upto))
}

// Head returns the position of a partition's newest entry; zero if there was
// never any.
func (c *Core) Head(partition uint16) engine.Position {
	if c.parts[partition] == nil {
		return engine.Position{}
	}
	j := &c.parts[partition].log
	if j.head() == 0 {
		return engine.Position{}
	}
	by, _ := j.eraOf(j.head())
	return engine.Position{Actor: by.actor, N: j.head()}
}

// Promote makes c go on as actor, as a copy does that becomes the primary after
// the one that it followed is gone. What that one wrote beyond c's copy is lost
// here; readers of the log learn from Batch.Fork where.
func (c *Core) Promote(actor crdt.Actor) {
	c.actor = actor
	for _, p := range c.parts {
		if p != nil {
			p.log.begin(actor, c.logShare)
		}
	}
}
