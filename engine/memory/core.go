package memory

import (
	"fmt"
	"slices"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// A Core is an engine without lock, clock and goroutine. The same calls give
// the same answers, in the same order. It is not for several goroutines; but
// calls for different partitions touch nothing in common except the meter,
// which is how Engine locks it.
//
// Keys and partitions must be valid: Engine checks them at the door.
type Core struct {
	actor        crdt.Actor
	maxBytes     int64
	logShare     int64 // of each partition, in bytes
	keepReleased crdt.Time
	used         meter
	parts        [crdt.Partitions]*partition // nil: nothing was done there yet
}

// A meter adds up the bytes of all partitions.
type meter interface {
	add(bytes int64)
	total() int64
}

// A plainMeter is for one goroutine.
type plainMeter int64

func (m *plainMeter) add(bytes int64) { *m += plainMeter(bytes) }
func (m *plainMeter) total() int64    { return int64(*m) }

// A partition is what Engine has one lock for.
type partition struct {
	slots   map[crdt.Key]*slot
	order   expiry
	bytes   int64
	log     journal
	cursors [crdt.MaxRegion + 1]cursor // by origin
	// refilling: what is not here may have been. It is by partition so that
	// Engine's locks guard it.
	refilling bool
}

// A slot holds one record.
type slot struct {
	rec   crdt.Record
	bytes int64
	keep  crdt.Time // from then on, rec counts as dropped
	due   crdt.Time // when to look at keep again; never after it
	index int       // in the partition's expiry
}

// NewCore returns an empty Core that writes as actor. Of c it uses MaxBytes,
// LogBytes and KeepReleased.
func NewCore(actor crdt.Actor, c Config) *Core {
	return newCore(actor, c, new(plainMeter))
}

func newCore(actor crdt.Actor, c Config, m meter) *Core {
	c = c.withDefaults()
	return &Core{
		actor:        actor,
		maxBytes:     c.MaxBytes,
		logShare:     c.LogBytes / crdt.Partitions,
		keepReleased: crdt.Time(c.KeepReleased.Milliseconds()),
		used:         m,
	}
}

// Clone returns a copy of c. Given the same calls from now on, both answer the
// same: a replica is a copy that is given the calls of its primary, late.
func (c *Core) Clone() *Core {
	out := *c
	used := plainMeter(c.used.total())
	out.used = &used
	for i, p := range c.parts {
		if p != nil {
			out.parts[i] = p.clone()
		}
	}
	return &out
}

// Actor returns the actor of the Core's writes.
func (c *Core) Actor() crdt.Actor { return c.actor }

// Read returns the record of k; bottom if there is none or it is past its time.
func (c *Core) Read(now crdt.Time, k crdt.Key) crdt.Record {
	if p := c.parts[k.Partition()]; p != nil {
		if s := p.slots[k]; s != nil && now < s.keep {
			return s.rec
		}
	}
	return crdt.Record{Key: k}
}

// SetRefilling notes whether the Core is being given back what it lost.
func (c *Core) SetRefilling(on bool) {
	for p := range uint16(crdt.Partitions) {
		c.at(p).refilling = on
	}
}

// Refilling reports whether what Read does not find of k may have been there, so
// that an engine answers it with engine.ErrRefilling.
func (c *Core) Refilling(k crdt.Key) bool {
	p := c.parts[k.Partition()]
	return p != nil && p.refilling
}

// Apply does crdt.Apply and writes the fragment to the log. It fails with the
// refusals of crdt.Apply and with engine.ErrFull, and has done nothing then.
func (c *Core) Apply(now crdt.Time, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	p, base := c.part(k), c.Read(now, k)
	out, f, err := crdt.Apply(base, op, crdt.Origin{Actor: c.actor, Now: now})
	if err != nil || f.Dot.IsZero() {
		return crdt.Dot{}, err
	}
	out = out.Prune(now)
	if err := c.admit(base, out, op); err != nil {
		return crdt.Dot{}, err
	}
	c.put(p, out)
	p.log.append(f, c.logShare)
	return f.Dot, nil
}

// The marks of DESIGN R13, in percent of MaxBytes.
const (
	anonymousBirthsUntil = 80
	birthsUntil          = 90
)

// admit refuses what memory is kept free of. A repeated birth is none: it has
// its session, and ErrFull would say that nothing was written.
func (c *Core) admit(base, out crdt.Record, op crdt.Op) error {
	touchOnly := op.Birth == nil && op.Auth == nil && op.Adopt == nil && len(op.Changes) == 0
	ends := out.Dead || !base.Epochs().Covers(out.Epochs()) // also one that is told by a peer
	if ends || op.Destroy || op.Revoke || touchOnly {
		return nil
	}
	used := c.used.total()
	if op.Birth != nil && base.Born.Dot.IsZero() || bornSealed(base, op) {
		until := int64(birthsUntil)
		if out.User == "" {
			until = anonymousBirthsUntil
		}
		if used >= c.maxBytes/100*until {
			return fmt.Errorf("%w: no births beyond %d %% of %d bytes", engine.ErrFull, until, c.maxBytes)
		}
	}
	if grows := recordBytes(out) - recordBytes(base); grows > 0 && used+grows > c.maxBytes {
		return fmt.Errorf("%w: %d of %d bytes", engine.ErrFull, used, c.maxBytes)
	}
	return nil
}

// bornSealed reports whether op takes in a session that was born in a cookie,
// often because there was no room for it here. What another engine has is none:
// that brings its vector.
func bornSealed(base crdt.Record, op crdt.Op) bool {
	return op.Adopt != nil && len(op.Adopt.VV) == 0 && !op.Adopt.Born.Dot.IsZero() && base.Born.Dot.IsZero()
}

// Join merges a state from elsewhere; one that is past its time is dropped.
func (c *Core) Join(now crdt.Time, r crdt.Record) {
	p := c.part(r.Key)
	base, ok := p.slots[r.Key]
	if r.IsBottom() || keepUntil(r) <= now && !ok {
		return
	}
	if ok { // past its time or not: clocks decide nothing in a merge
		r = crdt.Join(base.rec, r)
	}
	c.put(p, r.Prune(now))
}

// Scan returns the records of a partition, sorted by key.
func (c *Core) Scan(now crdt.Time, partition uint16) []crdt.Record {
	return sortRecords(c.snapshot(now, partition))
}

// snapshot returns the records of a partition in no order, so that Engine can
// sort them outside its lock.
func (c *Core) snapshot(now crdt.Time, partition uint16) []crdt.Record {
	p := c.parts[partition]
	if p == nil {
		return nil
	}
	out := make([]crdt.Record, 0, len(p.slots))
	for _, s := range p.slots {
		if now < s.keep {
			out = append(out, s.rec)
		}
	}
	return out
}

func (c *Core) part(k crdt.Key) *partition { return c.at(k.Partition()) }

// at returns a partition. It is made by the first call that may change it, so
// that a Core costs what is in it and a Clone of it no more.
func (c *Core) at(partition uint16) *partition {
	p := c.parts[partition]
	if p == nil {
		p = emptyPartition(c.actor)
		c.parts[partition] = p
	}
	return p
}

// put stores r.
func (c *Core) put(p *partition, r crdt.Record) {
	s := p.slots[r.Key]
	added := s == nil
	if added {
		s = &slot{}
		p.slots[r.Key] = s
	}
	grown := recordBytes(r) - s.bytes
	s.rec, s.keep = r, keepUntil(r)
	s.bytes += grown
	p.bytes += grown
	c.used.add(grown)
	p.order.note(s, added)
}

// drop forgets s.
func (c *Core) drop(p *partition, s *slot) {
	delete(p.slots, s.rec.Key)
	p.bytes -= s.bytes
	c.used.add(-s.bytes)
}

// clear forgets a partition for good.
func (c *Core) clear(partition uint16) {
	if p := c.parts[partition]; p != nil {
		c.used.add(-p.bytes)
		c.parts[partition] = nil
	}
}

func emptyPartition(actor crdt.Actor) *partition {
	return &partition{slots: map[crdt.Key]*slot{}, log: journal{first: 1, eras: []era{{actor: actor}}}}
}

func (p *partition) clone() *partition {
	out := *p
	out.slots = make(map[crdt.Key]*slot, len(p.slots))
	out.order = make(expiry, len(p.order))
	for i, s := range p.order { // holds every slot, and keeps its order
		copied := *s
		out.order[i] = &copied
		out.slots[s.rec.Key] = &copied
	}
	out.log.frags = slices.Clone(p.log.frags) // trim clears the array
	out.log.marks = slices.Clone(p.log.marks)
	out.log.eras = slices.Clone(p.log.eras)
	return &out
}
