package crdt

import (
	"fmt"
	"math"
	"time"
)

// A Time is a moment in milliseconds since 2024-01-01 UTC. The zero Time means
// "not set". Bytes hold it as an unsigned 48-bit number, good until year 10943.
type Time int64

// origin is Time zero. Counting from 2024 leaves 41 bits of milliseconds in a
// 53-bit Stamp good for 69 years.
var origin = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// TimeOf returns t as a Time, rounded down to the millisecond. Moments before
// 2024 become zero.
func TimeOf(t time.Time) Time {
	return max(0, Time(t.UnixMilli()-origin.UnixMilli()))
}

// Std returns t as a time.Time in UTC.
func (t Time) Std() time.Time { return time.UnixMilli(origin.UnixMilli() + int64(t)).UTC() }

// Add returns t+d, with d rounded down to the millisecond.
func (t Time) Add(d time.Duration) Time { return t + Time(d.Milliseconds()) }

// Sub returns t-u, at most 292 years either way: a clock at the end of time
// must not turn into a small difference.
func (t Time) Sub(u Time) time.Duration {
	const most = Time(math.MaxInt64 / int64(time.Millisecond))
	return time.Duration(min(max(t-u, -most), most)) * time.Millisecond
}

// Stamp returns the first stamp of the millisecond t.
func (t Time) Stamp() Stamp { return Stamp(max(0, t)) << logicalBits }

// logicalBits leaves 4,096 stamps in a millisecond; more carry into the next
// one, which keeps them monotone.
const logicalBits = 12

// A Stamp orders writes: milliseconds since 2024 × 4096 + a logical part. It
// has 53 bits, so that a Lua number holds it exactly. Zero is before them all.
type Stamp uint64

// MaxStamp is the last stamp there is, in the year 2093.
const MaxStamp Stamp = 1<<53 - 1

// Time returns the millisecond that s was minted in.
func (s Stamp) Time() Time { return Time(s >> logicalBits) }

// Mint returns the stamp of a write: above the record that was read for it, and
// above what its client has seen, wherever that was (DESIGN R1). It is minted once,
// where the write is made up: all tries carry it, and so does a sealed cookie.
func Mint(now Time, read Record, seen Token) Stamp {
	return max(now.Stamp(), read.Latest().next(), seen.Floor().next())
}

// next returns the stamp after s.
func (s Stamp) next() Stamp { return min(s+1, MaxStamp) }

// String prints s as milliseconds and logical part.
func (s Stamp) String() string {
	return fmt.Sprintf("%d.%d", s>>logicalBits, s&(1<<logicalBits-1))
}

// A Region is the configured number of a Region, 1 to 15. Numbers are never
// reused: a stamp of a Region that left would speak for the one that came.
type Region uint8

// MaxRegion is the highest Region number; an Actor has four bits for it.
const MaxRegion Region = 15

// Valid reports whether r is a number a Region can have.
func (r Region) Valid() bool { return r >= 1 && r <= MaxRegion }

// An Actor is one writer: a Region and an incarnation of its primary. It takes
// 24 bits. A primary that starts anew gets a new incarnation; otherwise its
// first writes would look like duplicates of those that its predecessor lost.
type Actor uint32

const incarnationBits = 20

// NewActor returns the actor of an incarnation in r. Only the low 20 bits of
// incarnation are used; the caller takes them from crypto/rand.
func NewActor(r Region, incarnation uint32) Actor {
	return Actor(r&MaxRegion)<<incarnationBits | Actor(incarnation&(1<<incarnationBits-1))
}

// Region returns the Region that a writes in.
func (a Actor) Region() Region { return Region(a >> incarnationBits) }

// String prints a as region/incarnation.
func (a Actor) String() string {
	return fmt.Sprintf("%d/%05x", a.Region(), uint32(a)&(1<<incarnationBits-1))
}

// A Dot names one write: who made it and when. The zero Dot names none.
type Dot struct {
	Actor Actor
	Stamp Stamp
}

// Before reports whether d comes before e: by stamp, then by actor.
func (d Dot) Before(e Dot) bool {
	if d.Stamp != e.Stamp {
		return d.Stamp < e.Stamp
	}
	return d.Actor < e.Actor
}

// IsZero reports whether d names no write.
func (d Dot) IsZero() bool { return d == Dot{} }

// String prints d as stamp@actor.
func (d Dot) String() string { return fmt.Sprintf("%v@%v", d.Stamp, d.Actor) }
