package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// ErrTooLarge says that an entry or a record fits into no frame. It is never
// skipped, so its link stands still until somebody looks.
var ErrTooLarge = errors.New("record is too large for a frame")

// ErrGoodbye says that the other end gave the link up; its reason follows.
var ErrGoodbye = errors.New("peer said goodbye")

// A Sender is the origin's end of one link. It is pure and for one goroutine,
// and is used for one connection. After an error of any method the link is over
// and the next one starts from the peer's new hello.
type Sender struct {
	limits Limits
	window int
	parts  [crdt.Partitions]outPart
	// queue holds what the window let in and no one has taken yet, in order.
	queue []*item
	// ctrl holds whole frames that no window holds back.
	ctrl     [][]byte
	low      []byte        // a frame of digests, which goes when nothing else does
	unacked  int           // bytes of batches and of a resync's states
	rest     engine.Batch  // what the window had no room for; no entries: nothing
	recs     []crdt.Record // of the scan, for which there was no room
	states   []*item       // States frames taken and not joined, by serial
	serial   uint64        // of the last States frame taken
	unjoined int           // frames of a resync's states that the peer does not hold yet
	gen      int           // which Follow is wanted
	offers   uint64        // batches offered so far
	beaten   uint64        // offers at the last heartbeat
	resyncs  []uint16      // partitions that want a resync and are in no exchange
	rounds   int           // resyncs that were asked for so far
	exchange exchange
	scans    int        // scans asked for so far
	digests  uint64     // serial of the last Digests frame
	todo     []transfer // what exchanges found, in order
	pass     pass
	sweep    sweep
	pulls    pulls
	peer     crdt.Time // time of the peer's last heartbeat
	rtt      time.Duration
	counts   Counts
}

// Counts are what a Sender has done.
type Counts struct {
	Entries      uint64 // sent, redeliveries included
	Redeliveries uint64 // partitions rewound because no acknowledgement came
	Holes        uint64 // partitions rewound because the peer asked
	Resyncs      uint64 // partitions whose whole state the peer needed
	States       uint64 // records sent by resyncs
	Pulls        uint64 // records sent because the peer had gaps
	Compared     uint64 // partitions compared by anti-entropy, each look
	// Diverged counts buckets that anti-entropy found to differ at two looks,
	// though nothing was on its way to the peer and neither end had changed any
	// of their records in between. It should stay zero.
	Diverged uint64
	Repaired uint64 // records sent because their buckets differed at two looks
}

type outPart struct {
	offered engine.Position // the last entry let in
	acked   engine.Position
	flight  []*item         // let in and not acknowledged, in order
	tries   int             // redeliveries since the last progress
	holes   int             // holes since the last progress
	resync  bool            // the state is under way; offers are dropped
	round   int             // of the last resync, as Sender.rounds counts
	stuck   int             // heartbeats at which the head was ahead and the log silent
	seen    engine.Position // offered at the last heartbeat
}

// An item is a frame on its way, from when it is let in until it is acknowledged.
type item struct {
	part   uint16            // of a batch
	parts  engine.Partitions // of States that no pull asked for
	last   engine.Position   // of a batch; zero for States
	serial uint64            // of States, once taken
	bytes  int               // what it takes of the window
	buf    []byte            // the frame until it is taken
	count  uint32            // entries or records in buf
	at     crdt.Time         // when taken, or let in
	taken  bool
	gone   bool // dropped from the window
	states bool
	rebase bool
}

// NewSender returns a Sender for a peer that said hello.
func NewSender(here crdt.Region, hello Hello, limits Limits) *Sender {
	s := &Sender{limits: limits.withDefaults(), gen: 1}
	s.window = s.limits.Window
	if hello.Window > 0 {
		s.window = min(s.window, int(hello.Window))
	}
	s.sweep.hello = hello.At
	for p := range s.parts {
		s.parts[p].offered, s.parts[p].acked = hello.At[p], hello.At[p]
		if hello.Want&(1<<p) != 0 {
			s.wantState(uint16(p)) //nolint:gosec // below Partitions
		}
	}
	return s
}

// Follow returns from where the log is to be followed. When the number changes,
// what was followed under another one is over: its batches are ignored.
func (s *Sender) Follow() (gen int, from engine.Positions) {
	for p := range s.parts {
		from[p] = s.parts[p].offered
	}
	return s.gen, from
}

// Ready reports whether Offer may be called. While it may not, the log waits:
// that is the back-pressure. Records of a resync have their turn before more of
// the log; those that anti-entropy sends have not.
func (s *Sender) Ready() bool {
	return len(s.rest.Frags) == 0 && (len(s.recs) == 0 || !s.pass.resync) && s.unacked < s.window
}

// Offer takes in what the log has emitted under gen.
//
// Path replicate 1/4: from engine.Log.Follow; next Sender.Take.
func (s *Sender) Offer(now crdt.Time, gen int, b engine.Batch) error {
	p := &s.parts[b.Partition]
	if gen != s.gen || p.resync || len(b.Frags) == 0 {
		return nil
	}
	s.offers++
	s.succeeded(p.offered, b.Actor)
	if b.First > follows(p.offered, b) {
		s.wantState(b.Partition) // the log begins beyond what the peer has
		return nil
	}
	s.rest = b
	err := s.pump(now)
	s.rest.Frags = slices.Clone(s.rest.Frags) // the log may use its slice again
	return err
}

// follows returns the number of the entry that b should begin with for a reader
// at: of a predecessor, it needs all that came before the fork.
func follows(at engine.Position, b engine.Batch) uint64 {
	if at.Actor == b.Actor {
		return at.N + 1
	}
	return min(at.N, b.Fork) + 1
}

// pump lets in as much as there is room for.
func (s *Sender) pump(now crdt.Time) error {
	for len(s.rest.Frags) > 0 {
		one := appendEntry(nil, s.rest.Frags[0])
		it, size := s.openBatch(one)
		ok, err := s.letIn(now, it, one, size)
		if !ok || err != nil {
			return err
		}
		it.last = engine.Position{Actor: s.rest.Actor, N: s.rest.First}
		s.parts[it.part].offered = it.last
		s.counts.Entries++
		s.rest.First++
		s.rest.Frags = s.rest.Frags[1:]
	}
	return s.pumpStates(now)
}

// letIn puts one entry or record of size bytes into it, if the window has room.
func (s *Sender) letIn(now crdt.Time, it *item, one []byte, size int) (bool, error) {
	if len(it.buf)+len(one) > maxFrameBytes {
		return false, fmt.Errorf("send partition %d: %w: %d bytes", it.part, ErrTooLarge, len(one))
	}
	if s.unacked > 0 && s.unacked+size > s.window {
		return false, nil
	}
	if it.count == 0 {
		it.at = now
		s.queue = append(s.queue, it)
		if it.states {
			s.unjoined++
		} else {
			s.parts[it.part].flight = append(s.parts[it.part].flight, it)
		}
	}
	it.buf = append(it.buf, one...)
	it.count++
	it.bytes += size
	s.unacked += size
	return true, nil
}

// openBatch returns the frame that the next entry of rest goes into, and what
// that takes of the window. Entries gather in a frame only while it waits for
// the link, so that on an idle link none waits.
func (s *Sender) openBatch(one []byte) (*item, int) {
	b := s.rest
	if flight := s.parts[b.Partition].flight; len(flight) > 0 {
		it := flight[len(flight)-1]
		if !it.taken && !it.rebase && it.last == (engine.Position{Actor: b.Actor, N: b.First - 1}) &&
			it.count < frameEntries && len(it.buf)+len(one) <= frameTarget {
			return it, len(one)
		}
	}
	buf := appendEntriesHead(appendHead(nil, kindBatch), engine.Batch{
		Partition: b.Partition, Actor: b.Actor, Fork: b.Fork, First: b.First,
	})
	return &item{part: b.Partition, buf: buf}, len(buf) + len(one)
}

// Take returns whole frames to write next, nil if there are none. It returns
// not much more than atMost bytes.
//
// Path replicate 2/4: next, in the peer, Receiver.Receive.
func (s *Sender) Take(now crdt.Time, atMost int) []byte {
	var out []byte
	for len(s.ctrl) > 0 && len(out) < atMost {
		out = append(out, s.ctrl[0]...)
		s.ctrl = s.ctrl[1:]
	}
	for len(s.queue) > 0 && len(out) < atMost {
		it := s.queue[0]
		s.queue = s.queue[1:]
		if it.gone {
			continue
		}
		it.taken, it.at = true, now
		out = append(out, s.seal(it)...)
		it.buf = nil
	}
	if s.low != nil && len(out) < atMost { // the queue is empty
		out = append(out, s.low...)
		s.low, s.exchange.at = nil, now
	}
	return out
}

// seal fills in what is known of a frame only when it goes.
func (s *Sender) seal(it *item) []byte {
	b := it.buf
	setLength(b)
	if it.states {
		s.serial++
		it.serial = s.serial
		s.states = append(s.states, it)
		binary.BigEndian.PutUint64(b[headBytes:], it.serial)
		binary.BigEndian.PutUint32(b[headBytes+statesHeadBytes-4:], it.count)
		return b
	}
	binary.BigEndian.PutUint64(b[headBytes:], s.serial)
	binary.BigEndian.PutUint32(b[headBytes+entriesHeadBytes-4:], it.count)
	return b
}

// Receive takes in a frame from the peer.
func (s *Sender) Receive(now crdt.Time, f Frame) error {
	switch f := f.(type) {
	case Ack:
		s.ack(f.Partition, f.At)
		s.joined(f.Joined)
	case Hole:
		s.hole(f)
	case Pull:
		return s.pull(f)
	case Heartbeat:
		s.peer = f.Time
		if f.Echo > 0 {
			s.rtt = now.Sub(f.Echo)
		}
		for p, at := range f.At {
			s.ack(uint16(p), at)       //nolint:gosec // below Partitions
			s.elsewhere(uint16(p), at) //nolint:gosec // below Partitions
		}
	case Differs:
		if err := s.differs(now, f); err != nil {
			return err
		}
	case Goodbye:
		return fmt.Errorf("%w: %q", ErrGoodbye, f.Reason)
	default:
		return fmt.Errorf("%w: %T from a receiver", ErrFrame, f)
	}
	return s.pump(now)
}

// ack frees what the peer holds.
func (s *Sender) ack(part uint16, at engine.Position) {
	p := &s.parts[part]
	held := 0
	for i, it := range p.flight {
		if it.last.Actor == at.Actor && it.last.N <= at.N {
			held = i + 1
		} else if it.last.Actor == at.Actor || held > 0 {
			break
		}
	}
	for _, it := range p.flight[:held] {
		s.drop(it)
	}
	p.flight = p.flight[held:]
	if held > 0 || at.Actor == p.acked.Actor && at.N > p.acked.N {
		p.acked, p.tries, p.holes = at, 0, 0
	}
}

// elsewhere goes back to where the peer says it is, if that is at another actor's
// entries than it was thought to be and nothing is on its way: after two failovers,
// of which the second took back what the first one's successor wrote.
func (s *Sender) elsewhere(part uint16, at engine.Position) {
	p := &s.parts[part]
	if at.Actor == 0 || at.Actor == p.acked.Actor || len(p.flight) > 0 || p.resync {
		return
	}
	s.counts.Redeliveries++
	p.acked = at
	s.rewind(part)
}

func (s *Sender) drop(it *item) {
	if !it.gone {
		it.gone = true
		if it.states && it.bytes > 0 {
			s.unjoined--
		}
		s.unacked -= it.bytes
	}
}

// Tick redelivers what was not acknowledged in time, and begins what anti-entropy
// has to do. It is to be called now and
// then, a few times within Limits.Redeliver.
func (s *Sender) Tick(now crdt.Time) error {
	for i := range s.parts {
		p := &s.parts[i]
		if len(p.flight) == 0 || !p.flight[0].taken {
			continue
		}
		doubled := min(p.tries, maxRedeliverDoubling)
		if p.flight[0].rebase {
			doubled = maxRedeliverDoubling // it waits behind all of the state
		}
		if now.Sub(p.flight[0].at) < s.limits.Redeliver<<doubled {
			continue
		}
		p.tries++
		s.counts.Redeliveries++
		s.rewind(uint16(i)) //nolint:gosec // below Partitions
	}
	s.tickStates(now)
	s.tickExchange(now)
	s.tickSweep(now)
	return s.pump(now)
}

// rewind goes back to what the peer is known to hold. The log is the only copy
// that is kept of what is sent again.
func (s *Sender) rewind(part uint16) {
	s.forget(part)
	p := &s.parts[part]
	p.offered = p.acked
	s.refollow()
}

// forget drops all of a partition that is on its way.
func (s *Sender) forget(part uint16) {
	p := &s.parts[part]
	for _, it := range p.flight {
		s.drop(it)
	}
	p.flight = nil
}

// refollow asks for the log anew, from what has been let in.
func (s *Sender) refollow() {
	s.rest = engine.Batch{} // the new Follow brings it again
	s.gen++
}

// hole goes back to where the peer is. A peer that is still not content when
// the log was sent from there twice is given the state, and at once if it is at
// another actor's entries: it takes those that it was sent for a predecessor's, and
// would again.
func (s *Sender) hole(f Hole) {
	p := &s.parts[f.Partition]
	if p.resync {
		return
	}
	s.counts.Holes++
	p.acked = f.At
	foreign := f.At.Actor != 0 && f.At.Actor != p.offered.Actor
	if p.holes++; p.holes > 2 || foreign {
		s.wantState(f.Partition)
		return
	}
	s.rewind(f.Partition)
}

// Beat makes a heartbeat: the origin's log had head at time at, read after
// whatever the peer said by Echo.
func (s *Sender) Beat(at, echo crdt.Time, head engine.Positions) {
	s.ctrl = append(s.ctrl, AppendFrame(nil, Heartbeat{Time: at, Echo: echo, Partial: s.resyncing(), At: head}))
	patience := stuckBusy
	if s.offers == s.beaten {
		patience = stuckIdle
	}
	s.beaten = s.offers
	s.beatSweep(at, &head)
	for i := range s.parts {
		p := &s.parts[i]
		moved := p.seen != p.offered
		p.seen = p.offered
		if moved || !s.Ready() || p.resync || covers(p.offered, head[i]) {
			p.stuck = 0
			continue
		}
		// The log is silent though its head is further: what is between was
		// trimmed, and no batch comes to tell.
		if p.stuck++; p.stuck > patience {
			p.stuck = 0
			s.wantState(uint16(i)) //nolint:gosec // below Partitions
		}
	}
}

// How many heartbeats a partition's log may be silent while its head is further:
// when the log says nothing at all, and when it has other partitions to go
// through first. A resync too many costs traffic, one too few a stale Region.
const (
	stuckIdle = 2
	stuckBusy = 20
)

// covers reports whether a reader at has come as far as head. Numbers of two
// actors are not compared: which of them came first is known to the log only.
func covers(at, head engine.Position) bool {
	return head == engine.Position{} || at.Actor == head.Actor && at.N >= head.N
}

// Echo returns the time of the peer's last heartbeat, to be had before the head
// is read for Beat.
func (s *Sender) Echo() crdt.Time { return s.peer }

// RTT returns the last round trip measured, zero before the first.
func (s *Sender) RTT() time.Duration { return s.rtt }

// Acked returns how far the peer holds the log.
func (s *Sender) Acked() (at engine.Positions) {
	for p := range s.parts {
		at[p] = s.parts[p].acked
	}
	return at
}

// Offered returns how far the log has been let in.
func (s *Sender) Offered() engine.Positions {
	_, at := s.Follow()
	return at
}

// Unacked returns the bytes that take up the window.
func (s *Sender) Unacked() int { return s.unacked }

// Counts returns what s has done.
func (s *Sender) Counts() Counts { return s.counts }

// Oldest returns since when the oldest entry let in waits for its
// acknowledgement; zero if none does.
func (s *Sender) Oldest() crdt.Time {
	var oldest crdt.Time
	for i := range s.parts {
		if f := s.parts[i].flight; len(f) > 0 && (oldest == 0 || f[0].at < oldest) {
			oldest = f[0].at
		}
	}
	return oldest
}
