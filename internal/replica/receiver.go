package replica

import (
	"errors"
	"fmt"
	"slices"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// ErrLost says that a part of a state did not arrive. The link starts over.
var ErrLost = errors.New("part of a state was lost")

// ErrGaps says that a batch lacks earlier writes however often they are asked
// for. The link starts over, and asks for the partition's state then.
var ErrGaps = errors.New("gaps stay open")

// A Receiver is the peer's end of one link: it takes in the log of one origin.
// It is pure and for one goroutine, and is used for one connection. After an
// error of any method the link is over.
type Receiver struct {
	here, origin crdt.Region
	limits       Limits
	parts        [crdt.Partitions]inPart
	at           engine.Positions
	want         uint64 // partitions whose state is asked for
	work         []work // what the engine is to do, in order
	works        uint64 // how many there were so far
	busy         int    // how many of them are being done
	held         int    // bytes of frames that wait
	arrived      uint64 // serial of the last States frame that arrived
	joined       uint64 // and of the last that the engine holds
	acks         [crdt.Partitions]bool
	ackAny       bool // joined has moved: the next ack says so
	out          [][]byte
	heard        heard
	digests      comparing
	actor        crdt.Actor // of the origin's log, as last changed
	said         Heartbeat  // the last one sent; before it, what the hello said
	lost         uint64     // partitions whose log was shorter than said
	counts       Heard
}

// Heard is what a Receiver has done.
type Heard struct {
	Batches uint64 // that the engine took in
	Entries uint64 // of those batches
	Pulls   uint64 // records asked for because of gaps
	Holes   uint64
	// Successions counts failovers in the origin that lost entries, or may have:
	// the log went on under another actor, or had become shorter. What was lost
	// is here, so the link the other way should compare.
	Successions uint64
	Compared    uint64 // partitions compared for the origin
	Differed    uint64 // buckets of them that differed, also by what was on its way
}

type inPart struct {
	waiting []work // batches behind one that lacks something
	missing map[crdt.Key]bool
	tries   int
	asked   crdt.Time // when missing was asked for
	hole    crdt.Time // when a hole was last reported; zero: there is none
}

// Work is one thing for the engine to do: to Ingest Batch, to Join Records, or to
// scan for Digests and tell Compared. Scans go on beside the others.
type Work struct {
	Batch   *engine.Batch
	Records []crdt.Record
	Digests *Digests

	n uint64 // of all work of the link
}

type work struct {
	Work
	serial uint64
	size   int
	busy   bool // it is being done
}

// NewReceiver returns a Receiver in Region here for the log of origin, of which
// the engine here holds at. In want is a bit for each partition whose whole state
// is needed. Its hello is the first of what Take returns.
func NewReceiver(here, origin crdt.Region, at engine.Positions, want uint64, limits Limits) *Receiver {
	r := &Receiver{here: here, origin: origin, limits: limits.withDefaults(), at: at, want: want}
	r.said.At = at
	r.send(Hello{Region: here, Window: uint32(r.limits.Window), Want: want, At: at}) //nolint:gosec // megabytes
	return r
}

func (r *Receiver) send(f Frame) { r.out = append(r.out, AppendFrame(nil, f)) }

// Receive takes in a frame of size bytes from the origin.
func (r *Receiver) Receive(now crdt.Time, f Frame, size int) error {
	switch f := f.(type) {
	case Entries:
		return r.entries(f, size)
	case States:
		return r.states(f, size)
	case Digests:
		return r.compare(f, size)
	case Heartbeat:
		r.beat(now, f)
		return nil
	case Goodbye:
		return fmt.Errorf("%w: %q", ErrGoodbye, f.Reason)
	}
	return fmt.Errorf("%w: %T from an origin", ErrFrame, f)
}

func (r *Receiver) entries(f Entries, size int) error {
	b := f.Batch
	p := &r.parts[b.Partition]
	if b.Actor.Region() != r.origin {
		return fmt.Errorf("%w: entries of %v from Region %d", ErrFrame, b.Actor, r.origin)
	}
	if b.Rebase {
		if f.After != r.arrived {
			return fmt.Errorf("rebase partition %d: %w: %d of %d frames came", b.Partition, ErrLost, r.arrived, f.After)
		}
		if covers(r.at[b.Partition], b.Last()) {
			r.acks[b.Partition] = true // came twice; going back would make a hole
			r.want &^= 1 << b.Partition
			return nil
		}
		r.release(p) // the state makes up for all that was waited for
	}
	w := work{Work: Work{Batch: &b}, size: size}
	if p.missing == nil {
		return r.queue(&r.work, w)
	}
	if len(p.waiting) > 0 && covers(p.waiting[len(p.waiting)-1].Batch.Last(), b.Last()) {
		return nil // delivered again while it waits
	}
	return r.queue(&p.waiting, w)
}

// queue bounds what waits. An origin keeps to its window, but may send again
// what it takes for lost.
func (r *Receiver) queue(q *[]work, w work) error {
	const slack = 3
	if limit := slack * max(r.limits.Window, maxFrameBytes); r.held+w.size > limit {
		return fmt.Errorf("%w: %d bytes beyond the window", ErrFrame, limit)
	}
	r.held += w.size
	r.works++
	w.n = r.works
	*q = append(*q, w)
	return nil
}

func (r *Receiver) states(f States, size int) error {
	if f.Serial <= r.arrived {
		r.ackAny = true
		return nil // came twice
	}
	if f.Serial != r.arrived+1 {
		return fmt.Errorf("%w: frame %d after %d", ErrLost, f.Serial, r.arrived)
	}
	r.arrived = f.Serial
	return r.queue(&r.work, work{Work: Work{Records: f.Records}, serial: f.Serial, size: size})
}

// Work returns something that the engine is to do now, if there is anything. Done is
// to be told of it, or Compared if it is Digests, which are given out while other work
// is done too.
//
// Batches of several partitions are done at a time, Limits.Parallel of them at most:
// one by one, a link could take in no more than what an engine answers in turn. Those of
// one partition are done in the order of arrival, and records by themselves, after all
// that came before them: a rebase must never be taken in before the state that it
// stands on.
func (r *Receiver) Work() (Work, bool) {
	if d, due := r.nextDigests(); due {
		return Work{Digests: d}, true
	}
	var before uint64 // partitions
	for i := range min(len(r.work), lookAhead) {
		w := &r.work[i]
		if r.busy >= r.limits.Parallel || w.Batch == nil && i > 0 {
			break
		}
		if w.Batch == nil || before&(1<<w.Batch.Partition) == 0 {
			if !w.busy {
				w.busy = true
				r.busy++
				return w.Work, true
			}
		}
		if w.Batch == nil {
			break
		}
		before |= 1 << w.Batch.Partition
	}
	return Work{}, false
}

// lookAhead bounds how far Work looks for a partition that is not being worked on.
const lookAhead = 256

// Done takes in what became of a Work; of records, only err counts. An engine's
// failure ends the link, and redelivery begins with the next one.
func (r *Receiver) Done(now crdt.Time, done Work, res engine.Ingested, err error) error {
	at := slices.IndexFunc(r.work, func(w work) bool { return w.n == done.n })
	w := r.work[at]
	r.work, r.busy = slices.Delete(r.work, at, at+1), r.busy-1
	if w.Batch == nil {
		r.held -= w.size
		if err != nil {
			return fmt.Errorf("join states of Region %d: %w", r.origin, err)
		}
		r.joinedStates(w)
		return nil
	}
	if err != nil {
		return fmt.Errorf("ingest partition %d of Region %d: %w", w.Batch.Partition, r.origin, err)
	}
	return r.ingested(now, w, res)
}

// ingested goes on from what the engine made of a batch.
//
// Path replicate 4/4: from engine.Sink.Ingest; the ack goes to Sender.Receive.
func (r *Receiver) ingested(now crdt.Time, w work, res engine.Ingested) error {
	part := w.Batch.Partition
	p := &r.parts[part]
	if was := r.at[part].Actor; was != 0 && was != res.Position.Actor && r.actor != res.Position.Actor {
		r.actor = res.Position.Actor
		r.counts.Successions++
	}
	r.at[part] = res.Position
	switch {
	case len(res.Gaps) > 0:
		return r.gap(now, w, res.Gaps)
	case res.Hole:
		r.held -= w.size
		r.reportHole(now, part)
		return nil
	}
	r.held -= w.size
	r.counts.Batches++
	r.counts.Entries += uint64(len(w.Batch.Frags))
	p.tries, p.hole = 0, 0
	if w.Batch.Rebase {
		r.want &^= 1 << part
		r.resume(p)
	}
	r.acks[part] = true // R14: the engine holds it, so it may be acknowledged
	r.heard.advance(&r.at)
	return nil
}

// gap asks for the records that lack an earlier write. What comes for the
// partition meanwhile waits behind the batch.
func (r *Receiver) gap(now crdt.Time, w work, keys []crdt.Key) error {
	p := &r.parts[w.Batch.Partition]
	if p.tries++; p.tries > r.limits.PullTries || len(keys) > maxPullKeys {
		r.want |= 1 << w.Batch.Partition
		return fmt.Errorf("partition %d of Region %d: %w: %d records, %d tries",
			w.Batch.Partition, r.origin, ErrGaps, len(keys), p.tries)
	}
	p.missing = make(map[crdt.Key]bool, len(keys))
	for _, k := range keys {
		p.missing[k] = true
	}
	w.busy = false
	p.waiting = append([]work{w}, p.waiting...)
	r.behind(p, w.Batch.Partition)
	r.pull(now, p, keys)
	return nil
}

// behind moves batches of a partition that were already queued to where they
// wait for the one that lacks something.
func (r *Receiver) behind(p *inPart, part uint16) {
	kept := r.work[:0:0]
	for _, w := range r.work {
		if w.Batch != nil && w.Batch.Partition == part && !w.Batch.Rebase {
			p.waiting = append(p.waiting, w)
			continue
		}
		kept = append(kept, w)
	}
	r.work = kept
}

func (r *Receiver) pull(now crdt.Time, p *inPart, keys []crdt.Key) {
	p.asked = now
	r.counts.Pulls += uint64(len(keys))
	r.send(Pull{Keys: keys})
}

// reportHole tells the origin once, then again if nothing comes of it: batches
// already on their way must not each send it back.
func (r *Receiver) reportHole(now crdt.Time, part uint16) {
	p := &r.parts[part]
	if p.hole != 0 && now.Sub(p.hole) < r.limits.Redeliver {
		return
	}
	p.hole = max(now, 1)
	r.counts.Holes++
	r.send(Hole{Partition: part, At: r.at[part]})
}

// joinedStates goes on with batches whose gaps are closed now.
func (r *Receiver) joinedStates(w work) {
	r.joined, r.ackAny = w.serial, true
	for _, rec := range w.Records {
		p := &r.parts[rec.Key.Partition()]
		if !p.missing[rec.Key] {
			continue
		}
		delete(p.missing, rec.Key)
		if rec.IsBottom() {
			p.waiting[0].Batch.Frags = without(p.waiting[0].Batch.Frags, rec.Key)
		}
		if len(p.missing) == 0 {
			r.resume(p)
		}
	}
}

// without returns frags with nothing in the place of those of k, of which the
// origin has nothing any more: no state could mend the gap before them.
func without(frags []crdt.Fragment, k crdt.Key) []crdt.Fragment {
	out := slices.Clone(frags)
	for i := range out {
		if out[i].Effect.Key == k {
			out[i] = crdt.Fragment{}
		}
	}
	return out
}

// resume gives the engine what a partition was holding back.
func (r *Receiver) resume(p *inPart) {
	r.work = append(r.work, p.waiting...)
	p.waiting, p.missing = nil, nil
}

// release drops what waits in a partition.
func (r *Receiver) release(p *inPart) {
	for _, w := range p.waiting {
		r.held -= w.size
	}
	p.waiting, p.missing, p.tries, p.hole = nil, nil, 0, 0
}

// Tick asks again for records that did not come. It is to be called now and
// then, a few times within Limits.Redeliver.
func (r *Receiver) Tick(now crdt.Time) error {
	for i := range r.parts {
		p := &r.parts[i]
		if p.missing == nil || now.Sub(p.asked) < r.limits.Redeliver {
			continue
		}
		if p.tries++; p.tries > r.limits.PullTries {
			r.want |= 1 << i
			return fmt.Errorf("partition %d of Region %d: %w: no answer to %d pulls", i, r.origin, ErrGaps, p.tries-1)
		}
		keys := make([]crdt.Key, 0, len(p.missing))
		for _, k := range p.waiting[0].Batch.Frags {
			if p.missing[k.Effect.Key] { // in the batch's order: maps have none
				keys = append(keys, k.Effect.Key)
			}
		}
		r.pull(now, p, keys)
	}
	return nil
}

// Take returns whole frames to write next, nil if there are none. Positions
// acknowledged since the last time go in one frame a partition.
func (r *Receiver) Take() []byte {
	for p, due := range r.acks {
		if due {
			r.sendAck(p)
		}
	}
	if r.ackAny {
		r.sendAck(0)
	}
	var out []byte
	for _, f := range r.out {
		out = append(out, f...)
	}
	r.out = nil
	return out
}

func (r *Receiver) sendAck(part int) {
	r.send(Ack{Partition: uint16(part), At: r.at[part], Joined: r.joined}) //nolint:gosec // below Partitions
	r.acks[part], r.ackAny = false, false
}

// At returns how far the engine has taken in the origin's log.
func (r *Receiver) At() engine.Positions { return r.at }

// Want returns the partitions whose state is still needed; the next link's
// receiver is to be given it.
func (r *Receiver) Want() uint64 { return r.want }

// Counts returns what r has done.
func (r *Receiver) Counts() Heard { return r.counts }
