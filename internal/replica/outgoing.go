package replica

import (
	"bufio"
	"context"
	"fmt"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// ticksPerTimeout is how often a timeout is looked at within its time.
const ticksPerTimeout = 8

// An outgoing is one connection to a peer, and the Sender that drives it.
type outgoing struct {
	r      *Replica
	peer   crdt.Region
	w      *wire
	s      *Sender
	gen    int                // of the Follow that runs
	follow context.CancelFunc // ends it
	beats  bool               // a heartbeat is being made
}

// link dials peer and pushes until something fails. It goes on with sweep.
func (r *Replica) link(ctx context.Context, peer crdt.Region, sweep *Sweep) error {
	dialCtx, cancelDial := context.WithTimeout(ctx, r.cfg.Silence)
	conn, err := r.dial(dialCtx, peer)
	cancelDial()
	if err != nil {
		return fmt.Errorf("dial Region %d: %w", peer, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	w := newWire(conn, r.cfg.Silence)
	defer w.stop()
	defer cancel()
	if err := w.send(Hello{Region: r.here}); err != nil {
		return err
	}
	from := bufio.NewReaderSize(conn, frameTarget)
	hello, err := w.hello(ctx, from)
	if err != nil {
		return err
	}
	if hello.Region != peer {
		return fmt.Errorf("%w: dialled Region %d, met %d", ErrFrame, peer, hello.Region)
	}
	if err := proved(conn, peer); err != nil {
		return err
	}
	o := &outgoing{r: r, peer: peer, w: w, s: NewSender(r.here, hello, r.cfg.Limits), follow: func() {}}
	o.s.Resume(*sweep)
	r.cfg.Log.Info("link to peer is up", "peer", peer)
	w.start(ctx, from)
	err = o.loop(ctx)
	*sweep = o.s.Sweep()
	cancel()
	o.report(false)
	return err
}

// loop owns the Sender.
func (o *outgoing) loop(ctx context.Context) error {
	tick := time.NewTicker(o.r.cfg.Limits.Redeliver / ticksPerTimeout)
	defer tick.Stop()
	beat := time.NewTicker(o.r.cfg.Heartbeat)
	defer beat.Stop()
	o.beat(ctx)
	o.report(true)
	var pending []byte
	for {
		o.wishes(ctx)
		gated, slow := o.gates()
		if pending == nil {
			pending = o.s.Take(o.r.now(), frameTarget)
		}
		out := o.w.out
		if pending == nil {
			out = nil
		}
		var err error
		select {
		case <-ctx.Done():
			o.w.bye(ctx.Err())
			return ctx.Err()
		case out <- pending:
			pending = nil
		case err = <-o.w.failed:
			return err
		case a := <-o.w.in:
			if err = a.err; err == nil {
				err = o.s.Receive(o.r.now(), a.frame)
				o.report(true)
			}
		case run := <-o.w.events:
			err = run()
		case run := <-gated:
			err = run()
		case run := <-slow:
			err = run()
		case <-o.r.compare[o.peer]:
			o.s.Compare()
		case <-tick.C:
			err = o.s.Tick(o.r.now())
			o.report(true)
		case <-beat.C:
			o.beat(ctx)
		}
		if err != nil {
			o.w.bye(err)
			return err
		}
	}
}

// gates returns the channels of those who may hand something in now; nil is for
// those who wait.
func (o *outgoing) gates() (log, scans chan func() error) {
	if o.s.Ready() {
		log = o.w.gated
	}
	if o.s.Room() {
		scans = o.w.slow
	}
	return log, scans
}

// wishes starts what the Sender asks for.
func (o *outgoing) wishes(ctx context.Context) {
	if gen, from := o.s.Follow(); gen != o.gen {
		o.follow()
		o.gen = gen
		var followCtx context.Context
		followCtx, o.follow = context.WithCancel(ctx)
		o.w.wg.Go(func() { o.runFollow(ctx, followCtx, gen, from) })
	}
	if scan, due := o.s.Scan(); due {
		o.w.wg.Go(func() { o.scan(ctx, scan) })
	}
	if keys, due := o.s.Reads(); due {
		o.w.wg.Go(func() { o.read(ctx, keys) })
	}
}

// runFollow offers what the log emits, until followCtx ends.
func (o *outgoing) runFollow(ctx, followCtx context.Context, gen int, from engine.Positions) {
	err := o.r.log.Follow(followCtx, from, func(b engine.Batch) error {
		return o.w.do(followCtx, o.w.gated, func() error { return o.s.Offer(o.r.now(), gen, b) })
	})
	if followCtx.Err() == nil {
		o.fail(ctx, fmt.Errorf("follow log for Region %d: %w", o.peer, err))
	}
}

// fail ends the link.
func (o *outgoing) fail(ctx context.Context, err error) {
	_ = o.w.do(ctx, o.w.events, func() error { return err }) // ctx ended: the link has
}

// scan makes a pass over partitions.
func (o *outgoing) scan(ctx context.Context, scan Scan) {
	pass := o.fold
	if scan.States {
		pass = o.states
	}
	if err := pass(ctx, scan); err != nil {
		o.fail(ctx, fmt.Errorf("scan partitions %v for Region %d: %w", scan.Parts, o.peer, err))
	}
}

// fold sums up partitions until the Sender has enough.
func (o *outgoing) fold(ctx context.Context, scan Scan) error {
	wall := crdt.TimeOf(time.Now()) // records expire by such a clock
	head, err := o.r.log.Head(ctx)
	if err != nil {
		return err
	}
	if err := o.w.do(ctx, o.w.events, func() error { o.s.ScanFrom(scan.ID, head); return nil }); err != nil {
		return err
	}
	folds := scan.Folds(wall)
	all, err := o.r.fold(ctx, folds, scan.Most)
	if err != nil {
		return err
	}
	return o.w.do(ctx, o.w.events, func() error {
		if all {
			o.s.Folded(o.r.now(), scan.ID, folds)
		} else {
			o.s.Narrow(o.r.now(), scan.ID)
		}
		return nil
	})
}

// fold adds the records of some partitions to folds, in one walk. Not all: there are
// more than most records, if most is not 0.
func (r *Replica) fold(ctx context.Context, folds []Fold, most int) (all bool, err error) {
	var of engine.Partitions
	var by [crdt.Partitions]*Fold
	for i := range folds {
		p := folds[i].Partition()
		by[p] = &folds[i]
		of |= engine.PartitionsOf(p)
	}
	records, all := 0, true
	err = r.scanner.Scan(ctx, of, func(rec crdt.Record) bool {
		records++
		if all = most == 0 || records <= most; all {
			by[rec.Key.Partition()].Add(rec)
		}
		return all
	})
	return all, err
}

// states hands over the records that are wanted of some partitions. It scans twice:
// once for users, whose revocations end sessions that come after them (R12). A
// session's user may be in a partition that comes later, so over a whole refill that
// is no promise; a Region that refills must not answer for what it lacks.
func (o *outgoing) states(ctx context.Context, scan Scan) error {
	for _, users := range []bool{true, false} {
		wanted := func(rec crdt.Record) bool {
			return (rec.Key.Kind() == crdt.KindUser) == users && scan.Wants(rec)
		}
		if more, err := o.statesOf(ctx, scan, wanted); err != nil || !more {
			return err
		}
	}
	return o.w.do(ctx, o.w.slow, func() error { o.s.Scanned(o.r.now(), scan.ID); return nil })
}

func (o *outgoing) statesOf(ctx context.Context, scan Scan, wanted func(crdt.Record) bool) (more bool, err error) {
	const chunk = 64 // records handed over at a time
	more = true
	var records []crdt.Record
	flush := func() error {
		return o.w.do(ctx, o.w.slow, func() (err error) {
			more, err = o.s.State(o.r.now(), scan.ID, records)
			records = nil
			return err
		})
	}
	var handed error
	err = o.r.scanner.Scan(ctx, scan.Of(), func(rec crdt.Record) bool {
		if !wanted(rec) {
			return true
		}
		if records = append(records, rec); len(records) >= chunk {
			handed = flush()
		}
		return handed == nil && more
	})
	if err == nil {
		err = handed
	}
	if err == nil && len(records) > 0 {
		err = flush()
	}
	return more, err
}

// read answers a pull.
func (o *outgoing) read(ctx context.Context, keys []crdt.Key) {
	var records []crdt.Record
	for _, k := range keys {
		rec, err := o.r.eng.Read(ctx, k, crdt.Token{})
		if err == nil && rec.User != "" {
			// A pulled session brings its user's record (R12): without the
			// revocations in it, it would be shown to somebody logged out.
			var user crdt.Record
			user, err = o.r.eng.Read(ctx, crdt.UserKey(rec.User), crdt.Token{})
			records = append(records, user)
		}
		if err != nil {
			o.fail(ctx, fmt.Errorf("read %v for Region %d: %w", k, o.peer, err))
			return
		}
		records = append(records, rec)
	}
	_ = o.w.do(ctx, o.w.events, func() error { // ctx ended: the link has
		return o.s.Answer(o.r.now(), records)
	})
}

// beat reads the head of the log and sends it. The peer's time and ours are
// taken first: what they stand for must be in the head.
func (o *outgoing) beat(ctx context.Context) {
	if o.beats {
		return // a slow engine; silence is then what the peer should hear
	}
	o.beats = true
	echo, at := o.s.Echo(), o.r.now()
	wall := crdt.TimeOf(time.Now()) // writes are stamped by such a clock
	o.w.wg.Go(func() {
		head, err := o.r.log.Head(ctx)
		if err != nil {
			o.fail(ctx, fmt.Errorf("read head of the log for Region %d: %w", o.peer, err))
			return
		}
		_ = o.w.do(ctx, o.w.events, func() error { // ctx ended: the link has
			o.beats = false
			o.s.Beat(at, echo, head)
			o.r.update(func() { o.r.ledger.Head(wall, head) })
			return nil
		})
	})
}

// report tells the Replica how far the link is.
func (o *outgoing) report(connected bool) {
	acked, offered, now := o.s.Acked(), o.s.Offered(), o.r.now()
	o.r.update(func() {
		o.r.ledger.Acked(o.peer, acked)
		st := o.r.out[o.peer]
		st.Connected, st.Offered, st.Acked = connected, offered, acked
		st.Unacked, st.RTT = o.s.Unacked(), o.s.RTT()
		st.LagTime = 0
		if oldest := o.s.Oldest(); oldest > 0 {
			st.LagTime = now.Sub(oldest)
		}
		st.link = o.s.Counts()
		if !connected {
			st.past, st.link = st.past.plus(st.link), Counts{}
		}
	})
}
