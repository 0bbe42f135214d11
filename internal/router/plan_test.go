package router

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// start is when every scene begins.
const start = crdt.Time(1_000_000_000)

const (
	west  = crdt.Region(1) // here
	east  = crdt.Region(2)
	north = crdt.Region(3)
)

// scene is the session that every scene is about, born in west.
func scene() crdt.Key {
	return crdt.SessionKey(crdt.NewSessionID(start.Add(time.Hour), west, crdt.IDEntropy{1, 2, 3}))
}

func testRules(edit func(*Rules)) *Rules {
	r := &Rules{
		Here: west, Near: []crdt.Region{west, east, north},
		LocalTimeout: 50 * time.Millisecond, RemoteTimeout: 300 * time.Millisecond,
		ReadBudget: time.Second, WriteBudget: 2 * time.Second,
		Backoff: []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond},
		MaxWait: 75 * time.Millisecond, StrictBound: 10 * time.Second,
	}
	if edit != nil {
		edit(r)
	}
	return r
}

func dot(r crdt.Region, at crdt.Time) crdt.Dot {
	return crdt.Dot{Actor: crdt.NewActor(r, 7), Stamp: at.Stamp()}
}

// session returns a born record that has heard of the dots.
func session(dots ...crdt.Dot) crdt.Record {
	born := dot(west, start-1000)
	rec := crdt.Record{Key: scene(), Born: crdt.Born{Dot: born, Created: start - 1000}, VV: crdt.Vector{born}}
	for _, d := range dots {
		rec.VV = rec.VV.With(d)
	}
	return rec
}

// A world answers the steps of a plan in virtual time and writes down what it
// was asked.
type world struct {
	now    crdt.Time
	read   func(r crdt.Region, now crdt.Time) Result
	apply  func(s Step, now crdt.Time) Result
	slow   map[crdt.Region]time.Duration // how late a Region answers, if not in 1 ms
	inline bool                          // reads that are alone are waited for on the spot
	hedges *RetryBudget                  // nil: there is always a token
	script strings.Builder
	ending []ending
	alone  crdt.Region // is being read, and was to be alone
}

// An ending is a read under way and when it ends.
type ending struct {
	at    crdt.Time
	event Event
}

// playRead does the steps of a read plan, several reads beside each other.
func (w *world) playRead(t *testing.T, plan *ReadPlan) Step {
	t.Helper()
	if w.now == 0 {
		w.now = start
	}
	var event Event
	for range 100 {
		step := plan.Next(w.now, event)
		switch step.Do {
		case ReadAt:
			event = w.start(t, step)
		case Wait:
			event = w.wait(step)
		default:
			return step
		}
	}
	t.Fatalf("plan does not end: %s", w.script.String())
	return Step{}
}

// start starts a read. Its result is what there is when it ends.
func (w *world) start(t *testing.T, s Step) Event {
	t.Helper()
	if w.alone != 0 {
		t.Errorf("reads %d beside %d, which was to be alone", s.Region, w.alone)
	}
	what := "read"
	if s.Hedge {
		what = "hedge"
		if w.hedges != nil && !w.hedges.Withdraw() {
			return Event{s.Region, Result{Err: ErrNoRetry}}
		}
	}
	fmt.Fprintf(&w.script, "%s %d; ", what, s.Region)
	res := w.read(s.Region, w.now)
	if errors.Is(res.Err, ErrOpen) {
		return Event{s.Region, res}
	}
	d := took(s, res)
	if slow := w.slow[s.Region]; slow > 0 {
		d = min(slow, s.Timeout)
	}
	if s.Alone && w.inline {
		w.now = w.now.Add(d)
		return Event{s.Region, res}
	}
	if s.Alone {
		w.alone = s.Region
	}
	w.ending = append(w.ending, ending{w.now.Add(d), Event{s.Region, res}})
	return Event{}
}

// wait lets time pass until a read ends or the step's time is up.
func (w *world) wait(s Step) Event {
	if len(w.ending) == 0 {
		fmt.Fprintf(&w.script, "sleep %v; ", s.For)
		w.now = w.now.Add(s.For)
		return Event{}
	}
	slices.SortStableFunc(w.ending, func(a, b ending) int { return cmp.Compare(a.at, b.at) })
	first := w.ending[0]
	if until := w.now.Add(s.For); until < first.at {
		w.now = until
		return Event{}
	}
	w.ending, w.alone = w.ending[1:], 0
	w.now = max(w.now, first.at)
	return first.event
}

// took is how long a step that fails or answers keeps its caller.
func took(s Step, res Result) time.Duration {
	if res.Err != nil && strings.Contains(res.Err.Error(), "black hole") {
		return s.Timeout
	}
	return time.Millisecond
}

func (w *world) play(t *testing.T, next func(now crdt.Time, last Result) Step) Step {
	t.Helper()
	if w.now == 0 {
		w.now = start
	}
	var last Result
	for range 100 {
		step := next(w.now, last)
		switch step.Do {
		case ApplyAt, ApplySide:
			last = w.apply(step, w.now)
			fmt.Fprintf(&w.script, "%s; ", stepName(step))
			w.now = w.now.Add(took(step, last))
		case Wait:
			last = Result{}
			w.now = w.now.Add(step.For)
			fmt.Fprintf(&w.script, "sleep %v; ", step.For)
		default:
			return step
		}
	}
	t.Fatalf("plan does not end: %s", w.script.String())
	return Step{}
}

func stepName(s Step) string {
	name := "apply side"
	if s.Do == ApplyAt {
		name = fmt.Sprintf("apply %d", s.Region)
	}
	if s.Adopt {
		name += " adopting"
	}
	if s.Retry {
		name += " (retry)"
	}
	return name
}
