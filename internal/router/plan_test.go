package router

import (
	"fmt"
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
	script strings.Builder
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
		case ReadAt:
			last = w.read(step.Region, w.now)
			fmt.Fprintf(&w.script, "read %d; ", step.Region)
			w.now = w.now.Add(took(step, last))
		case ApplyAt, ApplySide:
			last = w.apply(step, w.now)
			fmt.Fprintf(&w.script, "%s; ", stepName(step))
			w.now = w.now.Add(took(step, last))
		case Sleep:
			last = Result{}
			w.now = w.now.Add(step.Sleep)
			fmt.Fprintf(&w.script, "sleep %v; ", step.Sleep)
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
