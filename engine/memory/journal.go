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
// A position of another actor is before them all.
func (c *Core) Log(partition uint16, from engine.Position, entries int, maxBytes int64) (b engine.Batch, more bool) {
	j := &c.parts[partition].log
	after := from.N
	if from.Actor != c.actor || after > j.head() {
		after = 0
	}
	b = engine.Batch{Partition: partition, Actor: c.actor, First: max(after+1, j.first)}
	rest := j.frags[b.First-j.first:]
	n, size := 0, int64(0)
	for n < min(entries, len(rest)) {
		if size += fragmentBytes(rest[n]); n > 0 && size > maxBytes {
			break
		}
		n++
	}
	b.Frags = append(b.Frags, rest[:n]...) // trim clears the array
	return b, n < len(rest)
}

// Release says that every peer holds the log of a partition up to upto. Sweep
// trims it KeepReleased later. Another actor's position says nothing.
func (c *Core) Release(partition uint16, upto engine.Position) {
	if upto.Actor == c.actor {
		c.parts[partition].log.release(upto.N)
	}
}

// Head returns the position of a partition's newest entry.
func (c *Core) Head(partition uint16) engine.Position {
	return engine.Position{Actor: c.actor, N: c.parts[partition].log.head()}
}
