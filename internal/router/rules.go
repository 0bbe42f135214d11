package router

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// Rules are what plans decide by, as plain data. They never change.
type Rules struct {
	Here    crdt.Region
	Near    []crdt.Region // all Regions, Here first, then by nearness
	Primary crdt.Region   // takes all writes; zero: every Region does
	Next    crdt.Region   // is about to take them all, or does already; zero: no other Region is
	Side    bool          // Here has a side store
	Mode    Mode

	LocalTimeout  time.Duration
	RemoteTimeout time.Duration
	ReadBudget    time.Duration
	WriteBudget   time.Duration
	Backoff       []time.Duration
	MaxWait       time.Duration
	StrictBound   time.Duration
}

// NewRules returns the rules of the first Region of near, which are sorted by
// nearness; side says whether it has a side store. Of c only what plans decide
// by is looked at. It fails, naming every fault, if that makes no sense.
func NewRules(near []crdt.Region, side bool, c Config) (Rules, error) {
	c = c.withTimes()
	err := errors.Join(checkRegions(near, c.Primary), c.checkTimes())
	if err != nil {
		return Rules{}, err
	}
	return Rules{
		Here: near[0], Near: slices.Clone(near), Primary: c.Primary, Side: side, Mode: c.ReadAfterWrite,
		LocalTimeout: c.LocalTimeout, RemoteTimeout: c.RemoteTimeout,
		ReadBudget: c.ReadBudget, WriteBudget: c.WriteBudget, Backoff: slices.Clone(c.Backoff),
		MaxWait: c.MaxWait, StrictBound: c.StrictBound,
	}, nil
}

// DefaultStrictBound is how old news of a Region that takes writes may be before strict
// routes refuse (DESIGN R10).
const DefaultStrictBound = 10 * time.Second

// withTimes returns c with its durations set where they are zero.
func (c Config) withTimes() Config {
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	// Timeouts and retries: 200–500 ms and 100/200/400 ms are what the AWS
	// architecture asks of cross-Region writes; docs/divergence.md.
	set(&c.LocalTimeout, 50*time.Millisecond)
	set(&c.RemoteTimeout, 300*time.Millisecond)
	set(&c.ReadBudget, time.Second)
	set(&c.WriteBudget, 2*time.Second)
	set(&c.MaxWait, 75*time.Millisecond)
	set(&c.StrictBound, DefaultStrictBound)
	if c.Backoff == nil {
		c.Backoff = []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond}
	}
	return c
}

func checkRegions(near []crdt.Region, primary crdt.Region) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(near) == 0 {
		fault("no Regions: name at least the one that this is")
	}
	for i, id := range near {
		switch {
		case !id.Valid():
			fault("Region number %d: want 1 to %d", id, crdt.MaxRegion)
		case slices.Contains(near[:i], id):
			fault("Region number %d is used twice: numbers are never shared or reused", id)
		}
	}
	if primary != 0 && !slices.Contains(near, primary) {
		fault("primary %d is not one of the Regions", primary)
	}
	return errors.Join(faults...)
}

func (c Config) checkTimes() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.RemoteTimeout < 200*time.Millisecond || c.RemoteTimeout > 500*time.Millisecond {
		fault("RemoteTimeout %v: want 200 to 500 ms", c.RemoteTimeout)
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{
		{"LocalTimeout", c.LocalTimeout},
		{"ReadBudget", c.ReadBudget},
		{"WriteBudget", c.WriteBudget},
		{"MaxWait", c.MaxWait},
		{"StrictBound", c.StrictBound},
		{"Backoff", slices.Min(append([]time.Duration{0}, c.Backoff...))},
	} {
		if d.d < 0 {
			fault("%s %v: want no negative duration", d.name, d.d)
		}
	}
	if c.ReadAfterWrite > Accept {
		fault("read-after-write mode %d is unknown", c.ReadAfterWrite)
	}
	return errors.Join(faults...)
}

// With returns the same rules with other Regions to write to. It fails if there are no
// such Regions, or if that changes whether one Region takes all writes: engines are opened
// for the one or the other.
func (r *Rules) With(p Primaries) (Rules, error) {
	switch {
	case (p.Primary == 0) != (r.Primary == 0):
		return Rules{}, fmt.Errorf("primary %d after primary %d: whether one Region takes all writes does not change", p.Primary, r.Primary)
	case p.Primary != 0 && !r.knows(p.Primary):
		return Rules{}, fmt.Errorf("primary %d is not one of the Regions", p.Primary)
	case p.Next != 0 && (p.Primary == 0 || !r.knows(p.Next)):
		return Rules{}, fmt.Errorf("next primary %d is not one of the Regions, or there is no primary before it", p.Next)
	case p.Next == p.Primary:
		p.Next = 0
	}
	out := *r
	out.Primary, out.Next = p.Primary, p.Next
	return out, nil
}

// Writers returns the Regions that may take a write, in the order to try them.
func (r *Rules) Writers() []crdt.Region {
	switch {
	case r.Next != 0:
		return []crdt.Region{r.Primary, r.Next}
	case r.Primary != 0:
		return []crdt.Region{r.Primary}
	}
	return r.Near
}

// TakesWrites reports whether a Region takes writes.
func (r *Rules) TakesWrites(id crdt.Region) bool { return r.Primary == 0 || r.Primary == id }

// Timeout returns how long one try at a Region may take.
func (r *Rules) Timeout(at crdt.Region) time.Duration {
	if at == r.Here {
		return r.LocalTimeout
	}
	return r.RemoteTimeout
}

// leastHedge keeps Regions that are near from being hedged against on every
// hiccup: an engine's own slow answers take a few milliseconds.
const leastHedge = 10 * time.Millisecond

// hedgeDelay returns how long a Region may keep silent before another one is
// asked beside it: its round trip and a little, which is twice its lag, or a
// quarter of the timeout where that was not measured; at most half of it.
func (r *Rules) hedgeDelay(lag time.Duration) time.Duration {
	if lag == 0 {
		return r.RemoteTimeout / 4
	}
	return min(max(2*lag, leastHedge), r.RemoteTimeout/2)
}

// knows reports whether a Region is configured.
func (r *Rules) knows(id crdt.Region) bool { return slices.Contains(r.Near, id) }

// Hints returns what links say at this moment; nil links know nothing. Jitter
// is a random number in [0, 1).
func (r *Rules) Hints(links Links, jitter float64) Hints {
	h := Hints{Jitter: jitter}
	if links == nil {
		return h
	}
	for _, id := range r.Near[1:] {
		h.Lag[id] = links.Lag(id)
		if !r.TakesWrites(id) {
			continue
		}
		if age, ok := links.Heard(id); ok {
			h.Unheard = max(h.Unheard, age)
		} else {
			h.Unheard = max(h.Unheard, r.StrictBound+1)
		}
	}
	return h
}

// RegionSet is a set of Region numbers.
type RegionSet uint16

// SetOf returns the set of the Regions given.
func SetOf(regions ...crdt.Region) RegionSet {
	var s RegionSet
	for _, r := range regions {
		s.add(r)
	}
	return s
}

// Has reports whether r is in s.
func (s RegionSet) Has(r crdt.Region) bool { return s&(1<<r) != 0 }

// Len returns how many Regions are in s.
func (s RegionSet) Len() int {
	n := 0
	for ; s != 0; s &= s - 1 {
		n++
	}
	return n
}

func (s *RegionSet) add(r crdt.Region)    { *s |= 1 << r }
func (s *RegionSet) remove(r crdt.Region) { *s &^= 1 << r }

func (s *RegionSet) set(r crdt.Region, in bool) {
	if in {
		s.add(r)
	}
}
