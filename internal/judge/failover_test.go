package judge_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/judge"
)

// A candidacy is what is wrong when the primary is lost, and who is promoted then.
type candidacy struct {
	name  string
	fault func(*court) // from 20 periods on, all is well until then
	want  string       // of who is promoted and the others, when west is gone
}

func candidacies() []candidacy {
	return []candidacy{
		{"equals go by the order", func(*court) {}, "east: east is 0s behind, north is 0s behind"},
		{
			"the most caught-up", func(c *court) { c.stuck["east"] = true; c.run(1) },
			"north: east is 1s behind, north is 0s behind",
		},
		{
			"one too far behind", func(c *court) { c.stuck["east"] = true; c.run(2) },
			"north: east is 2s behind, and 1s is the most, north is 0s behind",
		},
		{
			"all too far behind", func(c *court) { c.stuck["east"], c.stuck["north"] = true, true; c.run(2) },
			"none: east is 2s behind, and 1s is the most, north is 2s behind, and 1s is the most",
		},
		{
			"all a little behind", func(c *court) { c.stuck["east"], c.stuck["north"] = true, true; c.run(1) },
			"east: east is 1s behind, north is 1s behind",
		},
		{
			"one's clock is wrong", func(c *court) { c.clocks["east"] = 5001 * time.Millisecond },
			"north: east has a clock that is 5.001s wrong, and 5s is the most, north is 0s behind",
		},
		{
			"one's clock is nearly wrong", func(c *court) { c.clocks["east"] = -5 * time.Second },
			"east: east is 0s behind, north is 0s behind",
		},
		{
			"one's engine is down", func(c *court) { c.broken["east"] = true },
			"north: east is one that users should leave, north is 0s behind",
		},
		{"one flaps", func(c *court) {
			for i := range 60 {
				c.broken["east"] = i%20 < 5
				c.run(1)
			}
		}, "north: east was lost 3 times within 10m0s, north is 0s behind"},
		{
			"one has just been lost", func(c *court) { c.broken["east"] = true; c.run(5); c.broken["east"] = false },
			"north: east is one that users should leave, north is 0s behind",
		},
	}
}

// Who may be promoted, and who is.
func TestCandidates(t *testing.T) {
	for _, c := range candidacies() {
		w := newWorld("west east north", "rome oslo")
		j := newCourt(t, w)
		j.run(20)
		c.fault(j)
		w.down["west"] = true
		v := j.run(3)
		got := "none: "
		if f, ok := v.FailOver(); ok {
			_, why, _ := strings.Cut(f.Reason, "(3 are enough); ")
			got = f.To + ": " + why
		} else {
			got += strings.Split(v.Held[0].Reason, "; west is lost")[0]
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// A doubt is what members report differently, and why east is no candidate then.
type doubt struct {
	name   string
	change func(*judge.Report)
	want   string
}

func doubts() []doubt {
	few := func(r *judge.Report) bool { return r.Member == "east" || r.Member == "rome" }
	return []doubt{
		{"no report of its own", func(r *judge.Report) {
			if r.Member == "east" {
				r.Views = nil
			}
		}, "east has no heartbeat that could be compared (its last: number 0 of epoch 0)"},
		{"a heartbeat of another epoch", func(r *judge.Report) {
			r.Views[1].Beat.Epoch = 0
		}, "has no heartbeat that could be compared"},
		{"no heartbeats at all", func(r *judge.Report) {
			for i := range r.Views {
				r.Views[i].Beat = judge.Beat{Epoch: 1}
			}
		}, "east has no heartbeat that could be compared (its last: number 0 of epoch 1)"},
		{"a clock that is wrong by the word of half", func(r *judge.Report) {
			clock := time.Second
			if few(r) {
				clock = -6 * time.Second
			}
			r.Views[1].Clock = &clock
		}, "east has a clock that is -6s wrong, and 5s is the most"},
		{"a clock that few could ask", func(r *judge.Report) {
			if !few(r) {
				r.Views[1].Clock = nil
			}
		}, "east has a clock that a majority of members could not compare"},
		{"well by the word of too few", func(r *judge.Report) {
			if !few(r) {
				r.Views[1].Engine = judge.Unseen
			}
		}, "east is well by the word of 2 of 5 members, and 3 must say so"},
		{"heard and not known to hear", func(r *judge.Report) {
			if !few(r) {
				r.Views[1].Out = judge.Unseen
			}
		}, "east is well by the word of 2 of 5 members, and 3 must say so"},
	}
}

// A candidate must have shown that it is fit: silence is not enough.
func TestCandidatesMustShowIt(t *testing.T) {
	for _, d := range doubts() {
		w := newWorld("west east", "rome oslo riga")
		c := newCourt(t, w)
		c.run(20)
		w.down["west"] = true
		v := c.look(5, d.change)
		if _, ok := v.FailOver(); ok || len(v.Held) != 1 || !strings.Contains(v.Held[0].Reason, d.want) {
			t.Errorf("%s: %v, held %v; want %s", d.name, v.Findings, v.Held, d.want)
		}
	}
}

// A heartbeat of a lease that members have not agreed on is none; and where there is
// no epoch yet, no heartbeat is not the same as one that is equal.
func TestHeartbeatsOfOtherEpochs(t *testing.T) {
	w := newWorld("west east north", "")
	c := newCourt(t, w)
	c.run(20)
	w.down["west"] = true
	v := c.look(3, func(r *judge.Report) { r.Views[0].Beat = judge.Beat{Epoch: 99, N: 1, At: w.now} })
	c.want(v, "fail-over west>east unheard, route-away west unheard")

	w = newWorld("west east north", "")
	w.lease.Epoch = 0
	c = newCourt(t, w)
	none := func(r *judge.Report) {
		for i := range r.Views {
			r.Views[i].Beat = judge.Beat{}
		}
	}
	c.look(20, none)
	w.down["west"] = true
	c.want(c.look(3, none), "route-away west unheard, held fail-over west candidate")
}

func TestBarredRegionsAreNotPromoted(t *testing.T) {
	w := newWorld("west east north", "")
	c := newCourt(t, w, func(c *judge.Config) { c.Barred = []string{"east"} })
	c.run(20)
	w.down["west"] = true
	c.want(c.run(3), "fail-over west>north unheard, route-away west unheard")
}

// R7: at the end of a lease all heartbeats are old. What counts is the last one that
// members know of, not the clock.
func TestLagIsHeldAgainstWhatMembersKnow(t *testing.T) {
	w := newWorld("west east north", "")
	c := newCourt(t, w)
	c.run(20)
	w.down["west"] = true
	w.quiet["east"] = true
	c.want(c.run(60), "not ruled, held none quorum") // for a minute nobody decides
	w.quiet["east"] = false
	v, _ := c.until(judge.FailOver, 5)
	if f, _ := v.FailOver(); f.Lag != 0 || f.To != "east" {
		t.Errorf("%v with lag %v, want east, which has the last heartbeat", f, f.Lag)
	}
	// The member that told of the last heartbeat may be gone too.
	w = newWorld("west east north", "rome oslo")
	c = newCourt(t, w)
	c.run(20)
	w.stuck["east"], w.stuck["north"] = true, true
	c.run(2)
	w.down["west"], w.down["oslo"] = true, true
	v = c.run(3)
	c.want(v, "route-away west unheard, held fail-over west candidate")
}

// One failover, the next only after the cooldown, and never more than a few.
func TestCooldownAndBudget(t *testing.T) {
	w := newWorld("a b c d e", "")
	c := newCourt(t, w, func(c *judge.Config) { c.Window = 40 * time.Minute })
	c.run(20)
	for i, to := range []string{"b", "c", "d"} {
		w.down[w.lease.Holder] = true
		if i > 0 { // it has just been promoted
			if v := c.run(590); says(v) == "" || v.Held[len(v.Held)-1].Rule != judge.RuleCooldown {
				t.Fatalf("590 s after failover %d: %s", i, says(v))
			}
		}
		v, n := c.until(judge.FailOver, 11)
		f, _ := v.FailOver()
		if f.To != to || i > 0 && n < 5 {
			t.Fatalf("failover %d: %v after %d periods more, want %s", i+1, f, n, to)
		}
		w.promote(to)
		c.run(5)
		w.down = map[string]bool{}
	}
	w.down["d"] = true
	v := c.run(600)
	if last := v.Held[len(v.Held)-1]; last.Rule != judge.RuleBudget ||
		!strings.HasPrefix(last.Reason, "there were 3 failovers in the last 40m0s, and 3 are the most") {
		t.Errorf("ten minutes after the third failover: held %v", v.Held)
	}
	v, _ = c.until(judge.FailOver, 20*60)
	if since := w.now.Sub(c.state.Failovers[0].At); since > 40*time.Minute {
		t.Errorf("the oldest of %v is kept for %v", c.state.Failovers, since)
	}
	c.want(v, "fail-over d>e unheard, route-away d unheard")
}

// A judge that remembers nothing knows the cooldown from the lease.
func TestCooldownOfAForeignFailover(t *testing.T) {
	w := newWorld("west east north", "")
	w.promote("west")
	c := newCourt(t, w)
	c.run(20)
	w.down["west"] = true
	c.want(c.run(300), "route-away west unheard, held fail-over west cooldown")
	v, _ := c.until(judge.FailOver, 300)
	if since := w.now.Sub(w.lease.Since); since != 10*time.Minute {
		t.Errorf("%v came %v after the failover before, want 10 minutes", v.Findings[0], since)
	}
	// A lease that says it is from the future is from now.
	w = newWorld("west east north", "")
	c = newCourt(t, w)
	c.run(20)
	w.promote("east")
	w.lease.Since = w.now.Add(24 * time.Hour)
	c.run(5)
	w.down["east"] = true
	c.run(585)
	c.until(judge.FailOver, 12)
	// A switchover that was planned begins none.
	w = newWorld("west east north", "")
	w.lease.Since = w.now
	c = newCourt(t, w)
	c.run(20)
	w.down["west"] = true
	c.want(c.run(3), "fail-over west>east unheard, route-away west unheard")
}

// Whoever lost the lease is no candidate until somebody readmits it, however long it
// has been well and whatever happens to the others.
func TestNothingGoesBackByItself(t *testing.T) {
	w := newWorld("west east", "rome")
	c := newCourt(t, w)
	c.run(20)
	w.down["west"] = true
	c.until(judge.FailOver, 5)
	w.promote("east")
	c.run(20)
	w.down["west"] = false
	c.want(c.run(3600), "") // well again, and that is all
	w.down["east"] = true
	v := c.run(60)
	c.want(v, "route-away east unheard, held fail-over east candidate")
	if !strings.Contains(v.Held[0].Reason, "west lost the lease and was not readmitted") {
		t.Errorf("held %v, want it to say why not west", v.Held)
	}
	before, _ := json.Marshal(c.state)
	readmitted := c.state.Readmit("west")
	if after, _ := json.Marshal(c.state); string(after) != string(before) {
		t.Errorf("Readmit changed its receiver to %s", after)
	}
	c.state = readmitted
	c.want(c.run(1), "fail-over east>west unheard, route-away east unheard")

	// An operator who makes it the primary has readmitted it.
	w = newWorld("west east", "rome")
	c = newCourt(t, w)
	c.run(20)
	w.promote("east")
	c.run(1)
	if fmt.Sprint(c.state.Left) != "[west]" {
		t.Errorf("left: %v, want west", c.state.Left)
	}
	w.promote("west")
	c.run(1)
	if fmt.Sprint(c.state.Left) != "[east]" {
		t.Errorf("left: %v, want east", c.state.Left)
	}
	w.lease.Holder, w.lease.Epoch, w.lease.Unplanned = "east", 9, false
	c.run(1)
	if len(c.state.Left) != 0 {
		t.Errorf("left: %v, want none: west handed it over", c.state.Left)
	}
}

// A failover that was decided is said again until it is done, by the same words.
func TestDecisionStands(t *testing.T) {
	w := newWorld("west east north", "rome oslo")
	c := newCourt(t, w)
	c.run(20)
	w.down["west"] = true
	c.until(judge.FailOver, 5)
	for i := range 29 {
		// Two that know nothing, and two whose report is late: no cause for a period.
		w.blind["rome"], w.blind["oslo"] = i%5 == 0, i%5 == 0
		w.quiet["rome"], w.quiet["oslo"] = i%5 == 2, i%5 == 2
		v := c.run(1)
		if f, ok := v.FailOver(); i%5 != 0 && i%5 != 2 && (!ok || f.To != "east") {
			t.Fatalf("period %d: %s", i, says(v))
		}
	}
	w.quiet, w.blind = map[string]bool{}, map[string]bool{}
	if len(c.state.Failovers) != 1 {
		t.Errorf("failovers %v, want one", c.state.Failovers)
	}
	// It has had its time: another one is asked, and then the first again.
	got := ""
	for range 61 {
		f, _ := c.run(1).FailOver()
		if !strings.HasSuffix(got, f.To) {
			got += " " + f.To
		}
	}
	if got != " north east north" {
		t.Errorf("candidates in turn:%s, want north east north", got)
	}
	if len(c.state.Failovers) != 1 {
		t.Errorf("failovers %v, want one", c.state.Failovers)
	}
}

// A cause that is not to be seen for a period, because few know of it, has not ended.
func TestLateReportEndsNothing(t *testing.T) {
	w := newWorld("west east", "rome oslo riga")
	c := newCourt(t, w)
	c.run(20)
	w.down["west"] = true
	c.until(judge.FailOver, 5)
	w.blind["rome"], w.blind["oslo"] = true, true
	c.want(c.run(1), "route-away west quiet")
	w.blind = map[string]bool{}
	c.want(c.run(1), "fail-over west>east unheard, route-away west unheard")
	// If nobody has known anything of it for a while, it is another one.
	w.blind["rome"], w.blind["oslo"] = true, true
	c.want(c.run(6), "route-away west quiet")
	w.blind = map[string]bool{}
	c.want(c.run(5), "route-away west unheard, held fail-over west cooldown")
}

func TestChosenRegionFails(t *testing.T) {
	w := newWorld("west east north", "rome oslo")
	c := newCourt(t, w)
	c.run(20)
	w.down["west"] = true
	c.until(judge.FailOver, 5)
	w.broken["east"] = true
	v := c.run(10)
	c.want(v, "route-away west unheard, route-away east engine, held fail-over west candidate")
	if !strings.HasPrefix(v.Held[0].Reason, "east was chosen, is no longer fit, and has 30s") {
		t.Errorf("held %v, want it to say that east has its time", v.Held)
	}
	v, n := c.until(judge.FailOver, 30)
	if f, _ := v.FailOver(); f.To != "north" || n != 20 {
		t.Errorf("%v after %d periods more, want north after 20", v.Findings, n)
	}
	// Only east is left, and it is fit: it is told again.
	w.broken["east"], w.broken["north"] = false, true
	c.run(40)
	if f, ok := c.run(1).FailOver(); !ok || f.To != "east" {
		t.Errorf("with only east fit: %v", f)
	}
}

// The primary comes back before anybody was promoted: it stays the primary, and the
// next time has to wait.
func TestPrimaryComesBack(t *testing.T) {
	w := newWorld("west east north", "")
	c := newCourt(t, w)
	c.run(20)
	w.down["west"] = true
	c.until(judge.FailOver, 5)
	w.down["west"] = false
	c.want(c.run(1), "route-away west quiet")
	c.want(c.run(9), "")
	w.down["west"] = true
	c.want(c.run(60), "route-away west unheard, held fail-over west cooldown")
	w.down["west"] = false
	c.run(600)
	w.down["west"] = true
	c.want(c.run(5), "fail-over west>east unheard, route-away west unheard")
}

// What flaps is bad until it has been quiet, and not promoted.
func TestFlapping(t *testing.T) {
	w := newWorld("west east north", "")
	c := newCourt(t, w)
	c.run(20)
	turns := 0
	first := w.now
	was := false
	for i := range 600 { // a minute of which 20 seconds are bad
		w.down["north"] = i%60 < 20
		v := c.run(1)
		if is := v.Kind() == judge.RouteAway; is != was {
			was = is
			turns++
		}
	}
	if turns != 5 {
		t.Errorf("users were sent to and fro %d times in %v of flapping, want 5", turns, w.now.Sub(first))
	}
	w.down["north"] = false
	v := c.run(30)
	c.want(v, "route-away north quiet")
	if !strings.Contains(v.Findings[0].Reason, "it became so 3 times within 10m0s") {
		t.Errorf("reason %q, want it to tell of the flapping", v.Findings[0].Reason)
	}
	c.want(c.run(600), "")

	// A link that flaps does not flap in what is told of it either.
	for i := range 300 {
		w.cut[[2]string{"east", "north"}] = i%50 < 20
		c.run(1)
	}
	w.cut = map[[2]string]bool{}
	c.want(c.run(60), "one-way east>north link")
}

// An operator has changed the lease: what was decided for the old one is void.
func TestLeaseMovesOn(t *testing.T) {
	w := newWorld("west east north", "")
	c := newCourt(t, w)
	c.run(20)
	w.down["west"] = true
	c.until(judge.FailOver, 5)
	old := w.lease
	w.promote("north") // and not to east
	c.want(c.run(1), "route-away west unheard")
	if n := len(c.state.Failovers); n != 1 || c.state.Failovers[0].To != "north" {
		t.Errorf("failovers %+v, want the one, to north", c.state.Failovers)
	}
	now := w.lease
	w.lease = old
	v := c.run(1)
	c.want(v, "not ruled, held none lease")
	if c.state.Lease != now {
		t.Errorf("the state's lease is %+v, want %+v", c.state.Lease, now)
	}
}

func TestClocksThatJump(t *testing.T) {
	w := newWorld("west east north", "")
	c := newCourt(t, w)
	c.run(20)
	w.down["west"] = true
	c.until(judge.FailOver, 5)
	w.promote("east")
	w.down["west"] = false
	c.run(20)
	c.state = c.state.Readmit("west")
	// Half a minute back: nothing is counted twice, and time goes on from there.
	w.now = w.now.Add(-30 * time.Second)
	w.down["east"] = true
	c.want(c.run(20), "")
	c.want(c.run(20), "route-away east unheard, held fail-over east cooldown")
	// A day back: the cooldown begins again, and ends.
	w.now = w.now.Add(-24 * time.Hour)
	c.want(c.run(590), "route-away east unheard, held fail-over east cooldown")
	v, n := c.until(judge.FailOver, 12)
	if n < 10 {
		t.Errorf("%v came %d periods after 590, want it after the cooldown", v.Findings, n)
	}
}
