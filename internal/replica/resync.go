package replica

import (
	"fmt"
	"maps"
	"slices"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// A resync makes the peer hold the whole state of some partitions: an exchange finds
// the buckets that differ, the records in them are sent in one walk, then a rebase of
// each partition goes on from where the log was before the origin's scan.

// A transfer is a partition of which some buckets are to be sent, for a resync or
// to mend what anti-entropy found.
type transfer struct {
	part    uint16
	resync  bool
	round   int // Sender.rounds when the exchange began
	head    engine.Position
	bits    uint8
	buckets bucketSet
	records int // in the partition
}

// A pass is the scan that transfers are being made by.
type pass struct {
	transfers map[uint16]transfer // by partition; a resync that overtakes one takes it away
	parts     []uint16            // in order; of some the transfer may be gone
	resync    bool                // all of them are for resyncs; else none is
	id        int
	on        bool
	ended     bool // the scan is through; some records may wait for room
}

// pulls are the records that the peer asked for.
type pulls struct {
	keys    []crdt.Key
	reading bool
}

const (
	// pullChunk is how many records are read at a time for a pull, so that an
	// answer stays small beside the window it comes on top of.
	pullChunk = 16
	// maxPullQueue bounds what a peer can ask for: one batch a partition.
	maxPullQueue = crdt.Partitions * maxPullKeys
)

// resyncing reports whether the peer is known to lack some of the state.
func (s *Sender) resyncing() bool {
	for i := range s.parts {
		if s.parts[i].resync {
			return true
		}
	}
	return s.pass.on || len(s.todo) > 0 || s.unjoined > 0
}

// wantState has the state of part sent. What is on its way of it is dropped, and
// so is what the log offers until then.
func (s *Sender) wantState(part uint16) {
	s.counts.Resyncs++
	p := &s.parts[part]
	s.rounds++
	p.resync, p.round, p.holes, p.tries = true, s.rounds, 0, 0
	s.forget(part)
	if s.rest.Partition == part {
		s.rest = engine.Batch{}
	}
	s.leavePass(part)
	s.sweep.suspects[part] = nil
	if !s.queued(part) {
		s.resyncs = append(s.resyncs, part)
	}
}

// leavePass takes a partition out of the pass that is under way, if it is in it.
func (s *Sender) leavePass(part uint16) {
	if _, in := s.pass.transfers[part]; !in {
		return
	}
	delete(s.pass.transfers, part)
	if len(s.pass.transfers) == 0 {
		s.pass, s.recs = pass{}, nil
		return
	}
	s.recs = slices.DeleteFunc(s.recs, func(r crdt.Record) bool { return r.Key.Partition() == part })
}

func (s *Sender) queued(part uint16) bool { return slices.Contains(s.resyncs, part) }

// resyncFrom goes on from what differs in a partition that is resynced.
func (s *Sender) resyncFrom(now crdt.Time, x *exchange, l look, found []BucketSum) {
	if len(found) == 0 {
		s.rebase(now, l.part, x.head[l.part])
		return
	}
	t := l.transfer(found)
	t.resync, t.round, t.head = true, x.round, x.head[l.part]
	s.todo = append(s.todo, t)
}

// transfer has the buckets in found sent.
func (l *look) transfer(found []BucketSum) transfer {
	t := transfer{part: l.part, bits: l.bits(), records: l.records}
	for _, b := range found {
		t.buckets.add(b.Bucket)
	}
	return t
}

// nextTransfers returns a scan for the transfers that have not been overtaken by a
// resync, if there are any. There is one a partition at most, and an exchange finds
// all of them, so that they are of one kind.
func (s *Sender) nextTransfers() (Scan, bool) {
	next := pass{transfers: map[uint16]transfer{}, on: true}
	for _, t := range s.todo {
		if p := &s.parts[t.part]; t.resync && p.round <= t.round || !t.resync && !p.resync {
			next.transfers[t.part], next.resync = t, t.resync
			next.parts = append(next.parts, t.part)
		}
	}
	s.todo = nil
	if len(next.parts) == 0 {
		return Scan{}, false
	}
	s.scans++
	next.id = s.scans
	s.pass = next
	return Scan{ID: next.id, Parts: slices.Clone(next.parts), States: true, wants: maps.Clone(next.transfers)}, true
}

// Room reports whether State may be called. While it may not, the scan waits:
// that is its back-pressure.
func (s *Sender) Room() bool {
	switch {
	case !s.pass.on:
		return true // to hear that it is over
	case len(s.recs) > 0:
		return false
	case s.pass.resync:
		return s.Ready()
	}
	return len(s.rest.Frags) == 0 && s.unacked < s.window/mendShare
}

// mendShare: what anti-entropy mends takes up no more of the window than one
// part in so many, so that entries of the log don't wait behind it for long.
const mendShare = 4

// State takes in some records that scan id wants; false means that it is over and
// nobody waits for more. It may be called when there is Room.
func (s *Sender) State(now crdt.Time, id int, records []crdt.Record) (bool, error) {
	if !s.pass.on || s.pass.id != id {
		return false, nil
	}
	waiting := len(s.recs)
	for _, r := range records {
		if _, in := s.pass.transfers[r.Key.Partition()]; in {
			s.recs = append(s.recs, r)
		}
	}
	if taken := uint64(len(s.recs) - waiting); s.pass.resync { //nolint:gosec // not below 0
		s.counts.States += taken
	} else {
		s.counts.Repaired += taken
	}
	return true, s.pump(now)
}

// Scanned ends scan id, which went through all its partitions.
func (s *Sender) Scanned(now crdt.Time, id int) {
	if s.pass.on && s.pass.id == id {
		s.pass.ended = true
		s.endPass(now)
	}
}

// endPass ends a scan for States once all that it found has been let in.
func (s *Sender) endPass(now crdt.Time) {
	if !s.pass.ended || len(s.recs) > 0 {
		return
	}
	done := s.pass
	s.pass = pass{}
	for _, part := range done.parts {
		t, in := done.transfers[part]
		switch {
		case in && t.resync:
			s.rebase(now, part, t.head)
		case in:
			s.spend(now, t.records)
		}
	}
}

// rebase lets the peer, which holds the state of part or is about to, go on from
// where the log was.
func (s *Sender) rebase(now crdt.Time, part uint16, head engine.Position) {
	p := &s.parts[part]
	p.resync = false
	p.offered = head
	s.refollow()
	if head == (engine.Position{}) {
		return // nothing was ever logged here: there is no place to go on from
	}
	b := engine.Batch{Partition: part, Actor: head.Actor, Fork: head.N, First: head.N + 1, Rebase: true}
	it := &item{
		part: part, last: head, at: now, rebase: true,
		buf: appendEntriesHead(appendHead(nil, kindBatch), b),
	}
	p.flight = append(p.flight, it)
	s.queue = append(s.queue, it)
}

// pumpStates lets in as many records of the scan as there is room for.
func (s *Sender) pumpStates(now crdt.Time) error {
	for len(s.recs) > 0 {
		one := appendSized(nil, func(b []byte) []byte { return crdt.AppendRecord(b, s.recs[0]) })
		it, size := s.openStates(one)
		if !s.pass.resync && s.unacked > 0 && s.unacked+size > s.window/mendShare {
			return nil
		}
		if ok, err := s.letIn(now, it, one, size); !ok || err != nil {
			return err
		}
		it.parts |= engine.PartitionsOf(s.recs[0].Key.Partition())
		s.recs = s.recs[1:]
	}
	s.endPass(now)
	return nil
}

func (s *Sender) openStates(one []byte) (*item, int) {
	if len(s.queue) > 0 {
		it := s.queue[len(s.queue)-1]
		if it.states && !it.gone && len(it.buf)+len(one) <= frameTarget {
			return it, len(one)
		}
	}
	buf := newStates()
	return &item{states: true, buf: buf}, len(buf) + len(one)
}

func newStates() []byte {
	return append(appendHead(nil, kindStates), make([]byte, statesHeadBytes)...)
}

// joined frees the States frames that the peer's engine holds.
func (s *Sender) joined(serial uint64) {
	for len(s.states) > 0 && s.states[0].serial <= serial {
		s.drop(s.states[0])
		s.states = s.states[1:]
	}
}

// tickStates starts a resync over whose states are not joined in time.
func (s *Sender) tickStates(now crdt.Time) {
	if len(s.states) == 0 || now.Sub(s.states[0].at) < s.limits.Redeliver<<maxRedeliverDoubling {
		return
	}
	var again engine.Partitions
	for _, it := range s.states {
		for part := range it.parts.All() {
			if !again.Has(part) && !s.queued(part) {
				again |= engine.PartitionsOf(part)
				s.counts.Redeliveries++
				s.wantState(part)
			}
		}
		s.drop(it)
	}
	s.states = nil
}

// pull notes what the peer asks for.
func (s *Sender) pull(f Pull) error {
	if len(s.pulls.keys)+len(f.Keys) > maxPullQueue {
		return fmt.Errorf("%w: pulls of more than %d keys", ErrFrame, maxPullQueue)
	}
	s.pulls.keys = append(s.pulls.keys, f.Keys...)
	return nil
}

// Reads returns records to be read from the engine for a pull, if any are due.
// They are to be given to Answer, bottom ones too.
func (s *Sender) Reads() ([]crdt.Key, bool) {
	if s.pulls.reading || len(s.pulls.keys) == 0 || s.answering() {
		return nil, false
	}
	n := min(pullChunk, len(s.pulls.keys))
	keys := s.pulls.keys[:n]
	s.pulls.keys = s.pulls.keys[n:]
	s.pulls.reading = true
	return keys, true
}

// answering reports whether an answer is on its way, which the next one waits for.
func (s *Sender) answering() bool {
	for _, it := range s.states {
		if it.bytes == 0 {
			return true
		}
	}
	return false
}

// Answer sends the records that Reads asked for.
func (s *Sender) Answer(now crdt.Time, records []crdt.Record) error {
	s.pulls.reading = false
	buf, count := newStates(), uint32(0)
	for _, r := range records {
		one := appendSized(nil, func(b []byte) []byte { return crdt.AppendRecord(b, r) })
		if count > 0 && len(buf)+len(one) > frameTarget {
			s.answer(now, buf, count)
			buf, count = newStates(), 0
		}
		if len(buf)+len(one) > maxFrameBytes {
			return fmt.Errorf("answer pull of %v: %w: %d bytes", r.Key, ErrTooLarge, len(one))
		}
		buf = append(buf, one...)
		count++
		s.counts.Pulls++
	}
	if count > 0 {
		s.answer(now, buf, count)
	}
	return nil
}

// answer puts a States frame before all that waits for the window. It gets its
// serial at once: whatever is in the queue goes later.
func (s *Sender) answer(now crdt.Time, buf []byte, count uint32) {
	s.ctrl = append(s.ctrl, s.seal(&item{states: true, taken: true, at: now, buf: buf, count: count}))
}
