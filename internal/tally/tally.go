package tally

import (
	"maps"
	"math/bits"
	"time"
)

// Rungs is how many rungs an answer can have. package router says what they mean.
const Rungs = 5

// RungName returns the name of a rung as bytes, metrics and pages have it: the first is the
// normal one, all below it are degraded.
func RungName(rung int) string {
	return [Rungs]string{"normal", "stale", "local-only", "sealed", "refused"}[rung]
}

const (
	// Buckets is how many kinds of durations are told apart.
	Buckets = 2 + octaves*steps
	// octaves: from a thousandth of a second, below which nobody waits, to 8 s, which is
	// above every budget; a step is a seventh to a quarter of a duration more.
	octaves, steps = 13, 4
	// finest is the logarithm of the microseconds that the first bucket ends at.
	finest = 10
)

// Took counts durations. The first bucket ends at 1.024 ms; each octave above it has four, up
// to 8.4 s; the last one has what took longer.
type Took [Buckets]uint64

// Bucket returns in which one a duration is counted.
func Bucket(took time.Duration) int {
	us := uint64(max(took, 0) / time.Microsecond) //nolint:gosec // it is not negative
	octave := bits.Len64(us) - 1 - finest
	switch {
	case octave < 0:
		return 0
	case octave >= octaves:
		return Buckets - 1
	}
	step := us >> (octave + finest - 2) & (steps - 1)
	return 1 + octave*steps + int(step) //nolint:gosec // it is 0 to 3
}

// Bound returns the duration that all in a bucket are below; of the last one, what they are
// above.
func Bound(bucket int) time.Duration {
	if bucket == 0 {
		return (1 << finest) * time.Microsecond
	}
	if bucket >= Buckets-1 {
		return (1 << (finest + octaves)) * time.Microsecond
	}
	octave, step := (bucket-1)/steps, (bucket-1)%steps
	return time.Duration(steps+step+1) << (octave + finest - 2) * time.Microsecond
}

// Count returns how many durations there are.
func (t Took) Count() (n uint64) {
	for _, in := range t {
		n += in
	}
	return n
}

// P99 returns a duration that at most one in a hundred was not below; 0 if there are none.
// It is at most a quarter too long. Of more than 8.4 s it only says that.
func (t Took) P99() time.Duration {
	all := t.Count()
	if all == 0 {
		return 0
	}
	above := all / 100
	for i := Buckets - 1; i > 0; i-- {
		if t[i] > above {
			return Bound(i)
		}
		above -= t[i]
	}
	return Bound(0)
}

// Writes are those to one Region.
type Writes struct {
	// Failed is how many it did not take, whoever took them then. One that it refused
	// because of what the record is has not failed.
	Failed uint64
	// Took is how long all of them took, retries and all.
	Took Took
}

// Counts are the answers of a process, and its writes. It is plain data.
type Counts struct {
	// Answers counts those of each rung. A page is two or three.
	Answers [Rungs]uint64
	// Writes has those to each Region, by the name of where they belonged.
	Writes map[string]Writes
}

// All returns how many answers there are, and how many of them were not normal.
func (c Counts) All() (answers, degraded uint64) {
	for _, n := range c.Answers[1:] {
		degraded += n
	}
	return c.Answers[0] + degraded, degraded
}

// IsZero reports whether nothing was counted.
func (c Counts) IsZero() bool {
	if answers, _ := c.All(); answers > 0 {
		return false
	}
	for _, w := range c.Writes {
		if w != (Writes{}) {
			return false
		}
	}
	return true
}

// Plus returns both together. It changes neither.
func (c Counts) Plus(more Counts) Counts {
	return c.each(more, func(x, y uint64) uint64 { return x + y })
}

// Since returns what was counted beyond what there was. What has become less has not been
// counted at all. It changes neither.
func (c Counts) Since(was Counts) Counts {
	return c.each(was, func(x, y uint64) uint64 { return x - min(x, y) })
}

func (c Counts) each(other Counts, do func(x, y uint64) uint64) Counts {
	for i := range c.Answers {
		c.Answers[i] = do(c.Answers[i], other.Answers[i])
	}
	c.Writes = maps.Clone(c.Writes)
	for to, y := range other.Writes {
		if c.Writes == nil {
			c.Writes = map[string]Writes{}
		}
		x := c.Writes[to]
		x.Failed = do(x.Failed, y.Failed)
		for i := range x.Took {
			x.Took[i] = do(x.Took[i], y.Took[i])
		}
		c.Writes[to] = x
	}
	maps.DeleteFunc(c.Writes, func(_ string, w Writes) bool { return w == Writes{} })
	return c
}
