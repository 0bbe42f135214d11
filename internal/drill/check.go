package drill

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/ledger"
)

// A Write is one that was acknowledged. Times are since the drill began.
type Write struct {
	Who    string // the client that wrote
	Home   string // its Region
	Key    crdt.Key
	Dot    crdt.Dot
	At     string // the Region whose server took it
	Epoch  uint64 // that it was written under; zero: whoever wrote does not know
	Ends   bool   // it ended the session
	Sent   time.Duration
	Acked  time.Duration
	Prober bool // it was sent by one that stands beside the server
}

// A Doubt is a write of which nobody was told how often it was done: at most Times, and
// maybe never.
type Doubt struct {
	Who   string
	Key   crdt.Key
	Times int
	Ends  bool
	Sent  time.Duration
}

// lacking returns the writes that a server lacks, by the records that it has.
func lacking(writes []Write, has map[crdt.Key]crdt.Record) (out []Write) {
	for _, w := range writes {
		rec := has[w.Key]
		if !rec.Dead && (w.Ends || !rec.VV.Has(w.Dot)) {
			out = append(out, w)
		}
	}
	return out
}

// unexplained returns the sessions of writes that have ended at a server, which none of the
// endings nor doubts explains: what they had is gone, and no vector tells.
func unexplained(writes, endings []Write, doubts []Doubt, has map[crdt.Key]crdt.Record) (out []string) {
	ended := map[crdt.Key]bool{}
	for _, w := range endings {
		ended[w.Key] = ended[w.Key] || w.Ends
	}
	for _, d := range doubts {
		ended[d.Key] = ended[d.Key] || d.Ends
	}
	seen := map[crdt.Key]bool{}
	for _, w := range writes {
		if has[w.Key].Dead && !ended[w.Key] && !seen[w.Key] {
			seen[w.Key] = true
			out = append(out, w.Key.String())
		}
	}
	return out
}

// An instant is when a session was written to, by the stamp, as a receipt has it.
type instant struct {
	session string
	at      int64 // in milliseconds
}

// disagreements returns where a receipt and the writes that are known to be missing differ.
// What the receipt has beyond them must be explained by doubts: by a session's own, and
// each of them once.
func disagreements(missing []Write, doubts []Doubt, r ledger.Receipt) (out []string) {
	listed := map[instant]int{}
	for _, item := range r.Items {
		listed[instant{item.Session, item.At.UnixMilli()}]++
		if item.Fate != ledger.Recovered && item.Fate != ledger.Superseded {
			out = append(out, fmt.Sprintf("a %s of %s is %s in the receipt", item.Kind, item.Session, item.Fate))
		}
	}
	total := uint64(0)
	for _, n := range r.Counts {
		total += n
	}
	if total != uint64(len(r.Items)) {
		out = append(out, fmt.Sprintf("the receipt counts %d writes and names %d", total, len(r.Items)))
	}
	for _, w := range missing {
		at := instant{w.Key.String(), w.Dot.Stamp.Time().Std().UnixMilli()}
		if w.Ends && listed[at] == 0 { // an ending has no stamp of its own
			at = anyOf(listed, at.session, at)
		}
		if listed[at]--; listed[at] < 0 {
			out = append(out, fmt.Sprintf("a write of %s to %s is missing and not in the receipt", w.Who, w.Key))
		}
	}
	return append(out, surplus(listed, doubts)...)
}

// anyOf returns an instant of a session that is still listed, or else other.
func anyOf(listed map[instant]int, session string, other instant) instant {
	for at, n := range listed {
		if at.session == session && n > 0 {
			return at
		}
	}
	return other
}

// surplus returns what is listed beyond what doubts explain.
func surplus(listed map[instant]int, doubts []Doubt) (out []string) {
	left, may := map[string]int{}, map[string]int{}
	for at, n := range listed {
		left[at.session] += max(n, 0)
	}
	for _, d := range doubts {
		may[d.Key.String()] += d.Times
	}
	for _, session := range slices.Sorted(maps.Keys(left)) {
		if n := left[session] - may[session]; n > 0 {
			out = append(out, fmt.Sprintf("the receipt has %d writes of %s that nobody made, or that are not missing", n, session))
		}
	}
	return out
}

// attributed returns writes with the epochs filled in that are not known, by who made the
// dots: a server is another actor in each of its reigns.
func attributed(writes []Write) []Write {
	epochs := map[crdt.Actor]map[uint64]bool{}
	for _, w := range writes {
		if w.Epoch == 0 {
			continue
		}
		if epochs[w.Dot.Actor] == nil {
			epochs[w.Dot.Actor] = map[uint64]bool{}
		}
		epochs[w.Dot.Actor][w.Epoch] = true
	}
	out := slices.Clone(writes)
	for i, w := range out {
		if of := epochs[w.Dot.Actor]; w.Epoch == 0 && len(of) == 1 {
			for out[i].Epoch = range of {
			}
		}
	}
	return out
}

// explained returns how many writes of a receipt were never acknowledged.
func explained(missing []Write, r ledger.Receipt) int { return max(0, len(r.Items)-len(missing)) }

// rivals returns writes that were taken under an epoch though a later one had begun: sent
// after a write of that one was acknowledged. Only writes whose epoch is known count.
func rivals(writes []Write) (out []string) {
	known := slices.DeleteFunc(slices.Clone(writes), func(w Write) bool { return w.Epoch == 0 })
	slices.SortStableFunc(known, func(a, b Write) int { return cmp.Compare(b.Epoch, a.Epoch) })
	later, epoch := Write{Acked: math.MaxInt64}, uint64(0) // the first acknowledged above epoch
	next := later                                          // and of epoch too
	for _, w := range known {
		if w.Epoch != epoch {
			epoch, later = w.Epoch, next
		}
		if w.Sent > later.Acked {
			out = append(out, fmt.Sprintf("%s took a write of epoch %d that was sent %v after %s had taken one of epoch %d",
				w.At, w.Epoch, w.Sent-later.Acked, later.At, later.Epoch))
		}
		if w.Acked < next.Acked {
			next = w
		}
	}
	return out
}

// doubles returns epochs whose writes more than one Region took.
func doubles(writes []Write) (out []string) {
	by := map[uint64]map[string]bool{}
	for _, w := range writes {
		if w.Epoch == 0 {
			continue
		}
		if by[w.Epoch] == nil {
			by[w.Epoch] = map[string]bool{}
		}
		by[w.Epoch][w.At] = true
	}
	for _, epoch := range slices.Sorted(maps.Keys(by)) {
		if at := slices.Sorted(maps.Keys(by[epoch])); len(at) > 1 {
			out = append(out, fmt.Sprintf("writes of epoch %d were taken in %s", epoch, strings.Join(at, " and ")))
		}
	}
	return out
}

// A Gap is what a client noticed of a change: for how long it waited for the first write that
// the new primary took, from when it first wanted to write after the last one that the old
// primary took.
type Gap struct {
	Who  string
	Home string
	Raw  time.Duration
	// Beyond is Raw less what a write of this client takes, as it took at the slower of the
	// two Regions.
	Beyond time.Duration
}

// gapOf returns the gap between the last of one Region's acknowledgements and the first of
// the other one's; not ok: one of them has none.
func gapOf(writes []Write, from, to string) (time.Duration, bool) {
	last, first := time.Duration(-1), time.Duration(math.MaxInt64)
	for _, w := range writes {
		switch w.At {
		case from:
			last = max(last, w.Acked)
		case to:
			first = min(first, w.Acked)
		}
	}
	if last < 0 || first == math.MaxInt64 {
		return 0, false
	}
	return max(0, first-last), true
}

// gaps returns those of each client that wrote before and after.
func gaps(writes []Write, doubts []Doubt, from, to string) (out []Gap) {
	by := map[string][]Write{}
	for _, w := range writes {
		by[w.Who] = append(by[w.Who], w)
	}
	for _, who := range slices.Sorted(maps.Keys(by)) {
		all := by[who]
		if _, ok := gapOf(all, from, to); !ok {
			continue
		}
		last, first := time.Duration(0), Write{Acked: math.MaxInt64}
		for _, w := range all {
			if w.At == from {
				last = max(last, w.Acked)
			}
			if w.At == to && w.Acked < first.Acked {
				first = w
			}
		}
		wanted := first.Sent
		for _, d := range doubts { // what it gave up before
			if d.Who == who && d.Sent >= last {
				wanted = min(wanted, d.Sent)
			}
		}
		raw := first.Acked - wanted
		out = append(out, Gap{Who: who, Home: first.Home, Raw: raw, Beyond: max(0, raw-max(usually(all, from), usually(all, to)))})
	}
	return out
}

// usually returns the median time that a Region took to acknowledge; zero if it did not.
func usually(writes []Write, at string) time.Duration {
	var took []time.Duration
	for _, w := range writes {
		if w.At == at {
			took = append(took, w.Acked-w.Sent)
		}
	}
	return quantile(took, 0.5)
}

// A Count is what a session's counter must show.
type Count struct {
	Key    crdt.Key
	Done   int64 // additions that were acknowledged
	Maybe  int64 // those of which nobody knows
	Newest int64 // the highest number that was acknowledged as written into it
}

// miscounted returns sessions that do not show what was added to them, or show more, or an
// older value than one that was acknowledged.
func miscounted(counts []Count, has map[crdt.Key]Shown) (out []string) {
	for _, c := range counts {
		switch shown := has[c.Key]; {
		case shown.Dead:
		case shown.Count < c.Done || shown.Count > c.Done+c.Maybe:
			out = append(out, fmt.Sprintf("%s counts %d, want %d and %d at most", c.Key, shown.Count, c.Done, c.Done+c.Maybe))
		case shown.Newest < c.Newest:
			out = append(out, fmt.Sprintf("%s shows number %d, want %d or later", c.Key, shown.Newest, c.Newest))
		}
	}
	return out
}

// A Shown is what a session shows.
type Shown struct {
	Dead          bool
	Count, Newest int64
}
