package judge

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// A State is what a judge remembers. It is plain data, and belongs to what members
// agree on: a new leader that knows nothing of the last failover would be free to make
// the next. The zero remembers nothing.
type State struct {
	Now   time.Time // the latest time it was given; a clock that goes back stands still
	Slot  int64     // the period of Now
	Lease Lease
	Beat  Beat // the last heartbeat that any member has told of

	Signals map[string]Signal // by what they are about
	// Left are the Regions that lost the lease and were not readmitted. They are no
	// candidates.
	Left      []string
	Failovers []Failover // those within the window or cooldown, the last at the end
	Decision  Decision
}

// A Failover is one that was decided here, or that the lease tells of.
type Failover struct {
	Epoch    uint64 // that was ended
	From, To string
	At       time.Time
}

// A Decision is the failover that was decided last.
type Decision struct {
	Open  bool // its cause has been there ever since
	Epoch uint64
	To    string
	Rule  Rule      // its cause
	Aimed time.Time // when To was chosen
}

// Readmit returns the state in which a Region may be promoted again, after it lost
// the lease: when what it had of its own has been taken in, it follows the primary,
// and somebody wants it.
func (s State) Readmit(region string) State {
	s.Left = slices.DeleteFunc(slices.Clone(s.Left), func(name string) bool { return name == region })
	return s
}

func (s State) clone() State {
	s.Signals = maps.Clone(s.Signals) // what a Signal points to is cloned by next
	if s.Signals == nil {
		s.Signals = map[string]Signal{}
	}
	s.Left, s.Failovers = slices.Clone(s.Left), slices.Clone(s.Failovers)
	return s
}

// tick moves the state on to now and returns how many periods have begun.
func (s *State) tick(c Config, now time.Time) (shift int64) {
	if s.Now.Sub(now) > backAtMost {
		s.rewind(now)
	}
	s.Now = later(s.Now, now)
	slot := s.Now.UnixNano() / int64(c.Period)
	shift, s.Slot = max(0, slot-s.Slot), slot
	keep := max(c.Window, c.Cooldown)
	s.Failovers = slices.DeleteFunc(s.Failovers, func(f Failover) bool { return s.Now.Sub(f.At) >= keep })
	s.Left = slices.DeleteFunc(s.Left, func(name string) bool { return !slices.Contains(c.Regions, name) })
	return shift
}

// backAtMost is how far a clock may go back until it is taken to have been wrong
// before. Until it has caught up time stands still.
const backAtMost = time.Minute

// rewind begins anew at a time that is long before what the state knows. What was to
// come is now, so that cooldowns and flapping last as long as they can from here.
func (s *State) rewind(now time.Time) {
	s.Now, s.Slot = now, 0
	s.Decision.Aimed = earlier(s.Decision.Aimed, now)
	for i := range s.Failovers {
		s.Failovers[i].At = earlier(s.Failovers[i].At, now)
	}
	for key, signal := range s.Signals {
		flaps := slices.Clone(signal.Flaps)
		for i := range flaps {
			flaps[i] = earlier(flaps[i], now)
		}
		s.Signals[key] = Signal{Ill: signal.Ill, On: signal.On, Since: earlier(signal.Since, now), Flaps: flaps}
	}
}

// follow takes in the lease. It reports false if the state knows a later one.
func (s *State) follow(lease Lease) bool {
	if lease.Epoch < s.Lease.Epoch {
		return false
	}
	was := s.Lease
	s.Lease = lease
	from := cmp.Or(lease.From, was.Holder) // a state may have missed who had it in between
	if lease.Epoch == was.Epoch {
		return true
	}
	s.Left = slices.DeleteFunc(s.Left, func(name string) bool { return name == lease.Holder })
	if lease.Holder == from || !lease.Unplanned {
		return true
	}
	if from != "" && !slices.Contains(s.Left, from) {
		s.Left = append(s.Left, from)
	}
	f := Failover{Epoch: was.Epoch, From: from, To: lease.Holder, At: earlier(lease.Since, s.Now)}
	if n := len(s.Failovers); n > 0 && s.Failovers[n-1].Epoch == was.Epoch {
		f.At = later(f.At, s.Failovers[n-1].At) // the one that was decided here
		s.Failovers = s.Failovers[:n-1]
	}
	s.Failovers = append(s.Failovers, f)
	s.Failovers = s.Failovers[max(0, len(s.Failovers)-mostKept):]
	return true
}

// lastFailover returns when the last failover was; zero: there was none.
func (s *State) lastFailover() (at time.Time) {
	for _, f := range s.Failovers {
		at = later(at, f.At)
	}
	return at
}

// recent returns how many failovers there were within the window.
func (s *State) recent(window time.Duration) (n int) {
	for _, f := range s.Failovers {
		if s.Now.Sub(f.At) < window {
			n++
		}
	}
	return n
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
