package judge_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/judge/alarm"
)

func isolate(w *world, member string) {
	for _, other := range w.members() {
		if other != member {
			w.cut[[2]string{member, other}], w.cut[[2]string{other, member}] = true, true
		}
	}
}

// A trial is a fault, and the verdict after 20 periods of it.
type trial struct {
	name  string
	world string // Regions | witnesses
	fault func(*world)
	want  string
}

func trialsOfRegions() []trial {
	return []trial{
		{"all is well", "west east north|", func(*world) {}, ""},
		{
			"the primary is gone", "west east north|", func(w *world) { w.down["west"] = true },
			"fail-over west>east unheard, route-away west unheard",
		},
		{
			"two Regions and a witness", "west east|rome", func(w *world) { w.down["west"] = true },
			"fail-over west>east unheard, route-away west unheard",
		},
		{
			"the primary is cut off", "west east north|", func(w *world) { isolate(w, "west") },
			"fail-over west>east unheard, route-away west unheard",
		},
		{"the primary hears nobody", "west east north|", func(w *world) {
			w.cut[[2]string{"east", "west"}], w.cut[[2]string{"north", "west"}] = true, true
		}, "fail-over west>east deaf, route-away west deaf"},
		{"nobody hears the primary", "west east north|", func(w *world) {
			w.cut[[2]string{"west", "east"}], w.cut[[2]string{"west", "north"}] = true, true
		}, "fail-over west>east unheard, route-away west unheard"},
		{"one does not hear it, it does not hear another", "west east north|", func(w *world) {
			w.cut[[2]string{"west", "east"}], w.cut[[2]string{"north", "west"}] = true, true
		}, "fail-over west>north cut-off, route-away west cut-off, degrade west>east behind"},
		{
			"the primary's engine is down", "west east north|", func(w *world) { w.broken["west"] = true },
			"fail-over west>east engine, route-away west engine",
		},
		{"a secondary is gone", "west east north|", func(w *world) { w.down["north"] = true }, "route-away north unheard"},
		{"a secondary's engine is down", "west east north|", func(w *world) { w.broken["north"] = true }, "route-away north engine"},
		{"the witness is gone", "west east|rome", func(w *world) { w.down["rome"] = true }, ""},
	}
}

func trialsOfMajorities() []trial {
	return []trial{
		{
			"two of three are gone", "west east north|", func(w *world) { w.down["west"], w.down["east"] = true, true },
			"not ruled, held none quorum",
		},
		{"all are cut off from all", "west east north|", func(w *world) {
			isolate(w, "west")
			isolate(w, "east")
		}, "not ruled, held none quorum"},
		{
			"half of four members", "west east|rome oslo", func(w *world) { w.down["west"], w.down["rome"] = true, true },
			"not ruled, held none quorum",
		},
		{"three of five hear it no more", "west east north|rome oslo", func(w *world) {
			for _, m := range []string{"east", "north", "rome"} {
				w.cut[[2]string{"west", m}] = true
			}
			// Its engine goes on and oslo knows it: what the others lack is too much.
		}, "route-away west unheard, degrade west>east behind, degrade west>north behind, held fail-over west candidate"},
		{
			"three of five lose it", "west east north|rome oslo", func(w *world) { w.down["west"], w.down["oslo"] = true, true },
			"fail-over west>east unheard, route-away west unheard",
		},
		{"two of five hear it no more", "west east north|rome oslo", func(w *world) {
			w.cut[[2]string{"west", "rome"}], w.cut[[2]string{"west", "oslo"}] = true, true
		}, ""},
		{"users would have nowhere to go", "west east north|", func(w *world) {
			w.broken["west"], w.broken["east"], w.broken["north"] = true, true, true
		}, "held route-away west last, held route-away east last, held route-away north last, held fail-over west candidate"},
		{
			"one Region is all", "west|", func(w *world) { w.broken["west"] = true },
			"held route-away west last, held fail-over west candidate",
		},
	}
}

func trialsOfLinks() []trial {
	return []trial{
		{
			"one way is dead", "west east north|", func(w *world) { w.cut[[2]string{"west", "north"}] = true },
			"one-way west>north link, degrade north>west failing, degrade west>north behind",
		},
		{
			"the other way is dead", "west east north|", func(w *world) { w.cut[[2]string{"north", "west"}] = true },
			"one-way north>west link, degrade north>west failing",
		},
		{"both ways are dead", "west east north|", func(w *world) {
			w.cut[[2]string{"west", "north"}], w.cut[[2]string{"north", "west"}] = true, true
		}, "degrade west>north link, degrade north>west link, degrade north>west failing, degrade west>north behind"},
		{
			"a link between secondaries", "west east north|", func(w *world) { w.cut[[2]string{"east", "north"}] = true },
			"one-way east>north link",
		},
		{
			"writes are slow", "west east north|", func(w *world) { w.p99[[2]string{"north", "west"}] = 500 * time.Millisecond },
			"degrade north>west slow",
		},
		{"writes are nearly slow", "west east north|", func(w *world) { w.p99[[2]string{"north", "west"}] = 499 * time.Millisecond }, ""},
		{"some writes fail", "west east north|", func(w *world) { w.failing[[2]string{"east", "west"}] = 5 }, "degrade east>west failing"},
		{"few writes fail", "west east north|", func(w *world) { w.failing[[2]string{"east", "west"}] = 4 }, ""},
		{"writes fail in most Regions", "west east north|", func(w *world) {
			w.failing[[2]string{"west", "west"}], w.failing[[2]string{"east", "west"}] = 50, 50
		}, "fail-over west>east writes, degrade west failing, degrade east>west failing"},
		{
			"writes fail in one Region", "west east north|", func(w *world) { w.failing[[2]string{"west", "west"}] = 100 },
			"degrade west failing",
		},
		{"writes nearly fail in most Regions", "west east north|", func(w *world) {
			w.failing[[2]string{"west", "west"}], w.failing[[2]string{"east", "west"}] = 49, 49
		}, "degrade west failing, degrade east>west failing"},
		{"a secondary is behind", "west east north|", func(w *world) { w.stuck["east"] = true }, "degrade west>east behind"},
		{"a clock is fast", "west east north|", func(w *world) { w.clocks["east"] = 6 * time.Second }, "degrade east clock"},
		{"a clock is slow", "west east north|", func(w *world) { w.clocks["east"] = -6 * time.Second }, "degrade east clock"},
	}
}

func TestVerdicts(t *testing.T) {
	for _, c := range slices.Concat(trialsOfRegions(), trialsOfMajorities(), trialsOfLinks()) {
		regions, witnesses, _ := strings.Cut(c.world, "|")
		w := newWorld(regions, witnesses)
		j := newCourt(t, w)
		if v := j.run(20); says(v) != "" {
			t.Errorf("%s: before it, %s", c.name, says(v))
		}
		c.fault(w)
		if v := j.run(20); says(v) != c.want {
			t.Errorf("%s: %s, want %s", c.name, says(v), c.want)
		}
	}
}

// Where all Regions take writes there is nothing to fail over.
func TestActiveActive(t *testing.T) {
	w := newWorld("west east north", "")
	w.lease = judge.Lease{}
	c := newCourt(t, w)
	c.want(c.run(20), "")
	w.down["west"] = true
	c.want(c.run(20), "route-away west unheard")
	w.alarms = []alarm.Raised{{Alarm: "x", Feed: alarm.FeedFailOver}}
	c.want(c.run(1), "route-away west unheard")
}

// look has the judge look at what the world reports, changed.
func (c *court) look(periods int, change func(*judge.Report)) (v judge.Verdict) {
	for range periods {
		c.tick()
		in := c.observations()
		for i := range in.Reports {
			change(&in.Reports[i])
		}
		c.state, v = c.rules.Judge(c.state, in, c.now)
	}
	return v
}

// Who knows whether what north sends arrives in east.
func TestWhoKnowsOfALink(t *testing.T) {
	for _, c := range []struct {
		in, out   judge.Sight // what east says of north, and north of east
		back      judge.Sight // what north hears of east
		want      string
		otherWise string
	}{
		{judge.Down, judge.Unseen, judge.Up, "one-way north>east link", "the other direction is not"},
		{judge.Down, judge.Unseen, judge.Down, "degrade east>north link, degrade north>east link", "so is the other direction"},
		{judge.Down, judge.Unseen, judge.Unseen, "degrade north>east link", "of the other direction nothing is known"},
		{judge.Up, judge.Down, judge.Up, "", ""}, // who receives knows best
		{judge.Down, judge.Up, judge.Up, "one-way north>east link", "the other direction is not"},
		{judge.Unseen, judge.Down, judge.Up, "one-way north>east link", "the other direction is not"},
		{judge.Unseen, judge.Up, judge.Up, "", ""},
		{judge.Unseen, judge.Unseen, judge.Up, "", ""},
	} {
		j := newCourt(t, newWorld("west east north", "rome oslo"))
		v := j.look(20, func(r *judge.Report) {
			switch r.Member {
			case "east":
				r.Views[2].In, r.Views[2].Out = c.in, judge.Unseen
			case "north":
				r.Views[1].In, r.Views[1].Out = c.back, c.out
			}
		})
		if says(v) != c.want || c.want != "" && !strings.HasSuffix(v.Findings[0].Reason, c.otherWise) {
			t.Errorf("%+v: %s, %v", c, says(v), v.Findings)
		}
	}
}

// Too few writes say nothing, though all of them fail.
func TestFewWritesSayNothing(t *testing.T) {
	for count, want := range map[int]string{
		9: "", 10: "fail-over west>east writes, degrade west failing, degrade east>west failing, degrade north>west failing",
	} {
		c := newCourt(t, newWorld("west east north", ""))
		c.want(c.look(20, func(r *judge.Report) {
			r.Writes = []judge.Writes{{To: "west", Count: count, Failed: count}}
		}), want)
	}
}

// What few say while too few report is not remembered.
func TestNothingIsLearnedWithoutAMajority(t *testing.T) {
	w := newWorld("west east north", "")
	c := newCourt(t, w)
	c.run(20)
	w.quiet["west"], w.quiet["north"] = true, true
	v := c.look(9, func(r *judge.Report) {
		r.Views[2].In = judge.Down
		r.Views[0].Beat.N += 1000 // nobody else knows of it
		r.Views[0].Beat.At = r.Views[0].Beat.At.Add(100 * time.Second)
	})
	c.want(v, "not ruled, held none quorum")
	w.quiet = map[string]bool{}
	c.want(c.run(1), "")
	w.down["west"] = true
	c.want(c.run(3), "fail-over west>east unheard, route-away west unheard")
}

// How long each thing takes, and how long it stays.
func TestHysteresis(t *testing.T) {
	w := newWorld("west east north", "")
	c := newCourt(t, w)
	c.run(20)
	w.down["north"] = true
	if _, n := c.until(judge.RouteAway, 10); n != 3 {
		t.Errorf("a Region that is gone is left after %d periods, want 3", n)
	}
	w.down["north"] = false
	for range 9 {
		if v := c.run(1); says(v) != "route-away north quiet" {
			t.Fatalf("while it comes back: %s", says(v))
		}
	}
	c.want(c.run(1), "")

	// Two bad periods of five are not enough, however often.
	for range 20 {
		w.down["north"] = true
		c.want(c.run(2), "")
		w.down["north"] = false
		c.want(c.run(3), "")
	}
	// Three of five are, although they are not in a row.
	pattern := []bool{true, false, true, false, true}
	var v judge.Verdict
	for _, down := range pattern {
		w.down["north"] = down
		v = c.run(1)
	}
	c.want(v, "route-away north unheard")
	// The good periods that end it are to be in a row.
	w.down["north"] = false
	c.run(9)
	w.down["north"] = true
	c.run(1)
	w.down["north"] = false
	c.want(c.run(9), "route-away north quiet")
	c.want(c.run(1), "")
}

// Missing reports are neither good nor bad news.
func TestMissingIsNoNews(t *testing.T) {
	w := newWorld("west east north", "rome oslo")
	c := newCourt(t, w)
	c.run(20)
	// Three of five report, and one of them hears the primary: nothing is lost.
	isolate(w, "west")
	delete(w.cut, [2]string{"west", "east"})
	delete(w.cut, [2]string{"east", "west"})
	w.quiet["north"], w.quiet["west"] = true, true
	c.want(c.run(30), "")

	// A Region that was lost does not come back because nobody says anything.
	w = newWorld("west east north", "rome oslo")
	c = newCourt(t, w)
	c.run(20)
	w.down["north"] = true
	c.want(c.run(5), "route-away north unheard")
	w.down["north"], w.quiet["north"], w.quiet["rome"], w.quiet["oslo"] = false, true, true, true
	c.want(c.run(30), "not ruled, held none quorum")
	w.quiet["oslo"] = false
	// west, east and oslo see it well: a majority, from now on.
	c.want(c.run(9), "route-away north quiet")
	c.want(c.run(1), "")
}

func TestStaleAndStrangeReports(t *testing.T) {
	w := newWorld("west east north", "")
	c := newCourt(t, w)
	c.run(20)
	w.tick()
	good := w.observations()
	for name, change := range map[string]func(*judge.Report){
		"too old":       func(r *judge.Report) { r.At = w.now.Add(-2501 * time.Millisecond) },
		"yet to come":   func(r *judge.Report) { r.At = w.now.Add(2501 * time.Millisecond) },
		"of a stranger": func(r *judge.Report) { r.Member = "south" },
		"of another":    func(r *judge.Report) { r.Member = "west" },
	} {
		in := judge.Observations{Lease: w.lease, Reports: []judge.Report{good.Reports[0], good.Reports[1]}}
		change(&in.Reports[1])
		if _, v := c.rules.Judge(c.state, in, w.now); says(v) != "not ruled, held none quorum" {
			t.Errorf("with one report that is %s: %s", name, says(v))
		}
	}
	in := judge.Observations{Lease: w.lease, Reports: []judge.Report{good.Reports[0], good.Reports[1]}}
	in.Reports[1].At = w.now.Add(-2500 * time.Millisecond)
	if _, v := c.rules.Judge(c.state, in, w.now); !v.Ruled {
		t.Errorf("with a report just fresh enough: %s", says(v))
	}
}

// Of several reports by one member the newest counts, in whatever order they come.
func TestNewestReportCounts(t *testing.T) {
	w := newWorld("west east north", "")
	c := newCourt(t, w)
	c.run(20)
	was := w.observations().Reports
	w.down["north"] = true
	var v judge.Verdict
	for range 3 {
		w.tick()
		in := judge.Observations{Lease: w.lease}
		for _, r := range was {
			r.At = w.now.Add(-time.Second)
			in.Reports = append(in.Reports, r)
		}
		in.Reports = append(in.Reports, w.observations().Reports...)
		for _, r := range was {
			r.At = w.now.Add(-2 * time.Second)
			in.Reports = append(in.Reports, r)
		}
		c.state, v = c.rules.Judge(c.state, in, w.now)
	}
	c.want(v, "route-away north unheard")
}

func TestReasonsHaveFigures(t *testing.T) {
	w := newWorld("west east north", "")
	c := newCourt(t, w)
	c.run(20)
	w.down["west"] = true
	v, _ := c.until(judge.FailOver, 10)
	f, _ := v.FailOver()
	want := "fail-over west to east: west is lost to 2 of 3 members (2 are a majority); unheard by east, north; " +
		"bad in 3 of the last 5 periods of 1s (3 are enough); east is 0s behind, north is 0s behind (rule unheard)"
	if got := f.String(); got != want {
		t.Errorf("finding %q, want %q", got, want)
	}
	w.promote("east")
	c.run(20)
	w.down["east"], w.down["west"] = true, false
	v = c.run(5)
	if len(v.Held) != 1 || !strings.HasPrefix(v.Held[0].Reason, "there was a failover 25s ago, and there is none for 10m0s after one; east is lost") {
		t.Errorf("held %v, want the cooldown with its figures", v.Held)
	}
}

func TestAlarmsFeedTheJudge(t *testing.T) {
	raise := func(region string, feed alarm.Feed) alarm.Raised {
		return alarm.Raised{Alarm: "p99", Region: region, Feed: feed, Reason: "3 of 3"}
	}
	for _, c := range []struct {
		alarm alarm.Raised
		want  string
	}{
		{raise("west", alarm.FeedFailOver), "fail-over west>east alarm"},
		{raise("east", alarm.FeedFailOver), "degrade east alarm"},
		{raise("west", alarm.FeedDegrade), "degrade west alarm"},
		{raise("west", alarm.FeedRouteAway), "route-away west alarm"},
		{raise("south", alarm.FeedFailOver), ""},
		{raise("west", alarm.FeedNone), ""},
	} {
		w := newWorld("west east north", "")
		j := newCourt(t, w)
		j.run(20)
		w.alarms = []alarm.Raised{c.alarm}
		v := j.run(1)
		j.want(v, c.want)
		if len(v.Findings) == 1 && !strings.HasPrefix(v.Findings[0].Reason, "alarm p99: 3 of 3") {
			t.Errorf("reason %q, want the alarm's", v.Findings[0].Reason)
		}
	}
	// Users are not sent to a Region that they should leave.
	w := newWorld("west east north", "")
	j := newCourt(t, w)
	j.run(20)
	w.alarms = []alarm.Raised{raise("east", alarm.FeedRouteAway)}
	w.down["west"] = true
	v, _ := j.until(judge.FailOver, 10)
	j.want(v, "fail-over west>north unheard, route-away west unheard, route-away east alarm")
}

func TestModes(t *testing.T) {
	for mode, want := range map[judge.Mode]string{
		"":              "fail-over west>east unheard, route-away west unheard",
		judge.Automatic: "fail-over west>east unheard, route-away west unheard",
		judge.Advise:    "fail-over west>east unheard, route-away west unheard",
		judge.Off:       "held route-away west mode, held fail-over west mode",
	} {
		w := newWorld("west east north", "")
		c := newCourt(t, w, func(c *judge.Config) { c.Mode = mode })
		c.run(20)
		w.down["west"] = true
		v := c.run(3)
		c.want(v, want)
		for _, f := range v.Findings {
			if acts := mode != judge.Advise; f.Act != acts {
				t.Errorf("mode %q: %v has Act %v, want %v", mode, f, f.Act, acts)
			}
		}
		// What is only advised starts no cooldown: the advice stands, and a judge that
		// is made automatic acts at once.
		if mode == judge.Advise {
			w.down["west"] = false
			c.run(15)
			w.down["west"] = true
			c.want(c.run(3), want)
			c.rules = newCourt(t, w).rules
			if f, ok := c.run(1).FailOver(); !ok || !f.Act {
				t.Errorf("made automatic: %v, want a failover that acts", f)
			}
		}
	}
}
