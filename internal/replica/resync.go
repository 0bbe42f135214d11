package replica

import (
	"fmt"
	"slices"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// A resync gives the peer the whole state of a partition, then a rebase to where
// the log was before the scan began. It is the plain form: every record is sent.
// Digests, which find the few that differ, take its place behind Scan, State and
// Scanned.
type resync struct {
	queue []uint16 // partitions that want it
	id    int      // of the scan that is under way, counted
	on    bool
	part  uint16
	head  engine.Position // of the log, noted before the scan
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

// resyncing reports whether the peer still lacks some of what a resync sends.
func (s *Sender) resyncing() bool {
	return s.resync.on || len(s.resync.queue) > 0 || len(s.recs) > 0 || s.unjoined > 0
}

// wantState has the state of part sent. What is on its way of it is dropped, and
// so is what the log offers until then.
func (s *Sender) wantState(part uint16) {
	s.counts.Resyncs++
	p := &s.parts[part]
	p.resync, p.holes, p.tries = true, 0, 0
	s.forget(part)
	if s.rest.Partition == part {
		s.rest = engine.Batch{}
	}
	if s.resync.on && s.resync.part == part {
		s.resync.on, s.recs = false, nil
	}
	s.resync.queue = append(s.resync.queue, part)
}

// Scan returns the partition that is to be scanned and the number of the scan,
// if one is due. The head of the log is to be read first and given to ScanFrom.
func (s *Sender) Scan() (part uint16, id int, due bool) {
	if s.resync.on || len(s.resync.queue) == 0 {
		return 0, 0, false
	}
	s.resync.part, s.resync.queue = s.resync.queue[0], s.resync.queue[1:]
	s.resync.id++
	s.resync.on = true
	return s.resync.part, s.resync.id, true
}

// ScanFrom takes in the head that the log had before scan id began. Whatever is
// later comes by the log.
func (s *Sender) ScanFrom(id int, head engine.Positions) {
	if s.scanning(id) {
		s.resync.head = head[s.resync.part]
	}
}

// State takes in some of what scan id found; false means that it is over and
// nobody waits for more. It may be called when Ready.
func (s *Sender) State(now crdt.Time, id int, records []crdt.Record) (bool, error) {
	if !s.scanning(id) {
		return false, nil
	}
	s.recs = records
	return true, s.pump(now)
}

// Scanned ends scan id, which went through the whole partition. It may be called
// when Ready.
func (s *Sender) Scanned(now crdt.Time, id int) {
	if !s.scanning(id) {
		return
	}
	s.resync.on = false
	p := &s.parts[s.resync.part]
	p.resync = false
	p.offered = s.resync.head
	s.refollow()
	if p.offered == (engine.Position{}) {
		return // nothing was ever logged here: there is no place to go on from
	}
	b := engine.Batch{
		Partition: s.resync.part, Actor: p.offered.Actor, Fork: p.offered.N, First: p.offered.N + 1, Rebase: true,
	}
	it := &item{
		part: b.Partition, last: p.offered, at: now, rebase: true,
		buf: appendEntriesHead(appendHead(nil, kindBatch), b),
	}
	p.flight = append(p.flight, it)
	s.queue = append(s.queue, it)
}

func (s *Sender) scanning(id int) bool { return s.resync.on && s.resync.id == id }

// pumpStates lets in as many records of the scan as there is room for.
func (s *Sender) pumpStates(now crdt.Time) error {
	for len(s.recs) > 0 {
		one := appendSized(nil, func(b []byte) []byte { return crdt.AppendRecord(b, s.recs[0]) })
		it, size := s.openStates(one)
		if ok, err := s.letIn(now, it, one, size); !ok || err != nil {
			return err
		}
		s.recs = s.recs[1:]
	}
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
	return &item{part: s.resync.part, states: true, buf: buf}, len(buf) + len(one)
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
	again := map[uint16]bool{}
	for _, it := range s.states {
		if it.bytes > 0 && !again[it.part] && !s.queued(it.part) {
			again[it.part] = true
			s.counts.Redeliveries++
			s.wantState(it.part)
		}
		s.drop(it)
	}
	s.states = nil
}

func (s *Sender) queued(part uint16) bool { return slices.Contains(s.resync.queue, part) }

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
