package alarm

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Set is all alarms of a deployment. It never changes.
type Set struct{ alarms []Alarm }

// New returns the set of some alarms. It fails, naming every fault, if one of them
// makes no sense, two have one name, or there are more than 200.
func New(alarms []Alarm) (Set, error) {
	var faults []error
	if len(alarms) > mostAlarms {
		faults = append(faults, fmt.Errorf("%d alarms: want at most %d", len(alarms), mostAlarms))
	}
	seen := map[string]bool{}
	var s Set
	for _, a := range alarms {
		a = a.withDefaults()
		faults = append(faults, a.check())
		if seen[a.Name] {
			faults = append(faults, fmt.Errorf("alarm %q: there are two of that name", a.Name))
		}
		seen[a.Name] = true
		s.alarms = append(s.alarms, a)
	}
	if err := errors.Join(faults...); err != nil {
		return Set{}, err
	}
	return s, nil
}

// Alarms returns the alarms, defaults filled in.
func (s Set) Alarms() []Alarm { return slices.Clone(s.alarms) }

// A Datum is one measurement.
type Datum struct {
	Metric Metric
	Region string // whose metric; of writes, where they went
	From   string // of writes: where they came from
	At     time.Time
	Value  float64 // in the unit of the metric; what is no number is no data
}

// A Status is what is known of one alarm. It is plain data.
type Status struct {
	State  State
	Since  time.Time // when the state came about
	Reason string
	// Solid: at least M data points that were measured breach now, so that the state is
	// ALARM. What alarms only because data is missing, or did once, is not solid.
	Solid bool

	Period time.Duration // of the points: an alarm that was given another begins anew
	Slot   int64         // which period the last of Points is
	Points []Point       // of the evaluation range and of the period that goes on, the oldest first
}

// Statuses are what is known of all alarms, by name. They are plain data, and belong
// to what members agree on. The zero is that nothing is known.
type Statuses map[string]Status

// An Event is one change of an alarm's state.
type Event struct {
	Alarm    string
	Region   string
	Old, New State
	At       time.Time
	Reason   string
}

// Evaluate takes in what was measured and judges every alarm at now by the periods
// that have ended. It returns what is known then and the changes of state, in the
// order of the alarms; it changes no argument. Of several values in one period the
// worst counts. A datum may come late, as long as its period is in the evaluation
// range; older ones are let go, and so are those from periods to come. A clock that
// goes back changes nothing until it has caught up.
func (s Set) Evaluate(old Statuses, data []Datum, now time.Time) (Statuses, []Event) {
	out := make(Statuses, len(s.alarms)) // what belongs to no alarm any more is dropped
	var events []Event
	for _, a := range s.alarms {
		st := old[a.Name]
		if st.State == "" {
			st.State, st.Since, st.Reason = InsufficientData, now, "nothing was measured yet"
		}
		st = a.take(st, data, now)
		was := st.State
		st = a.judge(st, now)
		if st.State != was {
			events = append(events, Event{
				Alarm: a.Name, Region: a.Region, Old: was, New: st.State, At: now, Reason: st.Reason,
			})
		}
		out[a.Name] = st
	}
	return out, events
}

// take moves the points on to the period of now and takes in data.
func (a Alarm) take(st Status, data []Datum, now time.Time) Status {
	if st.Period != a.Period {
		st.Period, st.Slot, st.Points = a.Period, 0, nil
	}
	size := a.Periods + rangeExtra + 1
	slot := max(a.slot(now), st.Slot)
	points := make([]Point, size)
	for i, p := range st.Points {
		// Counted from the end: the range may have been another when they were kept.
		age := slot - st.Slot + int64(len(st.Points)-1-i)
		if age < int64(size) {
			points[size-1-int(age)] = p
		}
	}
	for _, d := range data {
		if !a.watches(d) || math.IsNaN(d.Value) || math.IsInf(d.Value, 0) {
			continue
		}
		age := slot - a.slot(d.At)
		if age < 0 || age >= int64(size) {
			continue
		}
		p := &points[size-1-int(age)]
		if p.Known {
			d.Value = a.worse(p.Value, d.Value)
		}
		*p = Point{Known: true, Value: d.Value}
	}
	st.Slot, st.Points = slot, points
	return st
}

// watches reports whether a datum is the alarm's.
func (a Alarm) watches(d Datum) bool {
	return d.Metric == a.Metric && d.Region == a.Region && (a.From == "" || a.From == d.From)
}

// slot numbers the periods.
func (a Alarm) slot(at time.Time) int64 { return at.UnixNano() / int64(a.Period) }

// judge evaluates the periods that have ended, not the one that goes on.
func (a Alarm) judge(st Status, now time.Time) Status {
	ended := st.Points[:len(st.Points)-1]
	o := a.evaluate(ended)
	st.Solid = o.real >= a.ToAlarm
	if o.retain || o.state == st.State {
		return st
	}
	st.State, st.Since, st.Reason = o.state, now, a.reason(ended, o)
	return st
}

// reason says what led to an outcome, with its figures.
func (a Alarm) reason(points []Point, o outcome) string {
	if o.state == InsufficientData {
		return fmt.Sprintf("%s of %s: no data in the last %d periods of %v", a.Metric, a.Region, len(points), a.Period)
	}
	var values []string
	for _, p := range points {
		if p.Known {
			values = append(values, strconv.FormatFloat(p.Value, 'g', 5, 64))
		} else {
			values = append(values, "-")
		}
	}
	text := fmt.Sprintf("%s of %s: %d of %d data points [%s] were %s the threshold (%g), at least %d are an alarm",
		a.Metric, a.Region, o.real, a.Periods, strings.Join(values, " "), a.Comparison.words(), a.Threshold, a.ToAlarm)
	if o.filled > 0 && o.real < a.ToAlarm {
		text += fmt.Sprintf("; %d are missing and count as %s", o.filled, a.Missing)
	}
	return text
}

// Raised is an alarm that the judge is to hear of.
type Raised struct {
	Alarm  string
	Region string
	Feed   Feed
	Reason string
}

// Raised returns the alarms that feed the judge and are alarming by what was measured,
// in the order of the alarms. An alarm that alarms because data is missing, or that
// keeps its state while there is none, is not among them: missing data is a reason to
// look and never one to act.
func (s Set) Raised(of Statuses) []Raised {
	var out []Raised
	for _, a := range s.alarms {
		if st := of[a.Name]; a.Feed != FeedNone && st.Solid {
			out = append(out, Raised{Alarm: a.Name, Region: a.Region, Feed: a.Feed, Reason: st.Reason})
		}
	}
	return out
}
