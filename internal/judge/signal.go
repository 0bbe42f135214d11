package judge

import (
	"math/bits"
	"slices"
	"time"
)

// A point is what one period says of one thing.
type point uint8

const (
	missing point = iota // nothing
	good
	bad
)

// A Signal is what the last periods said of one thing, and what that is taken for.
// It is plain data.
type Signal struct {
	Bad, Good uint32 // the last 32 periods, the last one in the lowest bit; neither: missing
	Ill       bool   // it is bad by its hysteresis
	On        bool   // it counts as bad: it is, or it flaps
	Since     time.Time
	Flaps     []time.Time // when it became ill, within the window, the last at the end
}

// next returns the signal after a period. Shift is how many periods have begun since
// the last call: with 0 the period goes on, and the worst of what it said counts.
func (s Signal) next(p point, shift int64, h Hysteresis, c Config, now time.Time) Signal {
	if shift >= mostPeriods {
		s.Bad, s.Good = 0, 0
	} else {
		s.Bad, s.Good = s.Bad<<shift, s.Good<<shift
	}
	switch p {
	case bad:
		s.Bad, s.Good = s.Bad|1, s.Good&^1
	case good:
		s.Good |= 1 &^ s.Bad
	case missing:
	}
	s.Flaps = slices.DeleteFunc(slices.Clone(s.Flaps), func(at time.Time) bool { return now.Sub(at) >= c.FlapWindow })
	switch {
	case !s.Ill && s.fires(h):
		s.Ill = true
		s.Flaps = append(s.Flaps, now)
		s.Flaps = s.Flaps[max(0, len(s.Flaps)-c.MaxFlaps):]
	case s.Ill && s.Good&mask(h.Good) == mask(h.Good):
		s.Ill = false
	}
	if on := s.Ill || s.On && s.flaps(c); on != s.On {
		s.On, s.Since = on, now
	}
	return s
}

// fires reports whether the last period was bad and enough before it were.
func (s Signal) fires(h Hysteresis) bool { return s.last() == bad && s.count(h) >= h.Bad }

// count returns how many of the periods that matter were bad.
func (s Signal) count(h Hysteresis) int { return bits.OnesCount32(s.Bad & mask(h.Of)) }

// last returns what the last period said.
func (s Signal) last() point {
	switch {
	case s.Bad&1 != 0:
		return bad
	case s.Good&1 != 0:
		return good
	}
	return missing
}

// silent reports whether nothing was said for as long as a signal remembers.
func (s Signal) silent() bool { return s.Bad|s.Good == 0 }

// forget returns the signal as one of which nothing is known. What it counted as
// flapping stays.
func (s Signal) forget(now time.Time) Signal {
	if s.On {
		s.On, s.Since = false, now
	}
	s.Ill = false
	return s
}

// flaps reports whether it has become ill too often: then it counts as bad until it has
// been well for so long that it no longer does.
func (s Signal) flaps(c Config) bool { return len(s.Flaps) >= c.MaxFlaps }

// quiet returns how many periods without a break were good.
func (s Signal) quiet() int { return bits.TrailingZeros32(^s.Good) }

func mask(n int) uint32 { return uint32(1)<<n - 1 } // with 32 all bits: 1<<32 is 0
