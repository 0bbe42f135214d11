package alarm

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// start is the beginning of a minute.
func start() time.Time { return time.Date(2025, 10, 3, 12, 0, 0, 0, time.UTC) }

func minutes(n float64) time.Time { return start().Add(time.Duration(n * float64(time.Minute))) }

// errorRate is alarming with two of three minutes above a tenth.
func errorRate() Alarm {
	return Alarm{Name: "errors", Metric: ErrorRate, Region: "west", Comparison: Greater, Threshold: 0.1, Periods: 3, ToAlarm: 2}
}

func rate(at float64, value float64) Datum {
	return Datum{Metric: ErrorRate, Region: "west", From: "east", At: minutes(at), Value: value}
}

func mustSet(t *testing.T, alarms ...Alarm) Set {
	t.Helper()
	s, err := New(alarms)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// An alarm's life: no data, good, bad, good again, silent.
func TestTransitions(t *testing.T) {
	s := mustSet(t, errorRate())
	var st Statuses
	var got []Event
	step := func(at float64, data ...Datum) {
		var events []Event
		st, events = s.Evaluate(st, data, minutes(at))
		got = append(got, events...)
	}
	step(0.5, rate(0.2, 0)) // the minute goes on: nothing is said of it
	step(1.5, rate(1.2, 0.5))
	step(2.5, rate(2.2, 0.2))
	step(3.1)
	if !st["errors"].Solid {
		t.Errorf("Solid = false with two measured minutes above the threshold")
	}
	step(4.5, rate(3.2, 0), rate(4.2, 0)) // the first of them comes late
	step(5.5)
	step(12)
	want := []Event{
		{Alarm: "errors", Region: "west", Old: InsufficientData, New: OK, At: minutes(1.5)},
		{Alarm: "errors", Region: "west", Old: OK, New: Alarming, At: minutes(3.1)},
		{Alarm: "errors", Region: "west", Old: Alarming, New: OK, At: minutes(5.5)},
		{Alarm: "errors", Region: "west", Old: OK, New: InsufficientData, At: minutes(12)},
	}
	if len(got) != len(want) {
		t.Fatalf("events = %+v, want %+v", got, want)
	}
	for i := range want {
		reason := got[i].Reason
		got[i].Reason = ""
		if got[i] != want[i] || reason == "" {
			t.Errorf("event %d = %+v (%q), want %+v with a reason", i, got[i], reason, want[i])
		}
	}
	if st["errors"].Since != minutes(12) {
		t.Errorf("since %v, want the last change", st["errors"].Since)
	}
}

func TestReasonHasItsFigures(t *testing.T) {
	s := mustSet(t, errorRate())
	_, events := s.Evaluate(nil, []Datum{rate(0.5, 0.25), rate(1.5, 0.5), rate(2.5, 0)}, minutes(3))
	want := "error-rate of west: 2 of 3 data points [- - 0.25 0.5 0] were greater than the threshold (0.1), at least 2 are an alarm"
	if len(events) != 1 || events[0].Reason != want {
		t.Errorf("events = %+v, want one with the reason %q", events, want)
	}
	a := errorRate()
	a.Missing = Breaching
	_, events = mustSet(t, a).Evaluate(nil, []Datum{rate(2.5, 0.3)}, minutes(3))
	if len(events) != 1 || !strings.HasSuffix(events[0].Reason, "; 2 are missing and count as breaching") {
		t.Errorf("events = %+v, want one that says what was missing", events)
	}
}

// What alarms by missing data alone, or was alarming and is kept so, is not solid.
func TestSolid(t *testing.T) {
	for _, c := range []struct {
		treat Treat
		data  []Datum
		state State
		solid bool
	}{
		{Breaching, nil, Alarming, false},
		{Breaching, []Datum{rate(4.5, 1)}, Alarming, false},
		{Breaching, []Datum{rate(4.5, 1), rate(3.5, 1)}, Alarming, true},
		{Missing, []Datum{rate(3.5, 1)}, Alarming, false}, // premature
		{NotBreaching, []Datum{rate(3.5, 1)}, OK, false},
	} {
		a := errorRate()
		a.Missing = c.treat
		st, _ := mustSet(t, a).Evaluate(nil, c.data, minutes(5))
		if got := st["errors"]; got.State != c.state || got.Solid != c.solid {
			t.Errorf("%s, %v: state %s, solid %v; want %s, %v", c.treat, c.data, got.State, got.Solid, c.state, c.solid)
		}
	}
	a := errorRate()
	a.Missing = Ignore
	s := mustSet(t, a)
	st, _ := s.Evaluate(nil, []Datum{rate(3.5, 1), rate(4.5, 1)}, minutes(5))
	st, events := s.Evaluate(st, nil, minutes(30))
	if got := st["errors"]; got.State != Alarming || got.Solid || len(events) != 0 {
		t.Errorf("after 25 silent minutes: %+v and events %v, want an alarm that is kept and not solid", got, events)
	}
}

// The judge hears of alarms that are alarming by what was measured, and that feed it.
func TestRaised(t *testing.T) {
	alarmOf := func(name string, feed Feed, change func(*Alarm)) Alarm {
		a := errorRate()
		a.Name, a.Feed = name, feed
		change(&a)
		return a
	}
	s := mustSet(
		t,
		alarmOf("fails", FeedFailOver, func(*Alarm) {}),
		alarmOf("quiet", FeedNone, func(*Alarm) {}),
		alarmOf("well", FeedDegrade, func(a *Alarm) { a.Threshold = 2 }),
		alarmOf("silent", FeedRouteAway, func(a *Alarm) { a.Region, a.Missing = "east", Breaching }),
		alarmOf("away", FeedRouteAway, func(a *Alarm) { a.ToAlarm = 1 }),
	)
	st, _ := s.Evaluate(nil, []Datum{rate(3.5, 1), rate(4.5, 1)}, minutes(5))
	if st["silent"].State != Alarming {
		t.Fatalf("silent is %s, want ALARM", st["silent"].State)
	}
	var got []string
	for _, r := range s.Raised(st) {
		got = append(got, r.Alarm+" "+r.Region+" "+string(r.Feed))
		if r.Reason == "" {
			t.Errorf("%+v has no reason", r)
		}
	}
	if want := []string{"fails west fail-over", "away west route-away"}; !reflect.DeepEqual(got, want) {
		t.Errorf("Raised = %v, want %v", got, want)
	}
}

func TestWhatCounts(t *testing.T) {
	other := func(change func(*Datum)) Datum {
		d := rate(2.5, 1)
		change(&d)
		return d
	}
	for name, d := range map[string]Datum{
		"another metric":     other(func(d *Datum) { d.Metric = WriteP99 }),
		"another Region":     other(func(d *Datum) { d.Region = "north" }),
		"no number":          other(func(d *Datum) { d.Value = math.NaN() }),
		"infinity":           other(func(d *Datum) { d.Value = math.Inf(1) }),
		"too old":            other(func(d *Datum) { d.At = minutes(-3) }),
		"yet to come":        other(func(d *Datum) { d.At = minutes(4.5) }),
		"the current minute": other(func(d *Datum) { d.At = minutes(3.2) }),
	} {
		a := errorRate()
		a.Periods, a.ToAlarm = 1, 1
		st, _ := mustSet(t, a).Evaluate(nil, []Datum{d}, minutes(3.5))
		if st["errors"].State != InsufficientData {
			t.Errorf("%s: state %s, want no data", name, st["errors"].State)
		}
	}
	from := errorRate()
	from.Periods, from.ToAlarm, from.From = 1, 1, "north"
	st, _ := mustSet(t, from).Evaluate(nil, []Datum{rate(2.5, 1)}, minutes(3.5))
	if st["errors"].State != InsufficientData {
		t.Errorf("an alarm on writes from north takes those from east: %s", st["errors"].State)
	}
}

func TestTheWorstOfAPeriodCounts(t *testing.T) {
	data := []Datum{rate(2.1, 0), rate(2.2, 1), rate(2.3, 0)}
	a := errorRate()
	a.Periods, a.ToAlarm = 1, 1
	st, _ := mustSet(t, a).Evaluate(nil, data, minutes(3.5))
	if st["errors"].State != Alarming {
		t.Errorf("above 0.1 with values 0 1 0: %s, want ALARM", st["errors"].State)
	}
	a.Comparison = Less
	data = []Datum{rate(2.1, 1), rate(2.2, 0), rate(2.3, 1)}
	st, _ = mustSet(t, a).Evaluate(nil, data, minutes(3.5))
	if st["errors"].State != Alarming {
		t.Errorf("below 0.1 with values 1 0 1: %s, want ALARM", st["errors"].State)
	}
}

// An alarm may be given another range or period, or be taken away.
func TestAlarmsChange(t *testing.T) {
	a := errorRate()
	st, _ := mustSet(t, a).Evaluate(nil, []Datum{rate(1.5, 1), rate(2.5, 1)}, minutes(3.5))
	a.Periods, a.ToAlarm = 10, 2
	longer, events := mustSet(t, a).Evaluate(st, nil, minutes(3.6))
	if longer["errors"].State != Alarming || len(events) != 0 {
		t.Errorf("with a longer range: %+v, events %v; want it as it was", longer["errors"], events)
	}
	a.Period = time.Hour
	other, _ := mustSet(t, a).Evaluate(longer, nil, minutes(3.7))
	if got := other["errors"]; got.State != InsufficientData || got.Slot != minutes(3.7).UnixNano()/int64(time.Hour) {
		t.Errorf("with another period: %+v, want it begun anew", got)
	}
	none, _ := mustSet(t).Evaluate(other, nil, minutes(4))
	if len(none) != 0 {
		t.Errorf("an alarm that is gone leaves %v", none)
	}
}

// A clock that goes back neither loses points nor moves them.
func TestClockGoesBack(t *testing.T) {
	s := mustSet(t, errorRate())
	st, _ := s.Evaluate(nil, []Datum{rate(1.5, 1), rate(2.5, 1)}, minutes(3.5))
	back, events := s.Evaluate(st, nil, minutes(0.5))
	if !reflect.DeepEqual(back, st) || len(events) != 0 {
		t.Errorf("a clock that went back: %+v, events %v; want %+v", back, events, st)
	}
}

func TestNewFindsAllFaults(t *testing.T) {
	bad := Alarm{Metric: "heat", From: "east", Comparison: "=", Threshold: math.NaN(), Period: time.Millisecond, ToAlarm: 2, Missing: "x", Feed: "y"}
	_, err := New([]Alarm{bad})
	if err == nil {
		t.Fatal("New took an alarm that makes no sense")
	}
	for _, want := range []string{
		"no name", `metric "heat"`, "no Region", "no from", `comparison "="`, "threshold NaN", "period 1ms", "0 periods",
		"2 of 0 data points", `missing data "x"`, `feed "y"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("New = %v, want it to say %q", err, want)
		}
	}
	for name, alarms := range map[string][]Alarm{
		"two of that name": {errorRate(), errorRate()},
		"at most 200":      make([]Alarm, 201),
		"1 to 60":          {{Name: "a", Metric: Lag, Region: "west", Periods: 61}},
	} {
		if _, err := New(alarms); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("New = %v, want it to say %q", err, name)
		}
	}
}

func TestDefaults(t *testing.T) {
	got := mustSet(t, Alarm{Name: "a", Metric: Lag, Region: "west", Threshold: 1000, Periods: 4}).Alarms()[0]
	want := Alarm{
		Name: "a", Metric: Lag, Region: "west", Threshold: 1000, Comparison: GreaterOrEqual,
		Period: time.Minute, Periods: 4, ToAlarm: 4, Missing: Missing,
	}
	if got != want {
		t.Errorf("Alarms() = %+v, want %+v", got, want)
	}
}

// Whatever comes: arguments don't change, what is kept has a bound and survives its
// JSON, and an event is exactly a change of state.
func TestEvaluateKeepsItsWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := errorRate()
		a.Missing = rapid.SampledFrom([]Treat{Missing, Ignore, Breaching, NotBreaching}).Draw(t, "treat")
		a.Periods = rapid.IntRange(1, 5).Draw(t, "periods")
		a.ToAlarm = rapid.IntRange(1, a.Periods).Draw(t, "to alarm")
		s, err := New([]Alarm{a})
		if err != nil {
			t.Fatal(err)
		}
		var st Statuses
		at := 0.0
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			at += float64(rapid.IntRange(-2, 8).Draw(t, "quarters")) / 4
			var data []Datum
			for range rapid.IntRange(0, 3).Draw(t, "data") {
				age := float64(rapid.IntRange(-4, 30).Draw(t, "age")) / 4
				data = append(data, rate(at-age, float64(rapid.IntRange(0, 1).Draw(t, "value"))))
			}
			before := toJSON(t, st)
			next, events := s.Evaluate(st, data, minutes(at))
			if toJSON(t, st) != before {
				t.Fatalf("Evaluate changed its argument")
			}
			var copied Statuses
			if err := json.Unmarshal([]byte(before), &copied); err != nil {
				t.Fatal(err)
			}
			again, _ := s.Evaluate(copied, data, minutes(at))
			if toJSON(t, again) != toJSON(t, next) {
				t.Fatalf("from its JSON it becomes %s, not %s", toJSON(t, again), toJSON(t, next))
			}
			old := st["errors"].State
			if old == "" {
				old = InsufficientData
			}
			if changed := next["errors"].State != old; changed != (len(events) == 1) || len(events) > 1 {
				t.Fatalf("from %s to %s: events %v", old, next["errors"].State, events)
			}
			if n := len(next["errors"].Points); n != a.Periods+rangeExtra+1 {
				t.Fatalf("%d points are kept for %d periods", n, a.Periods)
			}
			st = next
		}
	})
}

func toJSON(t interface{ Fatal(...any) }, v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
