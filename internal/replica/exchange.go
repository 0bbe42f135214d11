package replica

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// An exchange compares some partitions with the peer: the origin notes the head
// of its log, scans, and sends sums by bucket; the peer scans, compares, and
// answers with the buckets that differ.
//
// Why equal sums are as good as the state: whatever the log has up to the head
// was in the records before the origin's scan met them, so it is in the sums. The
// peer's scan is later. Records only grow, so where its sums are the same, it has
// all that the sums have, and covers the head. Where they differ it is sent what
// the records are after the origin's scan, which has the head in it too. No scan
// has to be of one moment, and nothing that is written meanwhile has to stop: at
// worst a bucket differs that needn't. What a failover of the peer's engine takes
// back after its scan is found by the next comparison, not by this one.
//
// An engine may go through all its keys for one partition, so both ends scan what is
// due in one walk (DESIGN R19). There is one exchange at a time, so its frames are
// bounded. If an answer is lost, the comparison is made anew; an answer to an older
// one says nothing.
type exchange struct {
	why     purpose
	scan    int      // the scan that is under way; 0: none is
	serial  uint64   // of the frame that waits for its answer; 0: none does
	parts   []uint16 // to be scanned, in order
	head    engine.Positions
	round   int // Sender.rounds when the scan began
	looks   []look
	records int
	asked   int       // sweep.asked when it was made
	first   uint16    // where a sweep has come to
	span    uint16    // how many partitions it comes on by this
	at      crdt.Time // when the frame went
}

// A purpose is why a partition is compared.
type purpose uint8

const (
	toResync  purpose = iota // the peer asked for the state, or the log has a gap
	toLook                   // anti-entropy
	toConfirm                // anti-entropy, a second time
)

// A look is a partition that was scanned for an exchange.
type look struct {
	part    uint16
	cutoff  crdt.Time
	sums    []uint64
	records int
}

const (
	// exchangeRecords bounds the records of an exchange, whose walk takes some seconds
	// then: whatever is written between the walks of the two ends makes a bucket
	// differ, and is sent in vain. With its buckets rounded up to powers of two a frame
	// has 32,768 sums at most: 256 KiB.
	exchangeRecords = 1 << 18
	// exchangeLeast is how many partitions are taken together however large they
	// are, so that 16 walks are enough for all: with that, looking at the keys costs a
	// server about as much as reading the records.
	exchangeLeast = 4
)

// A Scan is one walk through partitions that a Sender asks for. Either the records of
// each partition are folded, or those that are wanted of them are sent.
type Scan struct {
	ID     int
	Parts  []uint16
	States bool // by State and Scanned; else Folds and Folded
	// Most is how many records may be folded before the walk is to be given up, by
	// Narrow; 0: any number.
	Most int

	why   purpose
	wants map[uint16]transfer
}

// Folds returns what the records of each partition are to be added to, in this
// order. wall is the time by the clock that drops records.
func (c Scan) Folds(wall crdt.Time) []Fold {
	out := make([]Fold, len(c.Parts))
	for i, part := range c.Parts {
		out[i] = Fold{part: part, bits: maxBucketBits}
		if c.why != toResync {
			out[i].cutoff = wall.Add(clockMargin)
		}
	}
	return out
}

// Of returns the set of its partitions.
func (c Scan) Of() engine.Partitions { return engine.PartitionsOf(c.Parts...) }

// Wants reports whether r is to be given to State.
func (c Scan) Wants(r crdt.Record) bool {
	t, ok := c.wants[r.Key.Partition()]
	return ok && t.buckets.has(bucketOf(r.Key, t.bits))
}

// Scan returns what is to be scanned, if anything is due and no scan is under way.
//
// To fold, the head of the log is read and given to ScanFrom; then each of Folds
// is given the records of its partition, in whatever order they come, and all of them
// are handed to Folded. For States, those records that the scan Wants, users first,
// are given to State, and the end is told to Scanned.
func (s *Sender) Scan() (Scan, bool) {
	if s.pass.on || s.exchange.scan != 0 {
		return Scan{}, false
	}
	if scan, ok := s.nextTransfers(); ok {
		return scan, true
	}
	if s.exchange.serial != 0 {
		return Scan{}, false
	}
	wide := min(s.sweep.wide(), len(s.resyncs))
	x := exchange{why: toResync, parts: s.resyncs[:wide:wide]}
	if s.resyncs = s.resyncs[wide:]; len(x.parts) == 0 {
		x, s.sweep.group = s.sweep.group, exchange{}
	}
	if len(x.parts) == 0 {
		return Scan{}, false
	}
	s.scans++
	x.scan, x.round = s.scans, s.rounds
	s.exchange = x
	scan := Scan{ID: x.scan, Parts: slices.Clone(x.parts), why: x.why}
	if len(x.parts) > exchangeLeast {
		scan.Most = exchangeRecords
	}
	return scan, true
}

// ScanFrom takes in the head that the log had before scan id began. Whatever is
// later comes by the log.
func (s *Sender) ScanFrom(id int, head engine.Positions) {
	if s.exchange.scan == id {
		s.exchange.head = head
	}
}

// Narrow gives up scan id, which met more than Most records: the next one is of half as
// many partitions, once the budget allows it.
func (s *Sender) Narrow(now crdt.Time, id int) {
	x := s.exchange
	if id == 0 || x.scan != id {
		return
	}
	s.sweep.width = max(len(x.parts)/2, exchangeLeast)
	s.exchange = exchange{}
	if x.why == toResync {
		for _, part := range slices.Backward(x.parts) {
			if x.current(s, part) { // else it is in the queue again
				s.resyncs = slices.Insert(s.resyncs, 0, part)
			}
		}
		return
	}
	s.spend(now, exchangeRecords) // the sweep stands where it stood
}

// Folded takes in what scan id went through, as Scan.Folds.
func (s *Sender) Folded(now crdt.Time, id int, folds []Fold) {
	x := &s.exchange
	if id == 0 || x.scan != id {
		return
	}
	for i := range folds {
		f := &folds[i]
		x.records += f.records
		if !x.current(s, f.part) {
			continue
		}
		width := bucketBits(f.records)
		if x.why == toConfirm {
			width = s.sweep.suspects[f.part].bits
		}
		x.looks = append(x.looks, look{f.part, f.cutoff, f.at(width), f.records})
	}
	if wider := 2 * s.sweep.wide(); x.records*wider <= exchangeRecords*len(folds) {
		s.sweep.width = min(wider, crdt.Partitions)
	}
	s.sendDigests(now)
}

// current reports whether x still speaks for part: no resync has been asked for
// since it began.
func (x *exchange) current(s *Sender, part uint16) bool {
	p := &s.parts[part]
	switch x.why {
	case toResync:
		return p.resync && p.round <= x.round
	case toConfirm:
		return s.sweep.suspects[part] != nil // a resync clears it
	}
	return !p.resync
}

// sendDigests sends what was folded.
func (s *Sender) sendDigests(now crdt.Time) {
	x := &s.exchange
	x.scan = 0
	if x.why != toResync {
		s.spend(now, x.records)
	}
	if len(x.looks) == 0 {
		s.swept(now, x)
		s.exchange = exchange{}
		return
	}
	slices.SortFunc(x.looks, func(a, b look) int { return cmp.Compare(a.part, b.part) })
	s.digests++
	x.serial, x.at = s.digests, now
	f := Digests{Serial: x.serial}
	for _, l := range x.looks {
		f.Parts = append(f.Parts, PartSums{l.part, l.cutoff, l.sums})
	}
	if x.why == toResync {
		s.ctrl = append(s.ctrl, AppendFrame(nil, f))
	} else {
		s.low = AppendFrame(nil, f)
	}
}

// differs takes in the peer's answer.
func (s *Sender) differs(now crdt.Time, f Differs) error {
	x := s.exchange
	if x.serial == 0 || f.Serial != x.serial || s.low != nil {
		return nil // came twice, or too late
	}
	for _, p := range f.Parts {
		i := slices.IndexFunc(x.looks, func(l look) bool { return l.part == p.Partition })
		if i < 0 || int(p.Buckets[len(p.Buckets)-1].Bucket) >= len(x.looks[i].sums) {
			return fmt.Errorf("%w: differs in what partition %d was not asked", ErrFrame, p.Partition)
		}
	}
	s.exchange = exchange{}
	s.swept(now, &x)
	for _, l := range x.looks {
		if !x.current(s, l.part) {
			continue
		}
		var found []BucketSum
		for _, p := range f.Parts {
			if p.Partition == l.part {
				found = p.Buckets
			}
		}
		switch x.why {
		case toResync:
			s.resyncFrom(now, &x, l, found)
		case toLook:
			s.suspect(now, l, found)
		case toConfirm:
			s.confirm(l, found)
		}
	}
	return nil
}

// tickExchange gives an exchange up whose answer does not come: the peer's scan
// may take long, but not that long.
func (s *Sender) tickExchange(now crdt.Time) {
	x := &s.exchange
	if x.serial == 0 || s.low != nil || now.Sub(x.at) < s.limits.Redeliver<<maxRedeliverDoubling {
		return
	}
	s.counts.Redeliveries++
	for _, l := range x.looks {
		if x.why == toResync && x.current(s, l.part) {
			s.resyncs = append(s.resyncs, l.part)
		}
	}
	s.exchange = exchange{} // what a sweep looked at is where it still stands
}
