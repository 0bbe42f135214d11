package judge

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// A Mode says what an operator lets the judge do.
type Mode string

// The modes. Automatic is the default.
const (
	Automatic Mode = "automatic" // its findings are to be carried out
	Advise    Mode = "advise"    // they are to be shown
	Off       Mode = "off"       // there is none about failovers and users; it goes on watching
)

// A Hysteresis says when something counts as bad, and when as good again.
type Hysteresis struct {
	Bad  int // so many bad periods, M, ...
	Of   int // ... of the last so many, N, with the last one bad, make it bad
	Good int // so many good periods without a break make it good again
}

// Config is what a judge goes by. It is plain data; the zero of a quantity means its
// default.
type Config struct {
	// Regions are the Regions, in the order in which they should be promoted where
	// they are equally caught up: the nearest to the others first. 1 to 15.
	Regions []string
	// Witnesses are the members that keep no sessions. At most 15.
	Witnesses []string
	// Barred are Regions that an operator does not want promoted.
	Barred []string
	Mode   Mode // Automatic

	Period time.Duration // how often Judge is called; 1s
	Fresh  time.Duration // how old a report may be; 2.5 periods

	Lost     Hysteresis // for Regions: 3 of 5, 10 good
	Impaired Hysteresis // for links, lag and clocks: 5 of 10, 10 good

	MaxLag   time.Duration // how far a candidate may be behind; 1s
	MaxClock time.Duration // how wrong the clock of a candidate's server may be; 5s
	Stale    time.Duration // lag from which a secondary is degraded; 10s

	SlowWrites  time.Duration // p99 from which writes between two Regions are slow; 500ms
	FailedShare float64       // share of failed writes that impairs a link; 0.05
	LostShare   float64       // share that, seen by most Regions, means the primary is lost; 0.5
	MinWrites   int           // fewer writes in a period say nothing; 10

	Cooldown     time.Duration // after a failover, until the next; 10m
	MaxFailovers int           // at most so many ...
	Window       time.Duration // ... in so long; 3 in 6h
	Attempt      time.Duration // how long a candidate has to become the primary; 30s

	MaxFlaps   int           // turning bad so many times ...
	FlapWindow time.Duration // ... in so long is flapping; 3 in 10m
}

// withDefaults returns c with its zeros filled in. Where the figures come from is in
// docs/judge.md.
func (c Config) withDefaults() Config {
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	count := func(n *int, def int) {
		if *n == 0 {
			*n = def
		}
	}
	if c.Mode == "" {
		c.Mode = Automatic
	}
	set(&c.Period, time.Second)
	set(&c.Fresh, c.Period*5/2)
	set(&c.MaxLag, time.Second)
	set(&c.MaxClock, 5*time.Second)
	set(&c.Stale, 10*time.Second)
	set(&c.SlowWrites, 500*time.Millisecond)
	set(&c.Cooldown, 10*time.Minute)
	set(&c.Window, 6*time.Hour)
	set(&c.Attempt, 30*time.Second)
	set(&c.FlapWindow, 10*time.Minute)
	count(&c.MinWrites, 10)
	count(&c.MaxFailovers, 3)
	count(&c.MaxFlaps, 3)
	if c.Lost == (Hysteresis{}) {
		c.Lost = Hysteresis{Bad: 3, Of: 5, Good: 10}
	}
	if c.Impaired == (Hysteresis{}) {
		c.Impaired = Hysteresis{Bad: 5, Of: 10, Good: 10}
	}
	if c.FailedShare == 0 {
		c.FailedShare = 0.05
	}
	if c.LostShare == 0 {
		c.LostShare = 0.5
	}
	return c
}

const (
	// mostNamed bounds Regions, and witnesses: as many as Regions have numbers.
	mostNamed = 15
	// mostPeriods bounds what a Hysteresis looks at: the bits of a signal.
	mostPeriods = 32
	// mostKept bounds MaxFailovers and MaxFlaps, and with them what a State keeps.
	mostKept = 32
)

// check returns every fault of a configuration that has its defaults.
func (c Config) check() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(len(c.Regions) < 1 || len(c.Regions) > mostNamed, "%d Regions: want 1 to %d", len(c.Regions), mostNamed)
	fault(len(c.Witnesses) > mostNamed, "%d witnesses: want at most %d", len(c.Witnesses), mostNamed)
	seen := map[string]bool{}
	for _, name := range slices.Concat(c.Regions, c.Witnesses) {
		fault(name == "", "a member without a name")
		fault(seen[name], "member %q: there are two of that name", name)
		seen[name] = true
	}
	for _, name := range c.Barred {
		fault(!slices.Contains(c.Regions, name), "barred %q: there is no such Region", name)
	}
	fault(c.Mode != Automatic && c.Mode != Advise && c.Mode != Off, "mode %q: want automatic, advise or off", c.Mode)
	faults = append(faults, c.Lost.check("lost"), c.Impaired.check("impaired"))
	for _, d := range []struct {
		name string
		d    time.Duration
	}{
		{"period", c.Period},
		{"fresh", c.Fresh},
		{"max lag", c.MaxLag},
		{"max clock", c.MaxClock},
		{"stale", c.Stale},
		{"slow writes", c.SlowWrites},
		{"cooldown", c.Cooldown},
		{"window", c.Window},
		{"attempt", c.Attempt},
		{"flap window", c.FlapWindow},
	} {
		fault(d.d < 0, "%s %v: want more than nothing", d.name, d.d)
	}
	fault(c.Fresh < c.Period, "fresh %v: want at least the period, %v", c.Fresh, c.Period)
	fault(!share(c.FailedShare), "failed share %v: want more than 0, at most 1", c.FailedShare)
	fault(!share(c.LostShare), "lost share %v: want more than 0, at most 1", c.LostShare)
	fault(c.MinWrites < 1, "min writes %d: want 1 or more", c.MinWrites)
	fault(c.MaxFailovers < 1 || c.MaxFailovers > mostKept, "max failovers %d: want 1 to %d", c.MaxFailovers, mostKept)
	fault(c.MaxFlaps < 1 || c.MaxFlaps > mostKept, "max flaps %d: want 1 to %d", c.MaxFlaps, mostKept)
	return errors.Join(faults...)
}

func share(x float64) bool { return x > 0 && x <= 1 }

func (h Hysteresis) check(name string) error {
	if h.Bad < 1 || h.Bad > h.Of || h.Of > mostPeriods || h.Good < 1 || h.Good > mostPeriods {
		return fmt.Errorf("%s %+v: want 1 <= Bad <= Of <= %d and 1 <= Good <= %d", name, h, mostPeriods, mostPeriods)
	}
	return nil
}
