package judge_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/judge"
)

func seedFlags() (first, count uint64) {
	get := func(name string) uint64 { return flag.Lookup(name).Value.(flag.Getter).Get().(uint64) }
	return get("seed"), get("seeds")
}

func TestMain(m *testing.M) {
	flag.Uint64("seed", 1, "the first seed of simulations")
	flag.Uint64("seeds", 10, "how many seeds are simulated")
	flag.Parse()
	m.Run()
}

// forSeeds runs a simulation for each seed and says which one failed.
func forSeeds(t *testing.T, run func(seed uint64, dice *rand.Rand) error) {
	t.Helper()
	first, count := seedFlags()
	for seed := first; seed < first+count; seed++ {
		if err := run(seed, rand.New(rand.NewPCG(seed, 0))); err != nil {
			t.Errorf("-seed %d -seeds 1: %v", seed, err)
		}
	}
}

// Whatever flaps, and how: users are sent to and fro a few times, and the lease moves a
// few times.
func TestFlappingIsDamped(t *testing.T) {
	forSeeds(t, func(_ uint64, dice *rand.Rand) error {
		w := newWorld("a b c", "x y")
		c := newCourt(t, w)
		bads, goods := 1+dice.IntN(30), 1+dice.IntN(90)
		turn := map[string]int{}
		var moves int
		turned := map[string][]time.Time{}
		for i := range 1800 {
			for _, r := range w.regions {
				if i == turn[r] {
					w.down[r] = !w.down[r]
					turn[r] = i + 1 + dice.IntN(goods)
					if w.down[r] {
						turn[r] = i + 1 + dice.IntN(bads)
					}
				}
			}
			was := c.state
			if f, ok := c.run(1).FailOver(); ok {
				moves++
				w.promote(f.To)
				c.state = c.state.Readmit(f.From)
			}
			for _, r := range w.regions {
				if key := "lost " + r; c.state.Signals[key].On && !was.Signals[key].On {
					turned[r] = append(turned[r], w.now)
				}
			}
		}
		if moves > 3 {
			return fmt.Errorf("%d failovers in half an hour", moves)
		}
		for r, at := range turned {
			for i := 3; i < len(at); i++ {
				if at[i].Sub(at[i-3]) < 10*time.Minute {
					return fmt.Errorf("%s was found lost at %v", r, at)
				}
			}
		}
		return nil
	})
}

const (
	// takeover is how long after a decision the lease moves: TTL and guard.
	takeover = 6 * time.Second
	// simCooldown and simWindow are short, so that there is much to see.
	simCooldown = 2 * time.Minute
	simWindow   = 15 * time.Minute
	// settled is how long a Region must really have been well until the judge has no
	// excuse not to promote it.
	settled = 20
)

// An ending is when a fault ends, and how.
type ending struct {
	period int
	end    func()
}

// A trialRun is a deployment with faults, a judge, and somebody who carries out what it
// says.
type trialRun struct {
	*court
	dice *rand.Rand
	ends []ending

	due     time.Time // when the lease moves to To
	to      string
	moves   []time.Time
	ill     map[string][]bool // of each Region, whether a majority really could not work with it
	stopped int               // for so many periods the primary could not renew its lease
	ruled   int               // for so many periods a majority has reported
}

// Deployments of 3 to 7 Regions go through faults of every kind for half an hour. What
// is decided is held against what is really so.
func TestSimulation(t *testing.T) {
	var failovers, chances int
	forSeeds(t, func(_ uint64, dice *rand.Rand) error {
		names := "a b c d e f g"[:2*(3+dice.IntN(5))-1]
		witnesses := ""
		if len(names)/2%2 == 1 { // an even number of Regions
			witnesses = "x"
		}
		w := newWorld(names, witnesses)
		s := &trialRun{court: newCourt(t, w, func(c *judge.Config) {
			c.Cooldown, c.Window, c.FlapWindow, c.MaxFailovers = simCooldown, simWindow, simCooldown, 4
		}), dice: dice, ill: map[string][]bool{}}
		for i := range 1800 {
			if i > settled {
				s.fault(i)
			}
			if err := s.period(); err != nil {
				return fmt.Errorf("period %d: %w", i, err)
			}
			if s.mustAct() {
				chances++
			}
		}
		failovers += len(s.moves)
		return nil
	})
	t.Logf("%d failovers, and %d periods that demanded one", failovers, chances)
	if _, count := seedFlags(); count >= 10 && (failovers < int(count) || chances < int(count)) {
		t.Errorf("%d failovers and %d periods that demanded one in %d runs: the faults are too tame", failovers, chances, count)
	}
}

// fault begins and ends faults.
func (s *trialRun) fault(period int) {
	var on []ending
	for _, e := range s.ends {
		if e.period > period {
			on = append(on, e)
		} else {
			e.end()
		}
	}
	s.ends = on
	if s.dice.IntN(30) > 0 {
		return
	}
	pick := func() string { return s.members()[s.dice.IntN(len(s.members()))] }
	region := s.regions[s.dice.IntN(len(s.regions))]
	if s.dice.IntN(3) == 0 {
		region = s.lease.Holder
	}
	link := [2]string{pick(), pick()}
	var end func()
	set := func(m map[string]bool, key string) {
		m[key] = true
		end = func() { delete(m, key) }
	}
	switch s.dice.IntN(8) {
	case 0, 1:
		set(s.down, region)
	case 2:
		set(s.broken, region)
	case 3:
		set(s.stuck, region)
	case 4:
		set(s.quiet, pick())
	case 5:
		s.cut[link] = true
		end = func() { delete(s.cut, link) }
	case 6:
		isolate(s.world, region)
		end = func() { s.cut = map[[2]string]bool{} }
	case 7:
		s.clocks[region] = time.Duration(s.dice.IntN(20)-10) * time.Second
		end = func() { delete(s.clocks, region) }
	}
	s.ends = append(s.ends, ending{period + 1 + s.dice.IntN(90), end})
}

// period lets a second go by, has the judge look, and carries out what was decided.
func (s *trialRun) period() error {
	for _, r := range s.regions {
		s.ill[r] = append(s.ill[r], s.unwell(r))
	}
	// A primary without a majority has no lease soon, and writes no heartbeats then.
	if s.stopped++; !s.unwell(s.lease.Holder) {
		s.stopped = 0
	}
	holder, broken := s.lease.Holder, s.broken[s.lease.Holder]
	s.broken[holder] = broken || s.stopped > 5
	s.tick()
	if !broken {
		delete(s.broken, holder)
	}
	before := s.state
	in := s.observations()
	if s.ruled++; 2*len(in.Reports) <= len(s.members()) {
		s.ruled = 0
	}
	var v judge.Verdict
	s.state, v = s.rules.Judge(s.state, in, s.now)
	if err := s.check(before, in, v); err != nil {
		return fmt.Errorf("%w; verdict %v, held %v", err, v.Findings, v.Held)
	}
	if !s.due.IsZero() && !s.now.Before(s.due) {
		if !s.down[s.to] && s.dice.IntN(4) > 0 { // else it failed, and is to be said again
			s.promote(s.to)
			s.moves = append(s.moves, s.now)
			s.stopped = 0
		}
		s.due = time.Time{}
	} else if f, ok := v.FailOver(); ok && s.due.IsZero() {
		s.due, s.to = s.now.Add(takeover), f.To
	}
	if s.dice.IntN(200) == 0 {
		s.state = s.state.Readmit(s.regions[s.dice.IntN(len(s.regions))])
	}
	return nil
}

// unwell is the truth: a majority of members can't work with a Region.
func (s *trialRun) unwell(region string) bool {
	n := 0
	for _, m := range s.members() {
		if s.down[m] || !s.both(m, region) || s.broken[region] {
			n++
		}
	}
	return 2*n > len(s.members())
}

// check holds a verdict against the truth.
func (s *trialRun) check(before judge.State, in judge.Observations, v judge.Verdict) error {
	quorum := 2*len(in.Reports) > len(s.members())
	if v.Ruled != quorum {
		return fmt.Errorf("%d of %d members reported, ruled: %v", len(in.Reports), len(s.members()), v.Ruled)
	}
	f, ok := v.FailOver()
	if !ok {
		if s.mustAct() && quorum && s.free(before) {
			return fmt.Errorf("no failover from %s, and there should be one", s.lease.Holder)
		}
		return nil
	}
	c := s.rules.Config()
	bad := 0
	for _, ill := range last(s.ill[f.From], c.Lost.Of) {
		if ill {
			bad++
		}
	}
	if bad < c.Lost.Bad {
		return fmt.Errorf("a failover from %s, which was unwell in %d of %d periods", f.From, bad, c.Lost.Of)
	}
	if s.unwell(f.To) || slices.Contains(before.Left, f.To) {
		return fmt.Errorf("a failover to %s, which is unwell or has left (%v)", f.To, before.Left)
	}
	for _, r := range in.Reports {
		for _, view := range r.Views {
			if view.Beat.Epoch == s.lease.Epoch && view.Beat.N > s.beats[f.To].N+10*uint64(c.MaxLag/time.Second) {
				return fmt.Errorf("a failover to %s with heartbeat %+v, and %s knows of %+v", f.To, s.beats[f.To], r.Member, view.Beat)
			}
		}
	}
	return s.few(before, c)
}

// few checks that failovers are far apart. One that was decided for this epoch is said
// again.
func (s *trialRun) few(before judge.State, c judge.Config) error {
	if n := len(before.Failovers); n > 0 && before.Failovers[n-1].Epoch == s.lease.Epoch && before.Decision.Open {
		return nil
	}
	n := len(s.moves)
	if n > 0 && s.now.Sub(s.moves[n-1]) < c.Cooldown {
		return fmt.Errorf("a failover %v after the one before", s.now.Sub(s.moves[n-1]))
	}
	if n >= c.MaxFailovers && s.now.Sub(s.moves[n-c.MaxFailovers]) < c.Window {
		return fmt.Errorf("%d failovers within %v", c.MaxFailovers+1, s.now.Sub(s.moves[n-c.MaxFailovers]))
	}
	return nil
}

// mustAct is the truth: the primary has been lost for long enough to be sure, and some
// Region has been well for long enough and has all there is.
func (s *trialRun) mustAct() bool {
	holder := s.lease.Holder
	if slices.Contains(last(s.ill[holder], settled), false) || s.ruled < settled {
		return false
	}
	return slices.ContainsFunc(s.regions, func(r string) bool {
		return r != holder && s.sound(r)
	})
}

// sound is the truth of a candidate that nothing can be said against.
func (s *trialRun) sound(region string) bool {
	long := last(s.ill[region], int(simCooldown/time.Second)+settled)
	most := uint64(0)
	for _, r := range s.regions {
		if s.beats[r].Epoch == s.lease.Epoch {
			most = max(most, s.beats[r].N)
		}
	}
	for _, m := range s.members() { // all who are there see it and are seen
		if s.quiet[m] || !s.down[m] && m != s.lease.Holder && !s.both(m, region) {
			return false
		}
	}
	return !slices.Contains(long, true) && !slices.Contains(s.state.Left, region) && s.clocks[region] == 0 &&
		s.beats[region].Epoch == s.lease.Epoch && s.beats[region].N == most && s.hears(region, s.seat())
}

// free: nothing but the candidates can hold a failover back.
func (s *trialRun) free(before judge.State) bool {
	if before.Decision.Open || len(before.Failovers) >= 4 {
		return false
	}
	n := len(before.Failovers)
	return n == 0 || s.now.Sub(before.Failovers[n-1].At) >= simCooldown
}

func last[T any](all []T, n int) []T { return all[max(0, len(all)-n):] }
