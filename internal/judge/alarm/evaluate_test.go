package alarm

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// retained is what a table says where the guide says "Retain current state".
const retained State = "retained"

// parse reads points as the guide writes them: 0 is good, X is breaching, - is
// missing; the newest is on the right.
func parse(text string) (points []Point) {
	for mark := range strings.FieldsSeq(text) {
		switch mark {
		case "0":
			points = append(points, Point{Known: true, Value: 0})
		case "X":
			points = append(points, Point{Known: true, Value: 1})
		case "-":
			points = append(points, Point{})
		}
	}
	return points
}

func outOf(m, n int) Alarm {
	return Alarm{
		Name: "a", Metric: ErrorRate, Region: "west", Comparison: Greater, Threshold: 0.5, Periods: n, ToAlarm: m,
	}.withDefaults()
}

// Both tables of the guide, and what its text says of premature alarms. Threshold
// and comparison are those of outOf.
func TestMissingDataAsInTheGuide(t *testing.T) {
	treats := []Treat{Missing, Ignore, Breaching, NotBreaching}
	for _, row := range []struct {
		m, n   int
		points string
		want   [4]State // in the order of treats
	}{
		{3, 3, "0 - X - X", [4]State{OK, OK, OK, OK}},
		{3, 3, "0 - - - -", [4]State{OK, OK, OK, OK}},
		{3, 3, "- - - - -", [4]State{InsufficientData, retained, Alarming, OK}},
		{3, 3, "0 X X - X", [4]State{Alarming, Alarming, Alarming, Alarming}},
		{3, 3, "- - X - -", [4]State{Alarming, retained, Alarming, OK}},

		{2, 3, "0 - X - X", [4]State{Alarming, Alarming, Alarming, Alarming}},
		{2, 3, "0 0 X 0 X", [4]State{Alarming, Alarming, Alarming, Alarming}},
		{2, 3, "0 - X - -", [4]State{OK, OK, Alarming, OK}},
		{2, 3, "- - - - 0", [4]State{OK, OK, Alarming, OK}},
		{2, 3, "- - - X -", [4]State{Alarming, retained, Alarming, OK}},

		// "The alarm does not go immediately into ALARM state."
		{3, 3, "- - - - X", [4]State{OK, OK, Alarming, OK}},
		{3, 3, "- - - X -", [4]State{OK, OK, Alarming, OK}},
		// "When the next data point is non-breaching."
		{3, 3, "- - - X 0", [4]State{OK, OK, OK, OK}},
		{3, 3, "- - X - 0", [4]State{OK, OK, OK, OK}},
		// A good point older than the bad ones is in the range all the same.
		{3, 3, "0 - X - -", [4]State{OK, OK, OK, OK}},
		// Extra points are not needed, and ignored.
		{1, 1, "X X 0", [4]State{OK, OK, OK, OK}},
		{1, 1, "0 0 X", [4]State{Alarming, Alarming, Alarming, Alarming}},
		{1, 1, "0 X -", [4]State{Alarming, Alarming, Alarming, Alarming}},
		{3, 5, "X X X 0 0 0 0", [4]State{OK, OK, OK, OK}},
		{3, 5, "0 0 X 0 X 0 X", [4]State{Alarming, Alarming, Alarming, Alarming}},
		{3, 5, "- - X - X 0 X", [4]State{Alarming, Alarming, Alarming, Alarming}},
		{3, 5, "- - - - X 0 X", [4]State{OK, OK, Alarming, OK}},
	} {
		for i, treat := range treats {
			a := outOf(row.m, row.n)
			a.Missing = treat
			o := a.evaluate(parse(row.points))
			got := o.state
			if o.retain {
				got = retained
			}
			if got != row.want[i] {
				t.Errorf("%d of %d, %s, missing is %s: got %s, want %s", row.m, row.n, row.points, treat, got, row.want[i])
			}
		}
	}
}

func TestComparisons(t *testing.T) {
	for _, c := range []struct {
		comparison          Comparison
		below, equal, above bool
	}{
		{Greater, false, false, true},
		{GreaterOrEqual, false, true, true},
		{Less, true, false, false},
		{LessOrEqual, true, true, false},
	} {
		a := Alarm{Comparison: c.comparison, Threshold: 1}
		if a.breaches(0.5) != c.below || a.breaches(1) != c.equal || a.breaches(2) != c.above {
			t.Errorf("%s 1: breaches(0.5, 1, 2) = %v %v %v, want %v %v %v", c.comparison,
				a.breaches(0.5), a.breaches(1), a.breaches(2), c.below, c.equal, c.above)
		}
	}
}

// One more bad point never quiets an alarm, and with enough data nobody asks how
// missing data is treated.
func TestEvaluateLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "n")
		a := outOf(rapid.IntRange(1, n).Draw(t, "m"), n)
		points := make([]Point, n+rangeExtra)
		known := 0
		for i := range points {
			points[i].Known = rapid.Bool().Draw(t, "known")
			if points[i].Known {
				known++
				points[i].Value = float64(rapid.IntRange(0, 1).Draw(t, "value"))
			}
		}
		var of [4]outcome
		for i, treat := range []Treat{Missing, Ignore, Breaching, NotBreaching} {
			a.Missing = treat
			of[i] = a.evaluate(points)
		}
		if known >= n && (of[0] != of[1] || of[0] != of[2] || of[0] != of[3]) {
			t.Fatalf("%v has %d points for %d, and missing data matters: %v", points, known, n, of)
		}
		if of[3].state == Alarming && of[2].state != Alarming {
			t.Fatalf("%v alarms with missing data good and not with it bad", points)
		}
		if of[0].real != of[2].real {
			t.Fatalf("%v: %d real points breach with missing, %d with breaching", points, of[0].real, of[2].real)
		}
		a.Missing = Breaching
		worse := make([]Point, len(points))
		for i, p := range points {
			worse[i] = p
			if p.Known {
				worse[i].Value = 1
			}
		}
		if of[2].state == Alarming && a.evaluate(worse).state != Alarming {
			t.Fatalf("%v alarms, and with every point bad it doesn't", points)
		}
	})
}
