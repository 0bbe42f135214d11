package salvage

import (
	"fmt"
	"slices"
	"strings"

	"github.com/roam-sessions/roam/crdt"
)

// An Item is one write that the former primary took and the next one had not.
type Item struct {
	// Session is a fingerprint of the session or user, as logs have it.
	Session string
	Dot     crdt.Dot
	// At is when it was written, as its stamp says.
	At   crdt.Time
	Kind Kind
	Fate Fate
	// Reason says more of what was not recovered.
	Reason string
}

// A Hole is a part of a log that neither the server nor the spool has.
type Hole struct {
	Partition   uint16
	First, Last uint64 // the numbers of the entries
}

// maxHoles bounds the holes that are named.
const maxHoles = 1000

// An Outcome is what a Run has found and done.
type Outcome struct {
	// Items are the writes that were missing, at most Config.Items of them.
	Items []Item
	// Counts are how many writes had which fate, named or not.
	Counts map[Fate]uint64
	// Holes are what could not be looked at, at most a thousand of them; HolesLeft counts
	// the others.
	Holes     []Hole
	HolesLeft uint64
	// Open: what was written last may be known nowhere, so it can't be told how much that is.
	Open bool
	// Adopted is how many records were changed at home.
	Adopted uint64
}

// add counts an item, and keeps it if there is room.
func (o *Outcome) add(item Item, most int) {
	if o.Counts == nil {
		o.Counts = map[Fate]uint64{}
	}
	o.Counts[item.Fate]++
	if len(o.Items) < most {
		o.Items = append(o.Items, item)
	}
}

// Complete reports whether the items and counts are all that was missing.
func (o Outcome) Complete() bool { return len(o.Holes) == 0 && !o.Open }

// Missing returns how many writes were missing.
func (o Outcome) Missing() (n uint64) {
	for _, c := range o.Counts {
		n += c
	}
	return n
}

// Summary returns the outcome in a sentence or two.
func (o Outcome) Summary() string {
	var b strings.Builder
	switch n := o.Missing(); n {
	case 0:
		b.WriteString("no write was found missing")
	case 1:
		b.WriteString("one write was missing")
	default:
		fmt.Fprintf(&b, "%d writes were missing", n)
	}
	var parts []string
	for _, fate := range []Fate{Recovered, Superseded, Lost, Unknown} {
		if n := o.Counts[fate]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, fate))
		}
	}
	if len(parts) > 0 {
		b.WriteString(": " + strings.Join(parts, ", "))
	}
	if n := uint64(len(o.Holes)) + o.HolesLeft; n > 0 {
		fmt.Fprintf(&b, "; %d parts of the log are gone, so there may be more", n)
	}
	if o.Open {
		b.WriteString("; what was written last may be known nowhere")
	}
	return b.String()
}

// A spans is a set of numbers, as runs that are neither next to each other nor overlap,
// in their order.
type spans []span

type span struct{ first, last uint64 }

// with returns the set with more numbers.
func (s spans) with(first, last uint64) spans {
	i := 0
	for i < len(s) && s[i].last+1 < first {
		i++
	}
	j := i
	for j < len(s) && s[j].first <= last+1 {
		first, last = min(first, s[j].first), max(last, s[j].last)
		j++
	}
	return slices.Concat(s[:i], spans{{first, last}}, s[j:])
}

// has reports whether a number is in the set.
func (s spans) has(n uint64) bool {
	_, found := slices.BinarySearchFunc(s, n, func(r span, n uint64) int {
		switch {
		case n < r.first:
			return 1
		case n > r.last:
			return -1
		}
		return 0
	})
	return found
}

// lacks returns which numbers of a run are not in the set.
func (s spans) lacks(first, last uint64) (out spans) {
	for _, r := range s {
		if r.last < first {
			continue
		}
		if r.first > last {
			break
		}
		if r.first > first {
			out = append(out, span{first, r.first - 1})
		}
		first = r.last + 1
	}
	if first <= last {
		out = append(out, span{first, last})
	}
	return out
}
