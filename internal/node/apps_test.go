package node

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/admin"
	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/feed"
	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/judge/alarm"
	"github.com/roam-sessions/roam/internal/tally"
)

// noon is when these tests begin.
func noon(after time.Duration) time.Time {
	return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).Add(after)
}

// appName returns the name of the n-th application.
func appName(n int) string { return fmt.Sprintf("%016x", n) }

// reportOf returns the seq-th report of an application in west, of 5 s.
func reportOf(app int, seq, after uint64, answers ...uint64) feed.Report {
	r := feed.Report{Deployment: "shop", Region: "west", App: appName(app), Seq: seq, After: after, Span: 5 * time.Second}
	copy(r.Counts.Answers[:], answers)
	return r
}

// takes has a report taken in, by whose certificate is of its Region.
func (a *apps) takes(t *testing.T, r feed.Report, at time.Duration) {
	t.Helper()
	if err := a.took(t, r.Region, r, at); err != nil {
		t.Fatalf("take(%+v) = %v, want nil", r, err)
	}
}

func (a *apps) took(t *testing.T, of string, r feed.Report, at time.Duration) error {
	t.Helper()
	body, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return a.take(of, body, noon(at))
}

// says wants the figures to be these, with the time in the place of At.
func (a *apps) says(t *testing.T, at time.Duration, want ...alarm.Datum) {
	t.Helper()
	got := a.figures(noon(at))
	if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Errorf("figures after %v: %+v, want %+v", at, got, want)
	}
}

func shop() *apps { return newApps("shop", []string{"west", "east"}) }

func degraded(region string, at time.Duration, share float64) alarm.Datum {
	return alarm.Datum{Metric: alarm.DegradedShare, Region: region, At: noon(at), Value: share}
}

// What the applications of a Region report in a window is one figure, and each answer is in
// one of them.
func TestFiguresOfApps(t *testing.T) {
	a := shop()
	a.says(t, 0)
	a.takes(t, reportOf(1, 1, 0, 90, 2, 0, 0, 0), 0)
	a.takes(t, reportOf(2, 1, 0, 0, 0, 3, 2, 3), 4*time.Second)
	other := reportOf(3, 1, 0, 20)
	other.Region = "east"
	a.takes(t, other, time.Second)
	a.says(t, 4*time.Second)
	a.says(t, 5*time.Second, degraded("west", 5*time.Second, 0.1))
	west := degraded("west", 5*time.Second, 0.1)
	a.says(t, 6*time.Second, degraded("east", 6*time.Second, 0), west)
	a.says(t, 35*time.Second, degraded("east", 6*time.Second, 0), west) // the same again, for others to hear
	a.takes(t, reportOf(1, 2, 1, 5, 5), 30*time.Second)
	a.says(t, 36*time.Second, degraded("east", 6*time.Second, 0), degraded("west", 36*time.Second, 0.5))
	a.says(t, 67*time.Second)
}

// A few answers say nothing until there are more, and after a minute they are forgotten.
func TestFewAnswers(t *testing.T) {
	a := shop()
	a.takes(t, reportOf(1, 1, 0, 0, 5), 0)
	a.says(t, 30*time.Second)
	a.takes(t, reportOf(1, 2, 1, 5), 40*time.Second)
	a.says(t, 40*time.Second, degraded("west", 40*time.Second, 0.5))
	a.takes(t, reportOf(1, 3, 2, 0, 9), 41*time.Second)
	a.says(t, 101*time.Second)
	a.takes(t, reportOf(1, 4, 3, 10), 102*time.Second)
	a.says(t, 107*time.Second, degraded("west", 107*time.Second, 0))
}

// Writes are figures of where they belonged, from the Region of those who wrote.
func TestWritesOfApps(t *testing.T) {
	a := shop()
	r := reportOf(1, 1, 0)
	var quick, few, strange tally.Writes
	quick.Took[tally.Bucket(80*time.Millisecond)], quick.Took[tally.Bucket(time.Second)], quick.Failed = 97, 3, 5
	few.Took[0], strange.Took[0] = 9, 100
	r.Counts.Writes = map[string]tally.Writes{"east": quick, "west": few, "nowhere": strange}
	a.takes(t, r, 0)
	p99 := float64(tally.Bound(tally.Bucket(time.Second)).Milliseconds())
	got := a.figures(noon(5 * time.Second))
	if len(got) != 2 || math.Abs(got[1].Value-p99) > 1 {
		t.Fatalf("figures %+v, want two of east, and a p99 of %v ms", got, p99)
	}
	at := noon(5 * time.Second)
	want := []alarm.Datum{
		{Metric: alarm.ErrorRate, Region: "east", From: "west", At: at, Value: 0.05},
		{Metric: alarm.WriteP99, Region: "east", From: "west", At: at, Value: got[1].Value},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("figures %+v, want %+v", got, want)
	}
	if all := a.totals(at)[1].all.Writes; len(all) != 2 || all["east"] != quick {
		t.Errorf("%d Regions were written to, east %+v; want no unknown one, and %+v", len(all), all["east"], quick)
	}
}

// A report that is told again, or has all of the one before, is counted once. One of a
// long time says nothing of now.
func TestReportsAreCountedOnce(t *testing.T) {
	a := shop()
	total := func(want uint64) {
		t.Helper()
		if all, _ := a.totals(noon(0))[1].all.All(); all != want {
			t.Errorf("%d answers were counted, want %d", all, want)
		}
	}
	a.takes(t, reportOf(1, 3, 0, 10), 0)
	total(10) // whatever it had told others
	a.takes(t, reportOf(1, 3, 0, 10), 0)
	total(10) // the same
	longer := reportOf(1, 4, 0, 10, 7)
	longer.Span = 10 * time.Second
	a.takes(t, longer, 0)
	total(17) // the node's answer was lost
	a.takes(t, reportOf(1, 2, 0, 9), 0)
	total(17) // a late one
	a.takes(t, reportOf(1, 5, 4, 3), 0)
	total(20)
	a.takes(t, reportOf(1, 4, 0, 10, 7), 0)
	total(20) // it was under way for longer than the one that had all of it
	a.takes(t, reportOf(1, 9, 8, 5), 0)
	total(25) // it told others between
	a.says(t, 5*time.Second, degraded("west", 5*time.Second, 0.28))
	old := reportOf(1, 10, 9, 0, 100)
	old.Span = appFresh + time.Second
	a.takes(t, old, 6*time.Second)
	total(125)
	a.says(t, 20*time.Second, degraded("west", 5*time.Second, 0.28))
	old.Seq, old.Span = 11, old.Span+5*time.Second
	old.Counts.Answers[0] = 100
	a.takes(t, old, 20*time.Second)
	total(225)
	a.says(t, 25*time.Second, degraded("west", 25*time.Second, 0)) // what is new in it is
}

// Whoever reports is believed of its own Region alone.
func TestReportsThatAreRefused(t *testing.T) {
	a := shop()
	good := reportOf(1, 1, 0, 1)
	stranger, nowhere := good, good
	stranger.Deployment, nowhere.Region = "bank", "north"
	for what, c := range map[string]struct {
		of   string
		r    feed.Report
		kind admin.Kind
	}{
		"of another Region":    {"east", good, admin.KindForbidden},
		"of a witness":         {"witness", good, admin.KindForbidden},
		"of another shop":      {"west", stranger, admin.KindInvalid},
		"of no Region":         {"", nowhere, admin.KindInvalid},
		"of no Region, either": {"north", nowhere, admin.KindInvalid},
	} {
		if p, ok := errors.AsType[*admin.Problem](a.took(t, c.of, c.r, 0)); !ok || p.Kind != c.kind || p.Next == "" {
			t.Errorf("%s: take = %+v, want a problem of kind %s and what to do", what, p, c.kind)
		}
	}
	if p, ok := errors.AsType[*admin.Problem](a.take("west", []byte("{}"), noon(0))); !ok || p.Kind != admin.KindInvalid {
		t.Errorf("take of no report = %+v, want a problem", p)
	}
	if got := a.totals(noon(0)); got[1].apps != 0 {
		t.Errorf("%+v was taken in", got)
	}
	if err := a.took(t, "", good, 0); err != nil {
		t.Errorf("take of an operator's = %v, want nil", err)
	}
}

// So many applications are remembered, those of each Region; when there are too many the
// silent ones are forgotten.
func TestAppsAreBounded(t *testing.T) {
	a := shop()
	for i := range mostApps {
		a.takes(t, reportOf(i, 1, 0, 1), 0)
	}
	p, ok := errors.AsType[*admin.Problem](a.took(t, "west", reportOf(mostApps, 1, 0, 1), appSilence-1))
	if !ok || p.Kind != admin.KindTooMany {
		t.Errorf("take of one more = %+v, want too many", p)
	}
	a.takes(t, reportOf(0, 2, 1, 1), appSilence-1) // who is known is heard
	east := reportOf(1, 1, 0, 1)
	east.Region = "east"
	a.takes(t, east, appSilence-1)
	a.takes(t, reportOf(mostApps, 1, 0, 1), appSilence)
	if got := a.totals(noon(appSilence)); got[1].apps != 2 || got[0].apps != 1 {
		t.Errorf("%+v, want two in west and one in east", got)
	}
	if n := len(a.regions["west"].heard); n != 2 {
		t.Errorf("%d are remembered, want those that are not silent: 2", n)
	}
}

// The largest report there can be is taken, and nothing overflows that is told.
func TestReportsOfALiar(t *testing.T) {
	a := shop()
	var w tally.Writes
	for i := range w.Took {
		w.Took[i], w.Failed = 1<<40, w.Failed+1<<40
	}
	for i := range 100 {
		r := reportOf(i, 1, 0, 1<<40, 1<<40, 1<<40, 1<<40, 1<<40)
		r.Counts.Writes = map[string]tally.Writes{"west": w}
		a.takes(t, r, 0)
	}
	got := a.figures(noon(5 * time.Second))
	if len(got) != 3 || got[0].Value != 0.8 || got[1].Value != 1 || got[2].Value > 8389 || !strings.HasPrefix(string(got[2].Metric), "write") {
		t.Errorf("figures %+v, want a share of 0.8, of 1, and some seconds", got)
	}
}

// What applications told a member stands beside what it measured itself, if it does: a
// witness is told too. The judge's own look at writes is the canary's.
func TestMeasuredHasBoth(t *testing.T) {
	s := &seat{apps: shop()}
	s.apps.window = 0
	r := reportOf(1, 1, 0, 0, 10)
	r.Counts.Writes = map[string]tally.Writes{"east": {Took: tally.Took{100}}}
	s.apps.takes(t, r, time.Since(noon(0)))
	if m := s.measured(nil); len(m.Data) != 3 || len(m.Writes) != 0 {
		t.Errorf("a witness tells %+v, want three figures and nothing of its own", m)
	}
	own := control.Measured{
		Writes: []judge.Writes{{To: "east", Count: 20, Failed: 20}},
		Data:   []alarm.Datum{{Metric: alarm.ErrorRate, Region: "east", From: "west", Value: 1}},
	}
	m := s.measured(func() control.Measured { return own })
	if len(m.Data) != 4 || !slices.Contains(m.Data, own.Data[0]) || !slices.Equal(m.Writes, own.Writes) {
		t.Errorf("a node tells %+v, want what it measured, and three figures", m)
	}
}
