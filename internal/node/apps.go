package node

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/roam-sessions/roam/internal/admin"
	"github.com/roam-sessions/roam/internal/feed"
	"github.com/roam-sessions/roam/internal/judge/alarm"
	"github.com/roam-sessions/roam/internal/tally"
)

const (
	// mostApps bounds the applications of a Region that are remembered, of which each is a
	// kilobyte or two. When there are so many, those that were silent for appSilence are
	// forgotten; if there are none new ones are refused, and tell later what they counted.
	mostApps   = 500
	appSilence = time.Minute
	// appWindow is how long answers are added up until they are a figure: each application
	// has reported by then. appPatience is how long if there are few.
	appWindow   = 5 * time.Second
	appPatience = time.Minute
	// fewAnswers is below how many answers, or writes, nothing is said: as the judge has it.
	fewAnswers = 10
	// appFresh is of how long a report may be that says how things are now. What could not
	// be told for longer counts in the metrics alone.
	appFresh = 30 * time.Second
	// appTold is how long a figure is repeated to other members, as of the time that it is
	// of: they need not have heard it the first time.
	appTold = 30 * time.Second
)

// apps sums up what applications tell of their answers and writes, for alarms and metrics.
// Goroutines may share it.
type apps struct {
	deployment string
	window     time.Duration

	mu      sync.Mutex             // guards what follows
	regions map[string]*regionApps // all there are
	sums    map[way]*sum
	told    map[figure]alarm.Datum
}

// regionApps are the applications of one Region.
type regionApps struct {
	heard map[string]heardApp // by the App of their reports
	all   tally.Counts        // that they told since this process began
}

// A heardApp is the last that one application told.
type heardApp struct {
	report feed.Report
	at     time.Time
}

// A way is a Region, and where its writes went; "": it is about its answers.
type way struct{ region, to string }

// A sum is what is to be a figure, when there is enough of it.
type sum struct {
	since  time.Time  // when the first of it came
	n, bad uint64     // answers, and those that were degraded; writes, and those that failed
	took   tally.Took // of writes
}

// A figure is what a datum is of.
type figure struct {
	metric       alarm.Metric
	region, from string
}

func newApps(deployment string, regions []string) *apps {
	a := &apps{
		deployment: deployment, window: appWindow,
		regions: map[string]*regionApps{}, sums: map[way]*sum{}, told: map[figure]alarm.Datum{},
	}
	for _, name := range regions {
		a.regions[name] = &regionApps{heard: map[string]heardApp{}}
	}
	return a
}

// take takes in what an application told; of is the Region that its certificate is of, and
// "" if it may be any. It fails with an admin.Problem.
func (a *apps) take(of string, body []byte, now time.Time) error {
	r, err := feed.ParseReport(body)
	if err != nil {
		return &admin.Problem{Kind: admin.KindInvalid, Detail: err.Error(), Next: "run the node's version, or an older one"}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	region := a.regions[r.Region]
	switch {
	case r.Deployment != a.deployment || region == nil:
		return &admin.Problem{
			Kind: admin.KindInvalid, Detail: fmt.Sprintf("%s is no Region of a deployment %s here", r.Region, r.Deployment), Next: "run by the node's roam.yaml",
		}
	case of != "" && of != r.Region:
		return &admin.Problem{
			Kind: admin.KindForbidden, Detail: fmt.Sprintf("the certificate is of %s, and the report of %s", of, r.Region), Next: "show the certificate of the Region that it runs in",
		}
	}
	was, known := region.heard[r.App]
	counts, span := r.Counts, r.Span
	switch {
	case known && r.Seq <= was.report.Seq:
		return nil // it was under way for long, and another one had all of it
	case known && r.After == was.report.After:
		counts, span = counts.Since(was.report.Counts), span-was.report.Span
	case !known && !region.room(now):
		return &admin.Problem{Kind: admin.KindTooMany, Detail: "too many applications report", Next: "report later", After: appSilence}
	}
	region.heard[r.App] = heardApp{r, now}
	maps.DeleteFunc(counts.Writes, func(to string, _ tally.Writes) bool { return a.regions[to] == nil })
	region.all = region.all.Plus(counts)
	if span <= appFresh {
		a.add(r.Region, counts, now)
	}
	return nil
}

// room reports whether another application can be remembered.
func (r *regionApps) room(now time.Time) bool {
	if len(r.heard) >= mostApps {
		maps.DeleteFunc(r.heard, func(_ string, h heardApp) bool { return now.Sub(h.at) >= appSilence })
	}
	return len(r.heard) < mostApps
}

// add adds counts to what is to be figures.
func (a *apps) add(region string, counts tally.Counts, now time.Time) {
	n, degraded := counts.All()
	a.sum(way{region: region}, now).plus(sum{n: n, bad: degraded})
	for to, w := range counts.Writes {
		a.sum(way{region, to}, now).plus(sum{n: w.Took.Count(), bad: w.Failed, took: w.Took})
	}
}

func (a *apps) sum(of way, now time.Time) *sum {
	s := a.sums[of]
	if s == nil {
		s = &sum{since: now}
		a.sums[of] = s
	}
	return s
}

func (s *sum) plus(more sum) {
	s.n, s.bad = s.n+more.n, s.bad+more.bad
	for i, n := range more.took {
		s.took[i] += n
	}
}

// share returns how much of it is bad, 0 to 1.
func (s *sum) share() float64 { return float64(s.bad) / float64(s.n) }

// figures returns the newest of all figures that are not too old to be told.
func (a *apps) figures(now time.Time) (out []alarm.Datum) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for of, s := range a.sums {
		waited := now.Sub(s.since)
		if waited < a.window || s.n < fewAnswers && waited < appPatience {
			continue
		}
		delete(a.sums, of)
		switch {
		case s.n < fewAnswers: // it says nothing
		case of.to == "":
			a.tell(alarm.Datum{Metric: alarm.DegradedShare, Region: of.region, At: now, Value: s.share()})
		default:
			p99 := float64(s.took.P99()) / float64(time.Millisecond)
			a.tell(alarm.Datum{Metric: alarm.WriteP99, Region: of.to, From: of.region, At: now, Value: p99})
			a.tell(alarm.Datum{Metric: alarm.ErrorRate, Region: of.to, From: of.region, At: now, Value: s.share()})
		}
	}
	maps.DeleteFunc(a.told, func(_ figure, d alarm.Datum) bool { return now.Sub(d.At) > appTold })
	order := func(x, y figure) int {
		return cmp.Or(cmp.Compare(x.metric, y.metric), cmp.Compare(x.region, y.region), cmp.Compare(x.from, y.from))
	}
	for _, f := range slices.SortedFunc(maps.Keys(a.told), order) {
		out = append(out, a.told[f])
	}
	return out
}

func (a *apps) tell(d alarm.Datum) { a.told[figure{d.Metric, d.Region, d.From}] = d }

// An appsTold is what the applications of a Region told, for metrics.
type appsTold struct {
	region string
	apps   int // that reported within appSilence
	all    tally.Counts
	share  *float64 // of degraded answers, as told last; nil: too few were
}

// totals returns what those of each Region told, in the order of their names.
func (a *apps) totals(now time.Time) (out []appsTold) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(a.regions)) {
		r := a.regions[name]
		t := appsTold{region: name, all: r.all}
		for _, h := range r.heard {
			if now.Sub(h.at) < appSilence {
				t.apps++
			}
		}
		if d, ok := a.told[figure{metric: alarm.DegradedShare, region: name}]; ok && now.Sub(d.At) <= appTold {
			t.share = &d.Value
		}
		out = append(out, t)
	}
	return out
}
