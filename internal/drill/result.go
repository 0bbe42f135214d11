package drill

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// A Result is what a drill has found.
type Result struct {
	RTT          time.Duration
	Planned      []Planned
	Unplanned    []Unplanned
	Acknowledged int
	Lost         []string // what is missing in the end, or wrong
	Rivals       []string // stories of two writers
}

// A Planned is one planned switchover.
type Planned struct {
	From, To     string
	Epoch        uint64 // that ended
	Took         time.Duration
	Servers      time.Duration // the gap between the servers, as those beside them saw it
	Anywhere     time.Duration // the gap as clients saw it, all taken together
	Clients      []Gap
	Copies       int // how often a server was given all data anew
	Acknowledged int
	Lost         []string
	LoggedOut    []string
	Faults       []string // why it tells less than it should
}

// An Unplanned is one loss of the primary.
type Unplanned struct {
	Kind           string
	From, To       string
	Epoch          uint64        // that ended
	Granted        time.Duration // until another Region had the lease
	Waits          []Wait        // the shortest first
	Back           time.Duration // from the heal until all was settled
	Acknowledged   int
	Missing        int // in the new primary, before the old one was back
	Listed         int // in the receipt
	Unacknowledged int // of these
	Note           string
	Differs        []string // how the receipt differs from what was missing
	Lost           []string // what is missing though the old one is back
	LoggedOut      []string
	Faults         []string
}

// A Wait is how long a client waited after the loss until a write was acknowledged.
type Wait struct {
	Who  string
	Wait time.Duration
}

func (u *Unplanned) sort() {
	slices.SortFunc(u.Waits, func(a, b Wait) int { return cmp.Compare(a.Wait, b.Wait) })
}

func (u *Unplanned) first() time.Duration {
	if len(u.Waits) == 0 {
		return 0
	}
	return u.Waits[0].Wait
}

func (u *Unplanned) worst() time.Duration {
	if len(u.Waits) == 0 {
		return 0
	}
	return u.Waits[len(u.Waits)-1].Wait
}

// worst returns the longest that a client waited beyond what a write takes it.
func (p *Planned) worst() (out time.Duration) {
	for _, g := range p.Clients {
		out = max(out, g.Beyond)
	}
	return out
}

func (r *Result) lose(format string, args ...any) {
	r.Lost = append(r.Lost, fmt.Sprintf(format, args...))
}

// ms returns a duration for people, in milliseconds.
func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", inMS(d)) }

func inMS(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Bounds, as the project has set them itself.
const (
	// gapBound is what a write gap may be beyond a round trip, at p99.
	gapBound = 50 * time.Millisecond
	// waitBound is how long clients may wait for another primary, at p99.
	waitBound = 8 * time.Second
)

// A Figure is one line of what was found. Ratio is Value to Baseline, where there is one to
// compare it with.
type Figure struct {
	Name     string  `json:"name"`
	Value    float64 `json:"value"`
	Unit     string  `json:"unit"`
	Baseline float64 `json:"baseline,omitempty"`
	Ratio    float64 `json:"ratio,omitempty"`
	Rounds   int     `json:"rounds"`
	Target   float64 `json:"target"` // Value should be that at most
	Bound    bool    `json:"bound"`  // there is a Target
	OK       bool    `json:"ok"`
	Note     string  `json:"note,omitempty"`
}

// quantile returns the smallest duration that a share q of them, 0 to 1, doesn't exceed;
// zero of none.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(all))
	n := len(s)
	i := int(q*float64(n)+0.999999) - 1
	return s[min(n-1, max(0, i))]
}

// Figures returns what was found, line by line.
func (r *Result) Figures() []Figure {
	return append(r.plannedFigures(), append(r.unplannedFigures(), r.figure("two writers in one instant", float64(len(r.Rivals)), "stories", 0, true,
		len(r.Planned)+len(r.Unplanned)))...)
}

func (r *Result) figure(name string, value float64, unit string, target float64, bound bool, rounds int) Figure {
	return Figure{Name: name, Value: value, Unit: unit, Target: target, Bound: bound, OK: !bound || value <= target, Rounds: rounds}
}

// spread returns p50 and p99 of durations, the latter with a bound if there is one.
func (r *Result) spread(name string, all []time.Duration, bound time.Duration, rounds int) []Figure {
	half := r.figure(name+", p50", inMS(quantile(all, 0.5)), "ms", 0, false, rounds)
	most := r.figure(name+", p99", inMS(quantile(all, 0.99)), "ms", inMS(bound), bound > 0, rounds)
	most.Note = fmt.Sprintf("%d measured, the longest %s", len(all), ms(quantile(all, 1)))
	if len(all) == 0 {
		most.OK, most.Note = !most.Bound, "nothing was measured"
	}
	return []Figure{half, most}
}

func (r *Result) plannedFigures() []Figure {
	n := len(r.Planned)
	if n == 0 {
		return nil
	}
	var servers, anywhere, raw, beyond, took []time.Duration
	var acknowledged, lost, out, copies int
	for _, p := range r.Planned {
		copies += p.Copies
		servers, anywhere, took = append(servers, p.Servers), append(anywhere, p.Anywhere), append(took, p.Took)
		for _, g := range p.Clients {
			raw, beyond = append(raw, g.Raw), append(beyond, g.Beyond)
		}
		acknowledged, lost, out = acknowledged+p.Acknowledged, lost+len(p.Lost), out+len(p.LoggedOut)
	}
	bound := r.RTT + gapBound
	figures := slices.Concat(
		r.spread("planned: write gap between servers", servers, bound, n),
		r.spread("planned: write gap at all clients together", anywhere, bound, n),
		r.spread("planned: write gap of each client beyond what a write takes it", beyond, bound, n),
	)
	for i := range figures {
		figures[i].Baseline = inMS(r.RTT)
		figures[i].Ratio = figures[i].Value / figures[i].Baseline
	}
	figures = append(figures, r.spread("planned: write gap of each client, with what a write takes it", raw, 0, n)...)
	figures = append(figures, r.spread("planned: from the command to the end", took, 0, n)...)
	gone := r.figure("planned: acknowledged writes lost", float64(lost), "writes", 0, true, n)
	gone.Note = fmt.Sprintf("of %d", acknowledged)
	return append(figures, gone, r.figure("planned: users logged out", float64(out), "users", 0, true, n),
		r.figure("planned: servers that were given all data anew", float64(copies), "servers", 0, false, n))
}

func (r *Result) unplannedFigures() []Figure {
	n := len(r.Unplanned)
	if n == 0 {
		return nil
	}
	var granted, first, waits, back []time.Duration
	var acknowledged, missing, listed, never, differs, lost, out int
	for _, u := range r.Unplanned {
		granted, back = append(granted, u.Granted), append(back, u.Back)
		if len(u.Waits) > 0 {
			first = append(first, u.first())
		}
		for _, w := range u.Waits {
			waits = append(waits, w.Wait)
		}
		acknowledged, missing, listed, never = acknowledged+u.Acknowledged, missing+u.Missing, listed+u.Listed, never+u.Unacknowledged
		differs, lost, out = differs+len(u.Differs), lost+len(u.Lost), out+len(u.LoggedOut)
	}
	figures := slices.Concat(
		r.spread("unplanned: another Region has the lease", granted, 0, n),
		r.spread("unplanned: some client writes again", first, 0, n),
		r.spread("unplanned: each client writes again", waits, waitBound, n),
		r.spread("unplanned: settled after the return", back, 0, n),
	)
	gap := r.figure("unplanned: acknowledged writes that the new primary lacked", float64(missing), "writes", 0, false, n)
	gap.Note = fmt.Sprintf("of %d; receipts name %d, of which %d were never acknowledged", acknowledged, listed, never)
	return append(figures, gap,
		r.figure("unplanned: differences between receipts and what was missing", float64(differs), "writes", 0, true, n),
		r.figure("unplanned: missing after the return", float64(lost+len(r.Lost)), "writes", 0, true, n),
		r.figure("unplanned: users logged out", float64(out), "users", 0, true, n))
}

// Broken returns which bounds are broken, and the stories behind them.
func (r *Result) Broken() (out []string) {
	for _, f := range r.Figures() {
		if !f.OK {
			out = append(out, fmt.Sprintf("%s: %s, want %s at most", f.Name, f.value(f.Value), f.value(f.Target)))
		}
	}
	tell := func(where string, lines []string) {
		if len(lines) > 0 {
			out = append(out, where+": "+some(lines))
		}
	}
	for i, p := range r.Planned {
		where := fmt.Sprintf("switchover %d, %s to %s, epoch %d", i+1, p.From, p.To, p.Epoch)
		tell(where+": lost", p.Lost)
		tell(where+": logged out", p.LoggedOut)
		tell(where, p.Faults)
	}
	for i, u := range r.Unplanned {
		where := fmt.Sprintf("failover %d, %s, %s to %s, epoch %d", i+1, u.Kind, u.From, u.To, u.Epoch)
		tell(where+": the receipt differs", u.Differs)
		tell(where+": lost", u.Lost)
		tell(where+": logged out", u.LoggedOut)
		tell(where, u.Faults)
	}
	tell("lost", r.Lost)
	tell("two writers", r.Rivals)
	return out
}

func (f Figure) value(x float64) string {
	if f.Unit == "ms" {
		return fmt.Sprintf("%.1f ms", x)
	}
	return fmt.Sprintf("%.0f", x)
}
