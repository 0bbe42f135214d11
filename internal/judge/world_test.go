package judge_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/judge/alarm"
)

// A world is what is really so, and what members report of it.
type world struct {
	regions, witnesses []string
	now                time.Time
	lease              judge.Lease

	down    map[string]bool          // members that are gone, with their Region
	cut     map[[2]string]bool       // what the first sends to the second is lost
	broken  map[string]bool          // Regions whose engine does not work
	stuck   map[string]bool          // Regions whose replica gets nothing
	clocks  map[string]time.Duration // of servers, ahead of true time
	failing map[[2]string]int        // of 100 writes from the first to the second so many fail
	p99     map[[2]string]time.Duration
	quiet   map[string]bool // members whose report is late
	blind   map[string]bool // members that know nothing of the primary
	alarms  []alarm.Raised

	beats map[string]judge.Beat // the last that each Region's engine has
}

func newWorld(regions, witnesses string) *world {
	w := &world{
		regions: strings.Fields(regions), witnesses: strings.Fields(witnesses),
		now:  time.Date(2025, 10, 3, 12, 0, 0, 0, time.UTC),
		down: map[string]bool{}, cut: map[[2]string]bool{}, broken: map[string]bool{}, stuck: map[string]bool{},
		clocks: map[string]time.Duration{}, failing: map[[2]string]int{}, p99: map[[2]string]time.Duration{},
		quiet: map[string]bool{}, blind: map[string]bool{}, beats: map[string]judge.Beat{},
	}
	w.lease = judge.Lease{Holder: w.regions[0], Epoch: 1, Since: w.now.Add(-time.Hour)}
	return w
}

func (w *world) members() []string { return slices.Concat(w.regions, w.witnesses) }

// hears reports whether what one member sends reaches another.
func (w *world) hears(from, to string) bool {
	return !w.down[from] && !w.down[to] && (from == to || !w.cut[[2]string{from, to}])
}

func (w *world) both(a, b string) bool { return w.hears(a, b) && w.hears(b, a) }

// tick goes on by a period of a second, in which heartbeats are written and
// replicated.
func (w *world) tick() {
	w.now = w.now.Add(time.Second)
	holder := w.lease.Holder
	if holder == "" {
		return
	}
	if !w.down[holder] && !w.broken[holder] {
		last := w.beats[holder]
		if last.Epoch != w.lease.Epoch {
			last = judge.Beat{Epoch: w.lease.Epoch}
		}
		w.beats[holder] = judge.Beat{Epoch: last.Epoch, N: last.N + 10, At: w.now.Add(w.clocks[holder])}
	}
	for _, r := range w.regions {
		if w.hears(holder, r) && !w.stuck[r] && !w.broken[r] {
			w.beats[r] = w.beats[holder]
		}
	}
}

func sight(up bool) judge.Sight {
	if up {
		return judge.Up
	}
	return judge.Down
}

// report is what a member saw in the last period.
func (w *world) report(member string) judge.Report {
	out := judge.Report{Member: member, At: w.now}
	for _, r := range w.regions {
		v := judge.View{Region: r, In: sight(w.hears(r, member))}
		if v.In == judge.Up {
			v.Out, v.Engine, v.Beat = sight(w.hears(member, r)), sight(!w.broken[r]), w.beats[r]
			if w.hears(member, r) {
				clock := w.clocks[r]
				v.Clock = &clock
			}
		}
		if w.blind[member] && r == w.lease.Holder {
			v = judge.View{Region: r}
		}
		out.Views = append(out.Views, v)
	}
	if to := w.lease.Holder; to != "" && slices.Contains(w.regions, member) {
		writes := judge.Writes{To: to, Count: 100, P99: 80 * time.Millisecond}
		if d, ok := w.p99[[2]string{member, to}]; ok {
			writes.P99 = d
		}
		writes.Failed = w.failing[[2]string{member, to}]
		if !w.both(member, to) || w.broken[to] {
			writes.Failed = 100
		}
		out.Writes = []judge.Writes{writes}
	}
	return out
}

// seat is who judges: the member that most members can talk to.
func (w *world) seat() (best string) {
	most := 0
	for _, m := range w.members() {
		n := 0
		for _, other := range w.members() {
			if w.both(m, other) {
				n++
			}
		}
		if n > most {
			best, most = m, n
		}
	}
	return best
}

// observations are what comes to whoever judges.
func (w *world) observations() judge.Observations {
	out := judge.Observations{Lease: w.lease, Alarms: w.alarms}
	seat := w.seat()
	for _, m := range w.members() {
		if !w.down[m] && !w.quiet[m] && w.hears(m, seat) {
			out.Reports = append(out.Reports, w.report(m))
		}
	}
	return out
}

// promote moves the lease as a failover does.
func (w *world) promote(to string) {
	w.lease = judge.Lease{Holder: to, Epoch: w.lease.Epoch + 1, Since: w.now, Unplanned: true}
}

// A court is a judge that looks at a world once a period.
type court struct {
	*world
	t     testing.TB
	rules judge.Rules
	state judge.State
}

func newCourt(t testing.TB, w *world, change ...func(*judge.Config)) *court {
	t.Helper()
	c := judge.Config{Regions: w.regions, Witnesses: w.witnesses}
	for _, f := range change {
		f(&c)
	}
	rules, err := judge.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return &court{world: w, t: t, rules: rules}
}

// run lets some periods go by and returns the last verdict.
func (c *court) run(periods int) (v judge.Verdict) {
	for range periods {
		c.tick()
		c.state, v = c.rules.Judge(c.state, c.observations(), c.now)
	}
	return v
}

// until runs until a verdict has a kind, and returns after how many periods.
func (c *court) until(kind judge.Kind, most int) (v judge.Verdict, periods int) {
	c.t.Helper()
	for n := 1; n <= most; n++ {
		if v = c.run(1); v.Kind() == kind {
			return v, n
		}
	}
	c.t.Fatalf("no %s in %d periods; the last verdict: %v, held %v", kind, most, v.Findings, v.Held)
	return v, 0
}

// says writes a verdict as "kind from>to rule", one finding after the other.
func says(v judge.Verdict) string {
	var words []string
	for _, f := range v.Findings {
		words = append(words, short(f))
	}
	if !v.Ruled {
		words = append(words, "not ruled")
	}
	for _, f := range v.Held {
		words = append(words, "held "+short(f))
	}
	return strings.Join(words, ", ")
}

func short(f judge.Finding) string {
	text := string(f.Kind)
	if f.From != "" {
		text += " " + f.From
	}
	if f.To != "" && f.To != f.From {
		text += ">" + f.To
	}
	return fmt.Sprintf("%s %s", text, f.Rule)
}

func (c *court) want(v judge.Verdict, want string) {
	c.t.Helper()
	if got := says(v); got != want {
		c.t.Errorf("verdict %q, want %q; findings %v, held %v", got, want, v.Findings, v.Held)
	}
}
