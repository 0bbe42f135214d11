package replica

import (
	"math/bits"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// Anti-entropy compares all partitions in turn, at a rate, so that what was lost
// without a trace is found: by an engine's failover, or by a fault of ours.
//
// The first look finds buckets that differ, most of them because something is on
// its way. Those are looked at again, once the peer has acknowledged the head
// that the log had after the first look, and so long later that what other links
// had on the way is there too. What differs then is sent; it counts as diverged
// if neither end's sum has changed in between, so that no write can be the reason.
type sweep struct {
	Sweep
	group    exchange // the next one, once it is due
	suspects [crdt.Partitions]*suspect
	asked    int              // calls of Compare
	hello    engine.Positions // how far the peer was when the link began
	greeted  bool             // hello has been compared with a head
	actor    crdt.Actor       // of the log, as last seen
}

// A Sweep is how far anti-entropy has come. It is passed from a link's Sender to
// the next one's, by Sender.Sweep and Resume.
type Sweep struct {
	width  int       // how many partitions are scanned in one walk; 0: all
	next   uint16    // the partition that is compared next
	demand int       // how many are to be compared at once
	due    crdt.Time // when the next one is without demand; zero: not known
	free   crdt.Time // when the budget allows the next scan
}

// A suspect is a partition in which buckets differed at a first look.
type suspect struct {
	bits    uint8
	at      crdt.Time // when the answer came
	buckets []suspectBucket
	marked  bool
	mark    engine.Position // what the peer must have before the second look
}

type suspectBucket struct {
	bucket       uint16
	here, theirs uint64
}

func (l *look) bits() uint8 { return uint8(bits.Len(uint(len(l.sums))) - 1) } //nolint:gosec // at most 10

// Compare has all partitions compared with the peer, as fast as the budget
// allows: after a failover, or when somebody asks.
func (s *Sender) Compare() {
	s.sweep.demand = crdt.Partitions
	s.sweep.asked++
}

// Sweep returns how far anti-entropy has come, for the next link.
func (s *Sender) Sweep() Sweep {
	out := s.sweep.Sweep
	if s.resyncing() { // what was found and is not joined yet must be found again
		out.demand = crdt.Partitions
	}
	for _, sus := range s.sweep.suspects {
		if sus != nil {
			out.demand = crdt.Partitions // a second look is a first one then
		}
	}
	return out
}

// Resume goes on with a sweep that an earlier link began.
func (s *Sender) Resume(from Sweep) { s.sweep.Sweep = from }

// wide returns how many partitions are scanned in one walk, at most.
func (w Sweep) wide() int {
	if w.width == 0 {
		return crdt.Partitions
	}
	return w.width
}

// step is a partition's share of a sweep.
func (s *Sender) step() time.Duration { return s.limits.Sweep / crdt.Partitions }

// tickSweep makes the next exchange if one is due. A link that has just begun
// waits a little, so that one that comes and goes does not scan each time.
func (s *Sender) tickSweep(now crdt.Time) {
	w := &s.sweep
	if w.due == 0 {
		w.due = now.Add(s.step())
	}
	if s.comparing() || now < w.free {
		return
	}
	if s.secondLooks(now); len(w.group.parts) > 0 {
		return
	}
	if w.demand > 0 || now >= w.due {
		s.firstLooks(now)
	}
}

// comparing reports whether there is an exchange, or what one found is not sent.
func (s *Sender) comparing() bool {
	return s.pass.on || len(s.todo) > 0 || len(s.resyncs) > 0 || len(s.sweep.group.parts) > 0 ||
		s.exchange.scan != 0 || s.exchange.serial != 0
}

// secondLooks groups the suspects whose time has come.
func (s *Sender) secondLooks(now crdt.Time) {
	w := &s.sweep
	w.group.why = toConfirm
	for i, sus := range w.suspects {
		if sus != nil && sus.marked && len(w.group.parts) < w.wide() &&
			covers(s.parts[i].acked, sus.mark) && now.Sub(sus.at) >= s.limits.Redeliver {
			w.group.parts = append(w.group.parts, uint16(i)) //nolint:gosec // below Partitions
		}
	}
}

// firstLooks groups the next partitions, as many as are asked for and one walk is for.
func (s *Sender) firstLooks(now crdt.Time) {
	w := &s.sweep
	span := uint16(w.wide()) //nolint:gosec // at most Partitions
	if w.demand > 0 {
		span = min(span, uint16(w.demand)) //nolint:gosec // at most Partitions
	}
	w.group = exchange{why: toLook, asked: w.asked, first: w.next, span: span}
	for i := range span {
		part := (w.next + i) % crdt.Partitions
		if w.suspects[part] == nil && !s.parts[part].resync {
			w.group.parts = append(w.group.parts, part)
		}
	}
	if len(w.group.parts) == 0 { // all of them are being seen to
		s.swept(now, &w.group)
		w.group = exchange{}
	}
}

// swept moves the sweep on by what x compared.
func (s *Sender) swept(now crdt.Time, x *exchange) {
	if x.why != toLook {
		return
	}
	w := &s.sweep
	w.next = (x.first + x.span) % crdt.Partitions
	if x.asked == w.asked { // else it began before it was asked for
		w.demand = max(0, w.demand-int(x.span))
	}
	w.due = now.Add(s.step() * time.Duration(x.span))
}

// spend takes the scan of so many records out of the budget.
func (s *Sender) spend(now crdt.Time, records int) {
	s.sweep.free = max(now, s.sweep.free).Add(time.Duration(records) * time.Second / time.Duration(s.limits.ScanRate))
}

// suspect notes what differs at a first look.
func (s *Sender) suspect(now crdt.Time, l look, found []BucketSum) {
	s.counts.Compared++
	if len(found) == 0 {
		return
	}
	sus := &suspect{bits: l.bits(), at: now}
	for _, b := range found {
		sus.buckets = append(sus.buckets, suspectBucket{b.Bucket, l.sums[b.Bucket], b.Sum})
	}
	s.sweep.suspects[l.part] = sus
}

// confirm sends what differs at the second look too.
func (s *Sender) confirm(l look, found []BucketSum) {
	s.counts.Compared++
	was := s.sweep.suspects[l.part].buckets
	s.sweep.suspects[l.part] = nil
	again := found[:0:0]
	for _, b := range found {
		for len(was) > 0 && was[0].bucket < b.Bucket { // both are in order
			was = was[1:]
		}
		if len(was) == 0 || was[0].bucket != b.Bucket {
			continue // the next sweep looks at it
		}
		again = append(again, b)
		if was[0].here == l.sums[b.Bucket] && was[0].theirs == b.Sum {
			s.counts.Diverged++
		}
	}
	if len(again) > 0 {
		s.todo = append(s.todo, l.transfer(again))
	}
}

// beatSweep takes in a head of the log that was read after at.
func (s *Sender) beatSweep(at crdt.Time, head *engine.Positions) {
	w := &s.sweep
	for i, sus := range w.suspects {
		// A predecessor's position may never be acknowledged.
		if sus != nil && at > sus.at && (!sus.marked || sus.mark.Actor != head[i].Actor) {
			sus.marked, sus.mark = true, head[i]
		}
	}
	if w.greeted {
		return
	}
	w.greeted = true
	for i, was := range w.hello {
		if was.Actor == head[i].Actor && was.N > head[i].N {
			s.Compare() // the peer has entries that the log lost
		}
		s.succeeded(was, head[i].Actor)
	}
}

// succeeded has all compared if the log goes on under an actor who is new to a
// peer that was at at: its predecessor's last entries may be lost here, or there.
func (s *Sender) succeeded(at engine.Position, actor crdt.Actor) {
	if at.Actor != 0 && actor != 0 && actor != at.Actor && actor != s.sweep.actor {
		s.sweep.actor = actor
		s.Compare()
	}
}
