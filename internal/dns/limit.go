package dns

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"time"
)

const (
	// limitSlots bounds what is remembered of sources: 256 KiB. Sources that share a slot
	// share its allowance too; which do is not to be known from outside.
	limitSlots = 1 << 14
	// A network of one subscriber, as those who answer for others' addresses count them.
	networkBits4, networkBits6 = 24, 56
)

// A verdict is what becomes of a request that came by UDP, where nobody can tell whether its
// source is who it says.
type verdict uint8

const (
	admit verdict = iota
	// slip: it is answered with nothing but a sign to come again by TCP. Who asked can,
	// and who did not ask gets no more than was sent.
	slip
	drop
)

// A limiter counts what each network asks. It is for one goroutine at a time.
type limiter struct {
	seed  maphash.Seed
	every int64 // nanoseconds that one request uses up
	burst int64 // nanoseconds that may be used up ahead of time
	slips uint32
	slots []slot
}

// A slot is what networks of one hash have used up.
type slot struct {
	until   int64 // nanoseconds since 1970; used up to then
	refused uint32
}

// newLimiter admits a number of requests a second of each network, and as many at once. Each
// slips-th of the others slips.
func newLimiter(perSecond, slips int, seed maphash.Seed) *limiter {
	every := max(1, int64(time.Second)/int64(perSecond))
	return &limiter{
		seed: seed, every: every, burst: every * int64(perSecond),
		slips: uint32(slips), slots: make([]slot, limitSlots), //nolint:gosec // a small number
	}
}

// take counts a request.
func (l *limiter) take(now time.Time, from netip.Addr) verdict {
	s := &l.slots[l.slot(from)]
	at := now.UnixNano()
	if s.until = max(s.until, at); s.until-at+l.every <= l.burst {
		s.until += l.every
		return admit
	}
	s.refused++
	if s.refused%l.slips == 0 {
		return slip
	}
	return drop
}

// slot returns where the network of a source is counted.
func (l *limiter) slot(from netip.Addr) uint64 {
	from = from.Unmap()
	bits := networkBits6
	if from.Is4() {
		bits = networkBits4
	}
	network, err := from.Prefix(bits)
	if err != nil {
		return 0 // an address that is none: all of them together
	}
	b := network.Addr().As16()
	return maphash.Bytes(l.seed, binary.BigEndian.AppendUint16(b[:], uint16(bits))) % limitSlots
}
