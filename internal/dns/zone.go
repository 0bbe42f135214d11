package dns

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	wire "github.com/miekg/dns"
)

// ErrStale says that something newer is known: what was given has a lower epoch, or another
// writer in the same one.
var ErrStale = errors.New("a newer epoch is known")

// ZoneConfig is what is optional about a zone. Its zero value is good. Times are whole
// seconds, from one second to a day unless said otherwise.
type ZoneConfig struct {
	// Writer is the name that leads to the writer. Default "write".
	Writer string
	// WriterTTL is how long a resolver may keep where the writer is. Default 10 s.
	WriterTTL time.Duration
	// FailoverTTL is the same for failovers that have none of their own. Default 10 s.
	FailoverTTL time.Duration
	// NegativeTTL is how long a resolver may keep that something is not there. Default
	// 10 s: that there is no writer is forgotten as soon as who it was.
	NegativeTTL time.Duration
	// TTL is for all other names. Default 60 s.
	TTL time.Duration
	// Mailbox is of who looks after the zone, with a dot for its @. Default
	// "hostmaster" at the origin.
	Mailbox string
	// Refresh is how often secondaries look by themselves, should word of a change be
	// lost; Retry, how soon again if they got no answer. Default 60 s and 10 s.
	Refresh, Retry time.Duration
	// Expire is how long secondaries go on without us, up to 60 days. Default 7 days.
	Expire time.Duration
}

func (c ZoneConfig) withDefaults() ZoneConfig {
	or := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	or(&c.WriterTTL, 10*time.Second)
	or(&c.FailoverTTL, 10*time.Second)
	or(&c.NegativeTTL, 10*time.Second)
	or(&c.TTL, time.Minute)
	or(&c.Refresh, time.Minute)
	or(&c.Retry, 10*time.Second)
	or(&c.Expire, 7*24*time.Hour)
	if c.Writer == "" {
		c.Writer = "write"
	}
	return c
}

// A Zone is all there is to answer, made of one View. It does not change, and goroutines may
// share it.
type Zone struct {
	// Origin is absolute and in lower case.
	Origin string
	// Serial grows with each change, by RFC 1982.
	Serial uint32
	// Epoch is that of the View.
	Epoch uint64

	writer string // the Region
	config ZoneConfig
	soa    *wire.SOA
	// sets has every name of the zone, also those that only have names below them.
	sets map[string]sets
	// records are all but the SOA, in the order of their names and text.
	records []wire.RR
}

// sets are the records of one name, by type.
type sets map[uint16][]wire.RR

// NewZone makes the first zone of an origin that changed now. It fails with all faults of the
// View at once.
func NewZone(origin string, v View, now time.Time, c ZoneConfig) (*Zone, error) {
	z, err := build(origin, v, c)
	if err != nil {
		return nil, err
	}
	z.number(firstSerial(now))
	return z, nil
}

// Next makes the zone that follows z. If it answers what z does it has the same serial, else
// a newer one. It fails with ErrStale if v has a lower epoch than z, or the same one and
// another writer; that there is none, or one again, may be said in the same epoch.
func (z *Zone) Next(v View, now time.Time) (*Zone, error) {
	switch {
	case v.Epoch < z.Epoch:
		return nil, fmt.Errorf("zone of epoch %d, view of epoch %d: %w", z.Epoch, v.Epoch, ErrStale)
	case v.Epoch == z.Epoch && v.Writer != "" && z.writer != "" && v.Writer != z.writer:
		return nil, fmt.Errorf("zone and view of epoch %d have the writers %s and %s: %w", z.Epoch, z.writer, v.Writer, ErrStale)
	}
	next, err := build(z.Origin, v, z.config)
	if err != nil {
		return nil, err
	}
	if v.Writer == "" && v.Epoch == z.Epoch {
		next.writer = z.writer // who comes back must be the same
	}
	if next.same(z) {
		next.number(z.Serial)
	} else {
		next.number(nextSerial(z.Serial, now))
	}
	return next, nil
}

// same reports whether two zones have the same records but for the serial.
func (z *Zone) same(o *Zone) bool {
	a, b := *z.soa, *o.soa
	a.Serial, b.Serial = 0, 0
	return a.String() == b.String() && slices.EqualFunc(z.records, o.records, func(a, b wire.RR) bool {
		return a.String() == b.String()
	})
}

// number gives a zone that nobody has seen its serial.
func (z *Zone) number(serial uint32) { z.Serial, z.soa.Serial = serial, serial }

// String returns the zone as zone files have it.
func (z *Zone) String() string {
	var b strings.Builder
	b.WriteString(z.soa.String() + "\n")
	for _, rr := range z.records {
		b.WriteString(rr.String() + "\n")
	}
	return b.String()
}

// holds reports whether a name, in lower case, is in the zone or would be.
func (z *Zone) holds(name string) bool { return within(name, z.Origin) }

// within reports whether an absolute name is the origin or below it, both in lower case.
func within(name, origin string) bool {
	return name == origin || strings.HasSuffix(name, "."+origin) && !escaped(name, len(name)-len(origin)-1)
}

// escaped reports whether the byte at i is escaped: such a dot is part of a label.
func escaped(name string, i int) bool {
	n := 0
	for i > n && name[i-n-1] == '\\' {
		n++
	}
	return n%2 == 1
}
