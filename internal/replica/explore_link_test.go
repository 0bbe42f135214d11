package replica

import (
	"bytes"
	"fmt"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// testLink is one origin's link to one peer.
type testLink struct {
	w            *world
	origin, peer crdt.Region
	up           bool
	s            *Sender
	r            *Receiver
	gen          int
	from         engine.Positions
	there, back  [][]byte // frames on their way
	scan         Scan     // being done; ID 0: none
	folds        []Fold   // of it
	summed       int      // of them
	sent         int      // records of it that were handed over
	digests      []Fold   // being compared; nil: none
	folded       int      // of them
	sweep        Sweep
	want         uint64
	counts       Counts
	lost, ended  int
	lastBeat     crdt.Time
}

func (l *testLink) end(error) {
	if l.up {
		l.counts = l.counts.plus(l.s.Counts())
		l.want, l.sweep = l.r.Want(), l.s.Sweep()
		l.ended++
	}
	l.up, l.there, l.back = false, nil, nil
	l.scan, l.folds, l.summed, l.sent, l.digests, l.folded = Scan{}, nil, 0, 0, nil, 0
}

func (l *testLink) connect() {
	at := l.w.stores[l.peer].cursor[l.origin]
	l.r = NewReceiver(l.peer, l.origin, at, l.want, l.w.limits)
	f, _, err := ReadFrame(bytes.NewReader(l.r.Take()))
	hello, ok := f.(Hello)
	if err != nil || !ok {
		l.w.t = append(l.w.t, fmt.Sprintf("first frame = %v, %v, want a hello", f, err))
	}
	l.s = NewSender(l.origin, hello, l.w.limits)
	l.s.Resume(l.sweep)
	l.up, l.gen = true, 0
}

// step does one thing at random that the shell would do.
func (l *testLink) step() {
	w := l.w
	if !l.up {
		l.connect()
		return
	}
	if w.chance(faultCut) {
		l.end(nil)
		return
	}
	var err error
	switch w.rnd.IntN(7) {
	case 0:
		err = l.follow()
	case 1, 2:
		l.there = append(l.there, split(l.s.Take(w.now, frameTarget))...)
		l.back = append(l.back, split(l.r.Take())...)
	case 3:
		err = l.deliver()
	case 4:
		err = l.engineWork()
	case 5:
		err = l.scanAndRead()
	case 6:
		if err = l.s.Tick(w.now); err == nil {
			err = l.r.Tick(w.now)
		}
		if w.now-l.lastBeat >= 500 {
			l.lastBeat = w.now
			l.s.Beat(w.now, l.s.Echo(), w.stores[l.origin].head())
		}
	}
	if got := l.s.Unacked(); got > w.limits.Window {
		w.t = append(w.t, fmt.Sprintf("Unacked() = %d, want at most %d", got, w.limits.Window))
	}
	if err != nil {
		l.end(err)
	}
}

func (l *testLink) follow() error {
	if gen, from := l.s.Follow(); gen != l.gen {
		l.gen, l.from = gen, from
	}
	for p := range l.from[:4] {
		if b, ok := l.w.stores[l.origin].after(p, l.from[p], 1+l.w.rnd.IntN(4)); ok && l.s.Ready() {
			l.from[p] = b.Last()
			if err := l.s.Offer(l.w.now, l.gen, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// deliver takes frames off both ways, and is as bad at it as chance has it.
func (l *testLink) deliver() error {
	take := func(q *[][]byte) (Frame, int) {
		i := 0
		if l.w.chance(faultReorder) {
			i = l.w.rnd.IntN(len(*q))
		}
		b := (*q)[i]
		if !l.w.chance(faultRepeat) {
			*q = append((*q)[:i:i], (*q)[i+1:]...)
		}
		if l.w.chance(faultLose) {
			l.lost++
			return nil, 0
		}
		f, n, err := ReadFrame(bytes.NewReader(b))
		if err != nil {
			l.w.t = append(l.w.t, fmt.Sprintf("ReadFrame = %v, want a frame", err))
		}
		return f, n
	}
	for range 1 + l.w.rnd.IntN(4) {
		if len(l.there) > 0 {
			if f, n := take(&l.there); f != nil {
				if err := l.r.Receive(l.w.now, f, n); err != nil {
					return err
				}
			}
		}
		if len(l.back) > 0 {
			if f, _ := take(&l.back); f != nil {
				if err := l.s.Receive(l.w.now, f); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (l *testLink) engineWork() error {
	peer := l.w.stores[l.peer]
	if l.digests != nil { // some partitions at a time, while the log goes on
		if l.w.chance(faultEngine) {
			return l.r.Compared(nil, engine.ErrUnavailable)
		}
		if l.folded < len(l.digests) {
			for n := l.w.rnd.IntN(32); n >= 0 && l.folded < len(l.digests); n-- {
				peer.fold(&l.digests[l.folded])
				l.folded++
			}
		} else if err := l.r.Compared(l.digests, nil); err != nil {
			return err
		} else {
			l.digests, l.folded = nil, 0
		}
	}
	for range 1 + l.w.rnd.IntN(4) {
		work, due := l.r.Work()
		if !due {
			return nil
		}
		if work.Digests != nil {
			l.digests = work.Digests.Folds()
			continue
		}
		if l.w.chance(faultEngine) {
			return l.r.Done(l.w.now, work, engine.Ingested{}, engine.ErrUnavailable)
		}
		var res engine.Ingested
		if work.Batch != nil {
			res = peer.ingest(l.origin, *work.Batch)
		}
		for _, rec := range work.Records {
			peer.join(rec)
		}
		if err := l.r.Done(l.w.now, work, res, nil); err != nil {
			return err
		}
	}
	return nil
}

func (l *testLink) scanAndRead() error {
	origin := l.w.stores[l.origin]
	switch {
	case l.scan.ID == 0:
		if scan, due := l.s.Scan(); due {
			l.scan, l.folds = scan, scan.Folds(l.w.now)
			l.s.ScanFrom(scan.ID, origin.head())
		}
	case l.scan.States:
		if err := l.states(); err != nil {
			return err
		}
	default:
		for n := l.w.rnd.IntN(32); n >= 0 && l.summed < len(l.folds); n-- {
			origin.fold(&l.folds[l.summed])
			l.summed++
		}
		switch {
		case l.summed < len(l.folds):
			return nil
		case l.scan.Most > 0 && l.w.rnd.IntN(4) == 0: // as if there were that many
			l.s.Narrow(l.w.now, l.scan.ID)
		default:
			l.s.Folded(l.w.now, l.scan.ID, l.folds)
		}
		l.scan, l.summed = Scan{}, 0
	}
	if keys, due := l.s.Reads(); due {
		var recs []crdt.Record
		for _, k := range keys {
			recs = append(recs, origin.get(k))
		}
		return l.s.Answer(l.w.now, recs)
	}
	return nil
}

// states hands over what a scan wants, as far as there is room.
func (l *testLink) states() error {
	var recs []crdt.Record
	for p := range l.scan.Of().All() {
		for _, r := range l.w.stores[l.origin].inPartition(p) {
			if l.scan.Wants(r) {
				recs = append(recs, r)
			}
		}
	}
	for ; l.sent < len(recs); l.sent++ {
		if !l.s.Room() {
			return nil // goes on in a later step
		}
		more, err := l.s.State(l.w.now, l.scan.ID, recs[l.sent:l.sent+1])
		if err != nil || !more {
			l.scan, l.sent = Scan{}, 0
			return err
		}
	}
	l.s.Scanned(l.w.now, l.scan.ID)
	l.scan, l.sent = Scan{}, 0
	return nil
}

// split returns the frames in b.
func split(b []byte) (out [][]byte) {
	for len(b) > 0 {
		n := lengthBytes + int(b[0])<<24 + int(b[1])<<16 + int(b[2])<<8 + int(b[3])
		out, b = append(out, b[:n:n]), b[n:]
	}
	return out
}
