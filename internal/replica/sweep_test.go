package replica

import (
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// sweepBench is a bench whose peer has what the origin has, and whose link has
// just asked for a comparison. Its log is acknowledged.
func sweepBench(t *testing.T, records int) (b *bench, peer *store) {
	t.Helper()
	b = newBench(t, Hello{}, Limits{Redeliver: time.Second})
	b.o, peer = twoStores(records)
	b.acked()
	b.s.Compare()
	b.tick(1000)
	return b, peer
}

// acked has the peer acknowledge the whole log, which it never was sent.
func (b *bench) acked() {
	b.receive(1, Ack{At: b.o.head()[0]})
	for p := range b.s.parts {
		b.s.parts[p].acked, b.s.parts[p].offered = b.o.head()[p], b.o.head()[p]
	}
}

func (b *bench) tick(now crdt.Time) {
	b.t.Helper()
	if err := b.s.Tick(now); err != nil {
		b.t.Fatalf("Tick = %v, want nil", err)
	}
}

// rests wants no scan to be due.
func (b *bench) rests(now crdt.Time, why string) {
	b.t.Helper()
	b.tick(now)
	if scan, due := b.s.Scan(); due {
		b.t.Errorf("Scan() %s = %+v, want nothing", why, scan)
	}
}

// secondLook brings b to where it looks again.
func (b *bench) secondLook(peer *store) {
	b.t.Helper()
	b.receive(1000, answer(b.t, b.fold(1000), peer))
	b.s.Beat(1001, 0, b.o.head())
	b.take(1001)
	b.tick(3000)
}

// TestSecondLook: what differs is looked at again, not before the peer has
// acknowledged what it may have been waiting for, and not at once.
func TestSecondLook(t *testing.T) {
	b, peer := sweepBench(t, 500)
	lost := session(77, longLater, 0, "").Key
	delete(peer.records, lost)
	b.receive(1000, answer(t, b.fold(1000), peer))
	if got := b.s.Counts(); got.Compared != crdt.Partitions || got.Diverged != 0 || b.s.resyncing() {
		t.Errorf("Counts() after the first look = %+v, want %d compared and nothing diverged", got, crdt.Partitions)
	}
	b.rests(9000, "before a head is known")
	b.s.Compare()
	b.tick(1500)
	d := b.fold(1500)
	if len(d.Parts) != crdt.Partitions-1 || d.Parts[0].Partition == 0 {
		t.Errorf("another first look covers %d partitions, want all but the one that waits for its second", len(d.Parts))
	}
	b.receive(1500, Differs{Serial: d.Serial})
	b.s.Beat(1000, 0, b.o.head()) // may have been read before the answer came
	b.rests(9000, "before a head is known that was read after the answer")
	b.o.put(1000, keyIn(0), "on its way")
	head := b.o.head()
	peer.put(1000, keyIn(1), "so that the other link has something on its way")
	b.s.Beat(1001, 0, head)
	b.take(1001)
	b.rests(9000, "before the head is acknowledged")
	b.acked()
	peer.join(b.o.get(keyIn(0)))
	b.rests(1999, "before other links had time")
	b.tick(2000)
	if d = b.fold(2000); len(d.Parts) != 1 || d.Parts[0].Partition != 0 {
		t.Errorf("second look at %+v, want partition 0", d.Parts)
	}
}

// TestRepair: what differs at both looks is sent and counted, and nothing else.
func TestRepair(t *testing.T) {
	b, peer := sweepBench(t, 500)
	lost, later := session(77, longLater, 0, "").Key, session(78, longLater, 0, "").Key
	delete(peer.records, lost)
	b.secondLook(peer)
	delete(peer.records, later) // only at the second look
	b.receive(2000, answer(t, b.fold(3000), peer))
	if got := b.s.Counts(); got.Diverged != 1 {
		t.Errorf("Counts() = %+v, want one bucket diverged", got)
	}
	if !b.s.resyncing() {
		t.Errorf("resyncing() = false, want true: the peer is known to lack something")
	}
	gen, _ := b.s.Follow()
	sent := b.states(2000)
	if got, _ := b.s.Follow(); got != gen {
		t.Errorf("Follow() after a repair = %d, want %d still", got, gen)
	}
	found := map[crdt.Key]bool{}
	for _, r := range sent {
		found[r.Key] = true
	}
	if !found[lost] || found[later] || len(sent) > 40 {
		t.Errorf("%d records are wanted, %t the one that differed twice, %t the one that did once; want true, false",
			len(sent), found[lost], found[later])
	}
	got := b.take(2000)
	if _, ok := got[0].(States); len(got) != 1 || !ok {
		t.Errorf("Take() = %+v, want states and no rebase", got)
	}
	if got := b.s.Counts(); got.Repaired != uint64(len(sent)) || got.States != 0 {
		t.Errorf("Counts() = %+v, want %d repaired", got, len(sent))
	}
}

// TestOnItsWay: what has come by the second look is neither sent nor counted.
func TestOnItsWay(t *testing.T) {
	b, peer := sweepBench(t, 100)
	b.o.put(1000, keyIn(0), "on its way")
	b.acked()
	b.secondLook(peer)
	peer.join(b.o.get(keyIn(0)))
	b.receive(3000, answer(t, b.fold(3000), peer))
	b.rests(4000, "after a second look that found nothing")
	if got := b.s.Counts(); got.Diverged != 0 || got.Repaired != 0 {
		t.Errorf("Counts() = %+v, want nothing diverged", got)
	}
}

// TestBusyBucket: a bucket that differs twice but has changed in between is
// repaired and is no proof of divergence.
func TestBusyBucket(t *testing.T) {
	for name, write := range map[string]func(origin, peer *store){
		"origin writes": func(o, _ *store) { o.put(2000, keyIn(0), "new") },
		"peer writes":   func(_, p *store) { p.until = longLater; p.put(2000, keyIn(0), "new") },
		"nobody writes": func(_, _ *store) {},
	} {
		b, peer := sweepBench(t, 10)
		delete(peer.records, session(7, longLater, 0, "").Key)
		b.secondLook(peer)
		write(b.o, peer)
		b.receive(3000, answer(t, b.fold(3000), peer))
		want := uint64(0)
		if name == "nobody writes" {
			want = 1
		}
		if got := b.s.Counts().Diverged; got != want {
			t.Errorf("%s: Diverged = %d, want %d", name, got, want)
		}
		if sent := b.states(3000); len(sent) != 11 {
			t.Errorf("%s: %d records are wanted, want the bucket's 11", name, len(sent))
		}
	}
}

// TestRepairsAgain: what was sent of several partitions and is not joined in time is
// made up for by a resync of each of them.
func TestRepairsAgain(t *testing.T) {
	b, peer := sweepBench(t, 1)
	b.o.put(1000, keyIn(1), "v")
	b.acked()
	clear(peer.records)
	b.secondLook(peer)
	b.receive(3000, answer(t, b.fold(3000), peer))
	b.states(3000)
	if got := b.take(3000); len(got) != 1 {
		t.Errorf("Take() = %+v, want states of two partitions in one frame", got)
	}
	b.tick(11_000)
	d := b.fold(11_000)
	if len(d.Parts) != 2 || d.Parts[0].Cutoff != 0 {
		t.Errorf("digests = %+v, want those of both partitions, for a resync", d)
	}
}

// TestSuspectsGoByTheLog: a mark of an actor that is gone, whose last entries are
// lost, is not waited for.
func TestSuspectsGoByTheLog(t *testing.T) {
	b, peer := sweepBench(t, 10)
	delete(peer.records, session(7, longLater, 0, "").Key)
	b.receive(1000, answer(t, b.fold(1000), peer))
	head := b.o.head()
	head[0].N += 5
	b.s.Beat(1001, 0, head)
	b.take(1001)
	b.rests(5000, "before the head is acknowledged")
	next := engine.Position{Actor: crdt.NewActor(1, 6), N: head[0].N - 4}
	head[0] = next
	b.s.parts[0].acked = next
	b.s.Beat(5000, 0, head)
	b.take(5000)
	b.tick(6000)
	if scan, due := b.s.Scan(); !due || len(scan.Parts) != 1 {
		t.Errorf("Scan() = %+v, %t, want a second look", scan, due)
	}
}

// TestSweepInTurn: a link compares nothing at first, then everything in its time,
// and begins again.
func TestSweepInTurn(t *testing.T) {
	b := newBench(t, Hello{}, Limits{Sweep: 64 * time.Second})
	now := crdt.Time(5000)
	b.tick(now)
	b.rests(now+999, "of a link that has just begun")
	for range 3 {
		now += 1000
		b.tick(now)
		if d := b.fold(now); len(d.Parts) != crdt.Partitions {
			t.Errorf("digests of an empty Region cover %d partitions, want all", len(d.Parts))
		} else {
			b.rests(now+39_999, "before the answer")
			b.receive(now, Differs{Serial: d.Serial})
		}
		b.rests(now+63_999, "before all of the sweep's time")
		now += 63_000
	}
}

// TestCompareStartsOver: a comparison that began before it was asked for does not
// count.
func TestCompareStartsOver(t *testing.T) {
	b, peer := sweepBench(t, 0)
	d := b.fold(1000)
	b.s.Compare()
	b.receive(1000, answer(t, d, peer))
	b.tick(1001)
	if d := b.fold(1001); len(d.Parts) != crdt.Partitions {
		t.Errorf("digests cover %d partitions, want all of them again", len(d.Parts))
	}
}

// TestResume: what was asked for, and what was suspected, is compared on the next
// link; what is not due is not.
func TestResume(t *testing.T) {
	next := func(from *bench) *bench {
		b := newBench(t, Hello{}, Limits{})
		b.s.Resume(from.s.Sweep())
		return b
	}
	b, peer := sweepBench(t, 10)
	b.fold(1000) // no answer comes
	if b = next(b); b.s.Sweep().demand != crdt.Partitions {
		t.Errorf("demand after a link that ended = %d, want %d", b.s.Sweep().demand, crdt.Partitions)
	}
	b.o, _ = twoStores(10)
	delete(peer.records, session(7, longLater, 0, "").Key)
	b.tick(2000)
	b.receive(2000, answer(t, b.fold(2000), peer))
	if b = next(b); b.s.Sweep().demand != crdt.Partitions {
		t.Errorf("demand with a suspect = %d, want %d", b.s.Sweep().demand, crdt.Partitions)
	}
	b.tick(3000)
	b.receive(3000, Differs{Serial: b.fold(3000).Serial})
	b = next(b)
	b.rests(3001, "on a new link when all was compared a moment ago")
	b.rests(3000+crdt.Time(defaultSweep.Milliseconds())-1, "before the sweep is due")
	b.tick(3000 + crdt.Time(defaultSweep.Milliseconds()))
	if _, due := b.s.Scan(); !due {
		t.Errorf("Scan() when the sweep is due is not")
	}
}

// TestRepairThatWasLost: states that the peer has not said it joined are looked for
// again on the next link, which knows nothing of them.
func TestRepairThatWasLost(t *testing.T) {
	b, peer := sweepBench(t, 500)
	delete(peer.records, session(77, longLater, 0, "").Key)
	b.secondLook(peer)
	b.receive(2000, answer(t, b.fold(3000), peer))
	if got := b.s.Sweep().demand; got != crdt.Partitions {
		t.Errorf("demand before the states were sent = %d, want %d", got, crdt.Partitions)
	}
	b.states(2000)
	b.take(2000)
	if got := b.s.Sweep().demand; got != crdt.Partitions {
		t.Errorf("demand while states are on their way = %d, want %d", got, crdt.Partitions)
	}
	b.receive(2001, Ack{Joined: b.s.states[len(b.s.states)-1].serial})
	if got := b.s.Sweep().demand; got != 0 {
		t.Errorf("demand once they were joined = %d, want none", got)
	}
}

// TestForkCompares: a peer that was at a lost actor, or has what the log lost, and
// a log that goes on under another actor, are compared at once.
func TestForkCompares(t *testing.T) {
	mine, older := crdt.NewActor(1, 5), crdt.NewActor(1, 4)
	at := func(a crdt.Actor, n uint64) (p engine.Positions) {
		p[3] = engine.Position{Actor: a, N: n}
		return p
	}
	for _, c := range []struct {
		name        string
		hello, head engine.Positions
		want        bool
	}{
		{"behind", at(mine, 3), at(mine, 9), false},
		{"even", at(mine, 9), at(mine, 9), false},
		{"never there", engine.Positions{}, at(mine, 9), false},
		{"has what was lost", at(mine, 10), at(mine, 9), true},
		{"was at a predecessor", at(older, 3), at(mine, 9), true},
		{"the log is empty", at(mine, 3), engine.Positions{}, false},
	} {
		b := newBench(t, Hello{At: c.hello}, Limits{})
		b.s.Beat(1, 0, c.head)
		if got := b.s.Sweep().demand > 0; got != c.want {
			t.Errorf("%s: compares = %t, want %t", c.name, got, c.want)
		}
		b.s.sweep.demand = 0
		b.s.Beat(2, 0, engine.Positions{})
		b.s.Beat(3, 0, c.head)
		if got := b.s.Sweep().demand; got != 0 {
			t.Errorf("%s: demand after another heartbeat = %d, want 0: it has been seen", c.name, got)
		}
	}

	b := newBench(t, Hello{}, Limits{})
	b.o.put(1, keyIn(0), "v")
	b.follow(1, 0, engine.Position{})
	if got := b.s.Sweep().demand; got != 0 {
		t.Errorf("demand after the first entry = %d, want 0", got)
	}
	gen, _ := b.s.Follow()
	if err := b.s.Offer(1, gen, engine.Batch{Actor: crdt.NewActor(1, 6), Fork: 1, First: 2, Frags: make([]crdt.Fragment, 1)}); err != nil {
		t.Fatalf("Offer = %v, want nil", err)
	}
	if got := b.s.Sweep().demand; got != crdt.Partitions {
		t.Errorf("demand after a successor's entry = %d, want %d", got, crdt.Partitions)
	}
	b.s.sweep.demand = 0
	b.s.parts[1].offered = engine.Position{Actor: mine, N: 1}
	if err := b.s.Offer(1, gen, engine.Batch{Partition: 1, Actor: crdt.NewActor(1, 6), Fork: 1, First: 2, Frags: make([]crdt.Fragment, 1)}); err != nil {
		t.Fatalf("Offer = %v, want nil", err)
	}
	if got := b.s.Sweep().demand; got != 0 {
		t.Errorf("demand after its entry in another partition = %d, want 0", got)
	}
}

// TestLogGoesFirst: digests of anti-entropy go behind the log, and what it sends
// leaves the log most of the window.
func TestLogGoesFirst(t *testing.T) {
	b := newBench(t, Hello{Window: 40_000}, Limits{Redeliver: time.Second})
	var peer *store
	b.o, peer = twoStores(500)
	b.acked()
	b.s.Compare()
	b.tick(1000)
	b.o.put(1000, keyIn(1), "v")
	scan, _ := b.s.Scan()
	b.s.ScanFrom(scan.ID, b.o.head())
	folds := scan.Folds(1000)
	for i := range folds {
		b.o.fold(&folds[i])
	}
	b.s.Folded(1000, scan.ID, folds)
	b.follow(1000, 1, engine.Position{})
	got := b.take(1000)
	if _, ok := got[0].(Entries); len(got) != 2 || !ok {
		t.Fatalf("Take() = %+v, want the entry, then the digests", got)
	}
	for i := range 500 {
		delete(peer.records, session(i, longLater, 0, "").Key)
	}
	b.receive(1000, answer(t, got[1].(Digests), peer))
	b.receive(1000, Ack{Partition: 1, At: b.o.head()[1]})
	b.s.Beat(1001, 0, b.o.head())
	b.take(1001)
	b.tick(2000)
	b.receive(2000, answer(t, b.fold(2000), peer))
	b.states(2000)
	if got := b.s.Unacked(); got == 0 || got > 10_000 {
		t.Errorf("Unacked() = %d, want some, at most a quarter of the window", got)
	}
	if b.s.Room() || !b.s.Ready() {
		t.Errorf("Room() = %t, Ready() = %t while records wait, want false, true", b.s.Room(), b.s.Ready())
	}
	b.s.recs, b.s.unacked = nil, 10_000
	if b.s.Room() || !b.s.Ready() {
		t.Errorf("Room() = %t, Ready() = %t with a quarter of the window full, want false, true", b.s.Room(), b.s.Ready())
	}
	at := b.o.head()[1]
	b.o.put(2000, keyIn(1), "w")
	b.follow(2000, 1, at)
	if got := b.s.Offered()[1]; got != b.o.head()[1] {
		t.Errorf("Offered() = %v, want %v: the log does not wait for a repair", got, b.o.head()[1])
	}
}

// BenchmarkSweep compares a Region of 128 sessions, both ends and the frames.
func BenchmarkSweep(b *testing.B) {
	records := make([][]crdt.Record, crdt.Partitions)
	for i := range 2 * crdt.Partitions {
		records[i/2] = append(records[i/2], session(i, longLater, time.Hour, "v"))
	}
	s := NewSender(1, Hello{}, Limits{})
	r := NewReceiver(2, 1, engine.Positions{}, 0, Limits{})
	fold := func(f *Fold) {
		for _, rec := range records[f.Partition()] {
			f.Add(rec)
		}
	}
	b.ReportAllocs()
	now := crdt.Time(1000)
	for b.Loop() {
		now += 1000
		s.Compare()
		_ = s.Tick(now)
		scan, _ := s.Scan()
		s.ScanFrom(scan.ID, engine.Positions{})
		folds := scan.Folds(now)
		for i := range folds {
			fold(&folds[i])
		}
		s.Folded(now, scan.ID, folds)
		buf := s.Take(now, frameTarget)
		f, err := DecodeFrame(buf[lengthBytes:])
		if err != nil {
			b.Fatalf("DecodeFrame = %v, want nil", err)
		}
		if err := r.Receive(now, f, len(buf)); err != nil {
			b.Fatalf("Receive = %v, want nil", err)
		}
		work, _ := r.Work()
		folds = work.Digests.Folds()
		for i := range folds {
			fold(&folds[i])
		}
		if err := r.Compared(folds, nil); err != nil {
			b.Fatalf("Compared = %v, want nil", err)
		}
		for _, buf := range split(r.Take()) {
			f, err := DecodeFrame(buf[lengthBytes:])
			if err != nil {
				b.Fatalf("DecodeFrame = %v, want nil", err)
			}
			if d, ok := f.(Differs); ok && s.Receive(now, d) != nil {
				b.Fatalf("Receive(%+v) = an error, want nil", d)
			}
		}
	}
	if got := s.Counts(); got.Compared == 0 || got.Diverged > 0 {
		b.Errorf("Counts() = %+v, want equal Regions compared", got)
	}
}
