package fault

import (
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// A Plane is a kind of traffic, so that one kind can be cut while the other
// lives.
type Plane uint8

const (
	// Calls are the requests of one Region's router to another's engine.
	Calls Plane = iota
	// Replication is the streams that carry the log.
	Replication
)

// String returns the plane's name.
func (p Plane) String() string {
	if p == Calls {
		return "calls"
	}
	return "replication"
}

// A Link says how one direction between two hosts behaves on one plane. The
// zero Link is perfect: nothing is late or lost.
type Link struct {
	// Delay is how long a message takes, one way. Less than zero is zero.
	Delay time.Duration
	// Jitter is the most by which a message takes longer than Delay, evenly
	// spread. The order within a stream is kept.
	Jitter time.Duration
	// Loss is the share of messages that are lost, 0 to 1. A lost call is not
	// sent again; a lost piece of a stream is, as TCP does, and comes late.
	Loss float64
	// Cut swallows everything without a word: a black hole.
	Cut bool
}

// within returns l with every value in its range; a Loss that is no number is
// none.
func (l Link) within() Link {
	l.Delay, l.Jitter = max(0, l.Delay), max(0, l.Jitter)
	if !(l.Loss > 0) {
		l.Loss = 0
	}
	l.Loss = min(l.Loss, 1)
	return l
}

// line is the state of one direction between two hosts on one plane. It is
// guarded by Net.mu.
type line struct {
	from, to *host
	plane    Plane
	link     Link
	dice     *rand.Rand
	pipes    []*pipe // in the order of their making, so that dice fall in order

	bytes, messages, lost uint64
	flying                int // messages on their way; the pieces of pipes come on top
}

// newLine makes a perfect line. Its dice depend on nothing but the seed and the
// names, so one line's traffic does not change another's fate.
func newLine(seed uint64, from, to *host, p Plane) *line {
	h := fnv.New64a()
	_, _ = h.Write([]byte(from.name + "\x00" + to.name + "\x00" + p.String())) // a hash takes everything
	dice := rand.New(rand.NewPCG(seed, h.Sum64()))                             //nolint:gosec // faults must be reproducible
	return &line{from: from, to: to, plane: p, dice: dice}
}

// cut reports whether nothing passes.
func (l *line) cut() bool {
	return l.link.Cut || l.from.state == frozen || l.to.state == frozen
}

// delay draws how long one message takes.
func (l *line) delay() time.Duration {
	if l.link.Jitter == 0 {
		return l.link.Delay
	}
	return l.link.Delay + time.Duration(l.dice.Int64N(int64(l.link.Jitter)+1))
}

// loses draws whether one message is lost, and counts it. A perfect line
// throws no dice.
func (l *line) loses() bool {
	if l.link.Loss == 0 || l.dice.Float64() >= l.link.Loss {
		return false
	}
	l.lost++
	return true
}

// depart sends one message. It returns when it arrives, or false if it is lost.
func (l *line) depart(now time.Time) (due time.Time, ok bool) {
	l.messages++
	if l.cut() {
		l.lost++
		return time.Time{}, false
	}
	if l.loses() {
		return time.Time{}, false
	}
	l.flying++
	return now.Add(l.delay()), true
}

// arrive ends the flight of a message that departed.
func (l *line) arrive() arrival {
	l.flying--
	switch {
	case l.cut():
		l.lost++
		return swallowed
	case l.to.state == killed:
		return refused
	}
	return arrived
}

// arrival is what became of a message.
type arrival uint8

const (
	arrived   arrival = iota
	swallowed         // the line was cut while it was on its way
	refused           // nobody is there; the sender is told so
)
