package sim

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/replica"
)

// The times of a link's shell. They are longer than production's, in proportion,
// because heartbeats are most of what a quiet deployment does.
const (
	heartbeat = 2 * time.Second
	silence   = 6 * time.Second
	tick      = 2 * time.Second
	redial    = 500 * time.Millisecond
	redeliver = 4 * time.Second
	// gather is how long the shell waits before it looks what there is to do: the
	// time of a wake-up.
	gather = time.Millisecond
)

// A link is the shell around the Sender of one Region and the Receiver of its
// peer, as package replica has it around real ones.
type link struct {
	w            *world
	origin, peer *site
	up           bool
	id           int // of the connection, so that what was sent on an older one is dropped
	s            *replica.Sender
	r            *replica.Receiver
	want         uint64 // of the last Receiver
	gen          int
	from         engine.Positions
	heardS       instant // by the origin, last
	heardR       instant // by the peer, last
	awake        bool    // pump is due
	sweep        replica.Sweep
	asked        bool             // to compare, while there was no connection
	digests      *replica.Digests // that the peer's server is to compare
	comparing    bool
	successions  uint64    // of the origin, as its peer has seen on this connection
	heardAt      crdt.Time // as replica.Source has it
}

// dial tries to connect until that succeeds.
func (l *link) dial() {
	if l.up {
		return
	}
	if l.ready() {
		l.connect()
		return
	}
	l.redial()
}

// redial dials after a while.
func (l *link) redial() {
	l.w.queue.after(redial+time.Duration(l.w.dice.Int64N(int64(redial))), l.dial)
}

// ready reports whether a connection can be made: it takes both ways and both ends.
func (l *link) ready() bool {
	a, b := l.origin.region, l.peer.region
	return l.w.net.open(a, b) && l.w.net.open(b, a) && l.origin.alive() && l.peer.alive()
}

func (l *link) connect() {
	l.id++
	l.up, l.gen, l.digests, l.comparing, l.successions = true, 0, nil, false, 0
	l.heardS, l.heardR = l.w.queue.now, l.w.queue.now
	var at engine.Positions
	for p := range at {
		at[p] = l.peer.server.core.Position(l.origin.region, uint16(p)) //nolint:gosec // below Partitions
	}
	limits := replica.Limits{Window: l.w.window, Redeliver: redeliver}
	l.r = replica.NewReceiver(l.peer.region, l.origin.region, at, l.want, limits)
	f, _, err := replica.ReadFrame(bytes.NewReader(l.r.Take()))
	hello, ok := f.(replica.Hello)
	if err != nil || !ok {
		l.w.oracle.broken("I13", "first frame of a receiver is %T, %v", f, err)
		return
	}
	l.s = replica.NewSender(l.origin.region, hello, limits)
	l.s.Resume(l.sweep)
	if l.asked {
		l.asked = false
		l.s.Compare()
	}
	l.w.trace.note("link up", uint64(l.origin.region), uint64(l.peer.region))
	l.beat(l.id)
	l.tick(l.id)
	l.wake()
}

// end ends the connection, for whatever reason.
func (l *link) end(err error) {
	if !l.up {
		return
	}
	l.up = false
	l.sweep = l.s.Sweep()
	l.w.oracle.stats.count(l.s.Counts(), l.r.Counts())
	l.want, l.heardAt = l.r.Want(), max(l.heardAt, l.r.HeardAt())
	l.w.trace.note("link down", uint64(l.origin.region), uint64(l.peer.region), hashOf(err))
	l.w.trace.tell("  because: %v", err)
	l.redial()
}

// alive reports whether connection id is the one there is.
func (l *link) alive(id int) bool { return l.up && l.id == id }

// check ends the connection on an error.
func (l *link) check(err error) bool {
	if err != nil {
		l.end(err)
	}
	return l.up
}

func (l *link) beat(id int) {
	if !l.alive(id) {
		return
	}
	l.s.Beat(l.origin.steady(), l.s.Echo(), l.head())
	l.origin.ledger.Head(l.origin.server.now(), l.head())
	l.wake()
	l.w.queue.after(l.w.slow(heartbeat), func() { l.beat(id) })
}

func (l *link) head() (at engine.Positions) {
	for p := range at {
		at[p] = l.origin.server.core.Head(uint16(p)) //nolint:gosec // below Partitions
	}
	return at
}

func (l *link) tick(id int) {
	if !l.alive(id) {
		return
	}
	quiet := max(l.w.queue.now.sub(l.heardS), l.w.queue.now.sub(l.heardR))
	if quiet > max(silence, l.w.slow(silence)) {
		l.end(errSilence)
		return
	}
	if l.check(l.s.Tick(l.origin.steady())) && l.check(l.r.Tick(l.peer.steady())) {
		l.wake()
		l.w.queue.after(l.w.slow(tick), func() { l.tick(id) })
	}
}

// wake has the link look for what there is to do, once.
func (l *link) wake() {
	if l.awake || !l.up {
		return
	}
	l.awake = true
	id := l.id
	l.w.queue.after(gather, func() {
		l.awake = false
		if l.alive(id) {
			l.pump()
		}
	})
}

// pump does all that the shell would find to do.
func (l *link) pump() {
	if !l.check(l.follow()) || !l.check(l.scan()) || !l.check(l.read()) {
		return
	}
	l.work()
	l.compare()
	l.carry()
	l.origin.ledger.Acked(l.peer.region, l.s.Acked())
	l.report()
}

// report tells what the peer's replica makes of its end of the link: what the
// origin's failover lost may be there, so the link the other way compares.
func (l *link) report() {
	if n := l.r.Counts().Successions; n > l.successions {
		l.successions = n
		l.peer.out[l.origin.region].askToCompare()
	}
	l.peer.refilled()
}

// askToCompare has all partitions compared, now or once there is a connection.
func (l *link) askToCompare() {
	if !l.up {
		l.asked = true
		return
	}
	l.s.Compare()
	l.wake()
}

// wants returns the partitions whose state the peer still needs.
func (l *link) wants() uint64 {
	if l.up {
		return l.r.Want()
	}
	return l.want
}

// follow offers the Sender what the log has.
func (l *link) follow() error {
	if gen, from := l.s.Follow(); gen != l.gen {
		l.gen, l.from = gen, from
	}
	core := l.origin.server.core
	for p := range l.from {
		if core.Head(uint16(p)) == l.from[p] { //nolint:gosec // below Partitions
			continue // as nearly always
		}
		for l.s.Ready() {
			b, _ := core.Log(uint16(p), l.from[p], 16, 1<<14) //nolint:gosec // below Partitions
			if len(b.Frags) == 0 {
				break
			}
			l.from[p] = b.Last()
			if err := l.s.Offer(l.origin.steady(), l.gen, b); err != nil {
				return err
			}
			if gen, from := l.s.Follow(); gen != l.gen {
				l.gen, l.from = gen, from
			}
		}
	}
	return nil
}

// scan makes the pass over partitions that the Sender asks for.
func (l *link) scan() error {
	scan, due := l.s.Scan()
	if !due {
		return nil
	}
	if scan.States {
		return l.states(l.id, scan, l.found(scan))
	}
	now := l.origin.server.now()
	l.s.ScanFrom(scan.ID, l.head())
	folds := scan.Folds(now)
	for i := range folds {
		for _, rec := range l.origin.server.core.Scan(now, folds[i].Partition()) {
			folds[i].Add(rec)
		}
	}
	l.s.Folded(l.origin.steady(), scan.ID, folds)
	l.wake()
	return nil
}

// found returns the records that a scan wants, users first.
func (l *link) found(scan replica.Scan) (out []crdt.Record) {
	for p := range scan.Of().All() {
		for _, rec := range l.origin.server.core.Scan(l.origin.server.now(), p) {
			if scan.Wants(rec) {
				out = append(out, rec)
			}
		}
	}
	return usersFirst(out)
}

// states hands over records when there is room for them.
func (l *link) states(conn int, scan replica.Scan, records []crdt.Record) error {
	if !l.alive(conn) {
		return nil
	}
	if !l.s.Room() {
		l.w.queue.after(10*gather, func() { _ = l.check(l.states(conn, scan, records)) })
		return nil
	}
	if len(records) > 0 {
		if more, err := l.s.State(l.origin.steady(), scan.ID, records); err != nil || !more {
			return err
		}
		l.wake()
		return l.states(conn, scan, nil)
	}
	l.s.Scanned(l.origin.steady(), scan.ID)
	l.wake()
	return nil
}

// compare has the peer's server scan for what the origin sent digests of. A scan
// goes on beside other work.
func (l *link) compare() {
	if l.digests == nil || l.comparing || !l.peer.alive() {
		return
	}
	l.comparing = true
	d, id := l.digests, l.id
	l.digests = nil
	folds := d.Folds()
	for i := range folds {
		for _, rec := range l.peer.server.core.Scan(l.peer.server.now(), folds[i].Partition()) {
			folds[i].Add(rec)
		}
	}
	l.w.queue.after(applyTime, func() {
		if !l.alive(id) {
			return
		}
		l.comparing = false
		if l.check(l.r.Compared(folds, nil)) {
			l.wake()
		}
	})
}

// read answers a pull; a session brings its user's record.
func (l *link) read() error {
	keys, due := l.s.Reads()
	if !due {
		return nil
	}
	var records []crdt.Record
	core, now := l.origin.server.core, l.origin.server.now()
	for _, k := range keys {
		rec := core.Read(now, k)
		if rec.User != "" {
			records = append(records, core.Read(now, crdt.UserKey(rec.User)))
		}
		records = append(records, rec)
	}
	return l.s.Answer(l.origin.steady(), records)
}

// work has the peer's server take in what came.
func (l *link) work() {
	if !l.peer.alive() {
		return
	}
	for work, due := l.r.Work(); due; work, due = l.r.Work() {
		if work.Digests != nil {
			l.digests = work.Digests
			continue
		}
		l.take(work)
	}
}

// take has the peer's server take in a batch or states.
func (l *link) take(work replica.Work) {
	server, id := l.peer.server, l.id
	var res engine.Ingested
	var err error
	if work.Batch != nil {
		res, err = server.ingest(l.origin.region, *work.Batch)
		l.w.oracle.delivered(l.peer, *work.Batch)
	}
	for _, rec := range usersFirst(work.Records) {
		server.do(func(c *memory.Core, now crdt.Time) { c.Join(now, rec) })
	}
	l.w.queue.after(applyTime, func() {
		if l.alive(id) && l.check(l.r.Done(l.peer.steady(), work, res, err)) {
			l.wake()
		}
	})
}

// applyTime is what an engine takes for a batch.
const applyTime = 200 * time.Microsecond

// carry sends the frames of both ends.
func (l *link) carry() {
	const most = 64 << 10
	id := l.id
	there := l.s.Take(l.origin.steady(), most)
	if len(there) >= most {
		l.wake() // there is more
	}
	for _, b := range frames(there) {
		l.w.net.stream(l.origin.region, l.peer.region, func() {
			if l.alive(id) && l.peer.alive() {
				l.heardR = l.w.queue.now
				f, n, err := replica.ReadFrame(bytes.NewReader(b))
				if l.check(err) && l.check(l.r.Receive(l.peer.steady(), f, n)) {
					l.wake()
				}
			}
		})
	}
	back := frames(l.r.Take())
	if len(back) == 0 {
		return
	}
	// What the peer says waits until its copy has what it speaks of: an
	// acknowledgement must outlive a failover there (DESIGN R14).
	l.w.queue.at(l.peer.server.held(), func() {
		if l.alive(id) {
			l.answer(id, back)
		}
	})
}

// answer sends frames of the peer to the origin.
func (l *link) answer(id int, back [][]byte) {
	for _, b := range back {
		l.w.net.stream(l.peer.region, l.origin.region, func() {
			if l.alive(id) && l.origin.alive() {
				l.heardS = l.w.queue.now
				f, _, err := replica.ReadFrame(bytes.NewReader(b))
				if l.check(err) && l.check(l.s.Receive(l.origin.steady(), f)) {
					l.w.oracle.acknowledged(l)
					l.wake()
				}
			}
		})
	}
}

// frames returns the frames in b.
func frames(b []byte) (out [][]byte) {
	for len(b) > 0 {
		n := 4 + int(binary.BigEndian.Uint32(b))
		out, b = append(out, b[:n:n]), b[n:]
	}
	return out
}

// usersFirst returns records with those of users first (R12), as the shell joins
// them.
func usersFirst(records []crdt.Record) []crdt.Record {
	sorted := slices.Clone(records)
	slices.SortStableFunc(sorted, func(a, b crdt.Record) int { return int(b.Key.Kind()) - int(a.Key.Kind()) })
	return sorted
}
