package memory

import (
	"bytes"
	"container/heap"
	"math"
	"slices"

	"github.com/roam-sessions/roam/crdt"
)

// expiry is a heap of all slots of a partition by due. A touch moves a
// record's end and not its place: the place is mended when it comes up, so
// that touches cost nothing here.
type expiry []*slot

// Len, Less, Swap, Push and Pop are for container/heap.
func (e expiry) Len() int           { return len(e) }
func (e expiry) Less(i, j int) bool { return e[i].due < e[j].due }
func (e expiry) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].index, e[j].index = i, j
}

// Push appends a *slot.
func (e *expiry) Push(x any) {
	s := x.(*slot) //nolint:forcetypeassert // note pushes nothing else
	s.index = len(*e)
	*e = append(*e, s)
}

// Pop takes the last *slot off.
func (e *expiry) Pop() any {
	last := len(*e) - 1
	s := (*e)[last]
	(*e)[last] = nil
	*e = (*e)[:last]
	return s
}

// note keeps due from being after keep.
func (e *expiry) note(s *slot, added bool) {
	switch {
	case added:
		s.due = s.keep
		heap.Push(e, s)
	case s.keep < s.due:
		s.due = s.keep
		heap.Fix(e, s.index)
	}
}

// Sweep drops records of a partition that are past their time and log entries
// that were released long enough ago. It looks at no more than budget records
// and reports whether it stopped there.
func (c *Core) Sweep(now crdt.Time, partition uint16, budget int) (more bool) {
	p := c.parts[partition]
	if p == nil {
		return false
	}
	p.log.trimReleased(now, c.keepReleased)
	for ; budget > 0 && len(p.order) > 0 && p.order[0].due <= now; budget-- {
		s := p.order[0]
		if now < s.keep {
			s.due = s.keep
			heap.Fix(&p.order, 0)
			continue
		}
		heap.Pop(&p.order)
		c.drop(p, s)
	}
	return len(p.order) > 0 && p.order[0].due <= now
}

// keepUntil returns when r may be dropped; the end of time if never.
func keepUntil(r crdt.Record) crdt.Time {
	if t, ok := r.KeepUntil(); ok {
		return t
	}
	return math.MaxInt64
}

// sortRecords sorts by kind and name.
func sortRecords(rs []crdt.Record) []crdt.Record {
	type entry struct {
		name [17]byte // kind, then name
		i    int
	}
	order := make([]entry, len(rs))
	for i, r := range rs {
		order[i].name[0], order[i].i = byte(r.Key.Kind()), i
		copy(order[i].name[1:], r.Key.Name())
	}
	slices.SortFunc(order, func(a, b entry) int { return bytes.Compare(a.name[:], b.name[:]) })
	out := make([]crdt.Record, len(rs))
	for i, e := range order {
		out[i] = rs[e.i]
	}
	return out
}
