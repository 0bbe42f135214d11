package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Guarantee is one of those that Check holds.
type Guarantee string

// The guarantees.
const (
	ReadYourWrites    Guarantee = "read your writes"
	MonotonicReads    Guarantee = "monotonic reads"
	MonotonicWrites   Guarantee = "monotonic writes"
	WritesFollowReads Guarantee = "writes follow reads"
	NoResurrection    Guarantee = "no resurrection"
	// NothingInvented: a read shows what somebody wrote, and nothing that was
	// refused.
	NothingInvented Guarantee = "nothing invented"
)

// A Violation is a guarantee that was not kept.
type Violation struct {
	Guarantee Guarantee
	// Text says what is wrong; Events are what it is wrong with, the culprit last.
	Text   string
	Events []Event
}

// String returns the violation with its events, one a line.
func (v Violation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", v.Guarantee, v.Text)
	for _, e := range v.Events {
		fmt.Fprintf(&b, "\n  %v", e)
	}
	return b.String()
}

// maxViolations bounds what a Report keeps; Broken counts them all.
const maxViolations = 100

// A Report is what Check found.
type Report struct {
	Events int
	// Comparisons that were made between what an answer showed, or where a write
	// stands, and what the client knew.
	Comparisons int
	// Stale and Lost count reads whose answer said so. Excused counts those among
	// them that would have broken a guarantee.
	Stale, Lost, Excused int
	// Overtaken counts answers that a client was let forget, because it overlapped
	// with one that was answered later.
	Overtaken int
	// Unordered counts comparisons that could not be made, since the place of a
	// write is not known.
	Unordered int
	// Broken counts violations, of which the first 100 are kept, by session.
	Broken     int
	Violations []Violation
}

// OK reports whether every guarantee was kept.
func (r *Report) OK() bool { return r.Broken == 0 }

// String returns the report's figures on one line, and its violations below.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d events, %d comparisons, %d broken; %d stale and %d lost answers, %d of them excused; %d overtaken, %d unordered",
		r.Events, r.Comparisons, r.Broken, r.Stale, r.Lost, r.Excused, r.Overtaken, r.Unordered)
	for _, v := range r.Violations {
		fmt.Fprintf(&b, "\n%v", v)
	}
	return b.String()
}

// Check holds all guarantees against events, which may be in any order and are not
// changed. It takes some 150 bytes an event besides them, and time that grows as
// that of sorting does.
func Check(events []Event) *Report {
	c := &checker{events: events, report: Report{Events: len(events)}}
	endings := c.endings()
	for _, group := range bySession(events) {
		c.session(group, endings)
	}
	return &c.report
}

type checker struct {
	events []Event
	report Report
}

func (c *checker) broken(g Guarantee, events []int32, format string, args ...any) {
	c.report.Broken++
	if len(c.report.Violations) >= maxViolations {
		return
	}
	v := Violation{Guarantee: g, Text: fmt.Sprintf(format, args...)}
	for _, i := range events {
		v.Events = append(v.Events, c.events[i])
	}
	c.report.Violations = append(c.report.Violations, v)
}

// bySession returns the indices of the events of each session, by start.
func bySession(events []Event) [][]int32 {
	number := map[string]int32{}
	var sizes []int
	of := make([]int32, len(events))
	for i := range events {
		of[i] = -1
		if events[i].Session == "" {
			continue
		}
		n, ok := number[events[i].Session]
		if !ok {
			n = int32(len(sizes)) //nolint:gosec // memory bounds it
			number[events[i].Session] = n
			sizes = append(sizes, 0)
		}
		of[i] = n
		sizes[n]++
	}
	out := make([][]int32, len(sizes))
	room := make([]int32, len(events))
	for n, size := range sizes {
		out[n], room = room[:0:size], room[size:]
	}
	for i, n := range of {
		if n >= 0 {
			out[n] = append(out[n], int32(i)) //nolint:gosec // memory bounds it
		}
	}
	for _, group := range out {
		byStart(events, group)
	}
	return out
}

func byStart(events []Event, group []int32) {
	slices.SortStableFunc(group, func(i, j int32) int {
		a, b := &events[i], &events[j]
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End))
	})
}

// A value names a write within its session.
type value struct {
	field, value string
}

// unique notes a write. A value that was written twice can't be told apart, and
// nothing about it can be judged: the recorder is at fault.
func (c *checker) unique(writes map[value]int32, v value, i int32) {
	if old, ok := writes[v]; ok {
		c.broken(NothingInvented, []int32{old, i}, "%s=%q was written twice: the recorder must make values unique", v.field, v.value)
		return
	}
	writes[v] = i
}

// session checks all that one session's events can tell.
func (c *checker) session(group []int32, endings *endings) {
	writes := make(map[value]int32, len(group)/2)
	gone := map[string][]int32{}
	clients := map[string]*client{}
	var order []*client
	for _, i := range group {
		e := &c.events[i]
		switch {
		case e.Kind != Write:
		case !e.Gone:
			c.unique(writes, value{e.Field, e.Value}, i)
		case !e.Refused:
			gone[e.Field] = append(gone[e.Field], i)
		}
	}
	for _, i := range group {
		name := c.events[i].Client
		k := clients[name]
		if k == nil {
			k = &client{c: c, writes: writes, gone: gone}
			clients[name] = k
			order = append(order, k)
		}
		k.event(i)
	}
	for _, k := range order {
		c.report.Overtaken += k.overtaken
	}
	c.resurrected(group, endings)
}
