package replica

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// fold does the scan that is due and returns the digests that it makes.
func (b *bench) fold(now crdt.Time) Digests {
	b.t.Helper()
	scan, due := b.s.Scan()
	if !due || scan.States {
		b.t.Fatalf("Scan() = %+v, %t, want partitions to fold", scan, due)
	}
	b.s.ScanFrom(scan.ID, b.o.head())
	folds := scan.Folds(now)
	for i := range folds {
		b.o.fold(&folds[i])
	}
	b.s.Folded(now, scan.ID, folds)
	for _, f := range b.take(now) {
		if d, ok := f.(Digests); ok {
			return d
		}
	}
	b.t.Fatalf("Take() after the scan = no digests, want some")
	return Digests{}
}

// states does the scan that is due and hands over what it wants.
func (b *bench) states(now crdt.Time) []crdt.Record {
	b.t.Helper()
	scan, due := b.s.Scan()
	if !due || !scan.States {
		b.t.Fatalf("Scan() = %+v, %t, want one for states", scan, due)
	}
	var recs []crdt.Record
	for p := range scan.Of().All() {
		for _, r := range b.o.inPartition(p) {
			if scan.Wants(r) {
				recs = append(recs, r)
			}
		}
	}
	if more, err := b.s.State(now, scan.ID, recs); !more || err != nil {
		b.t.Fatalf("State() = %t, %v, want true, nil", more, err)
	}
	b.s.Scanned(now, scan.ID)
	return recs
}

// differsAll is the answer of a peer that has nothing of what d sums up.
func differsAll(d Digests) Differs {
	f := Differs{Serial: d.Serial}
	for _, p := range d.Parts {
		found := PartDiffers{Partition: p.Partition}
		for b, sum := range p.Sums {
			if sum != 0 {
				found.Buckets = append(found.Buckets, BucketSum{Bucket: uint16(b)})
			}
		}
		if len(found.Buckets) > 0 {
			f.Parts = append(f.Parts, found)
		}
	}
	return f
}

// answer is what a peer that holds what is in peer answers to d.
func answer(t *testing.T, d Digests, peer *store) Differs {
	t.Helper()
	r := newTestReceiver(t, 0)
	give(t, r, d)
	work, due := r.Work()
	if !due || work.Digests == nil {
		t.Fatalf("Work() = %+v, %t, want digests", work, due)
	}
	folds := work.Digests.Folds()
	for i := range folds {
		peer.fold(&folds[i])
	}
	if err := r.Compared(folds, nil); err != nil {
		t.Fatalf("Compared = %v, want nil", err)
	}
	f, ok := frames(t, r.Take())[0].(Differs)
	if !ok || f.Serial != d.Serial {
		t.Fatalf("Take() = %+v, want an answer to %d", f, d.Serial)
	}
	return f
}

// twoStores are an origin and a peer that hold the same: n sessions, and some
// that are written to, all in partition 0.
func twoStores(n int) (origin, peer *store) {
	origin, peer = newStore(crdt.NewActor(1, 5)), newStore(crdt.NewActor(2, 5))
	origin.until = longLater
	for i := range n {
		origin.join(session(i, longLater, 0, "v"))
	}
	origin.put(1000, keyIn(0), "v")
	for _, r := range origin.records {
		peer.join(r)
	}
	return origin, peer
}

const longLater = crdt.Time(1 << 40)

// TestResyncOfEqual: a peer that asks for the state of what it has gets digests
// and a rebase.
func TestResyncOfEqual(t *testing.T) {
	b := newBench(t, Hello{Want: 1}, Limits{})
	var peer *store
	b.o, peer = twoStores(500)
	head := b.o.head()[0]
	d := b.fold(1)
	b.o.put(2000, keyIn(0), "while the peer scans")
	b.receive(1, answer(t, d, peer))
	got := b.take(1)
	if e, ok := got[0].(Entries); len(got) != 1 || !ok || !e.Batch.Rebase || e.After != 0 || e.Batch.Last() != head {
		t.Errorf("Take() = %+v, want a rebase to %v, the head before the scan", got, head)
	}
	if b.s.resyncing() || b.s.Counts().States != 0 {
		t.Errorf("resyncing() = %t, Counts() = %+v, want false and no states", b.s.resyncing(), b.s.Counts())
	}
	if _, from := b.s.Follow(); from[0] != head {
		t.Errorf("Follow() from %v, want %v", from[0], head)
	}
}

// TestResyncOfOne: of a large partition in which one record differs, its bucket
// is sent.
func TestResyncOfOne(t *testing.T) {
	b := newBench(t, Hello{Want: 1}, Limits{})
	var peer *store
	b.o, peer = twoStores(500)
	lost := session(77, longLater, 0, "").Key
	delete(peer.records, lost)
	d := b.fold(1)
	if got, want := len(d.Parts[0].Sums), 32; got != want {
		t.Errorf("%d sums of 501 records, want %d", got, want)
	}
	b.receive(1, answer(t, d, peer))
	if !b.s.resyncing() {
		t.Errorf("resyncing() = false, want true until the state is sent")
	}
	sent := b.states(1)
	has := slices.ContainsFunc(sent, func(r crdt.Record) bool { return r.Key == lost })
	if n := len(sent); n > 40 || !has {
		t.Errorf("%d of 501 records are wanted, the missing one among them: %t; want one bucket, true", n, has)
	}
	got := b.take(1)
	if e, ok := got[len(got)-1].(Entries); !ok || !e.Batch.Rebase || e.After != uint64(len(got)-1) {
		t.Errorf("Take() = %+v, want states, then a rebase after them", got)
	}
	if got := b.s.Counts(); got.States != uint64(len(sent)) || got.Repaired != 0 || got.Diverged != 0 {
		t.Errorf("Counts() = %+v, want %d States and nothing repaired", got, len(sent))
	}
}

// TestRebaseWaitsForRoom: records for which there is no room yet go before the
// rebase, also when the scan is through.
func TestRebaseWaitsForRoom(t *testing.T) {
	b := newBench(t, Hello{Want: 1, Window: 1000}, Limits{})
	b.o, _ = twoStores(100)
	b.receive(1, differsAll(b.fold(1)))
	sent := b.states(1)
	if b.s.Room() || b.s.Ready() {
		t.Errorf("Room() = %t, Ready() = %t while the window is full of a resync, want false, false", b.s.Room(), b.s.Ready())
	}
	count := 0
	for rounds := 0; ; rounds++ {
		var states, rebase bool
		var serial uint64
		for _, f := range b.take(1) {
			switch f := f.(type) {
			case States:
				states, serial = true, f.Serial
				count += len(f.Records)
			case Entries:
				rebase = true
			}
		}
		if rebase {
			break
		}
		if !states || rounds > 1000 {
			t.Fatalf("Take() = no states and no rebase after %d records", count)
		}
		b.receive(1, Ack{Joined: serial})
	}
	if count != len(sent) {
		t.Errorf("%d records came before the rebase, want %d", count, len(sent))
	}
}

// TestLateAnswers: only the answer that is waited for counts, once.
func TestLateAnswers(t *testing.T) {
	b := newBench(t, Hello{Want: 1}, Limits{Redeliver: time.Second})
	b.o, _ = twoStores(1)
	first := b.fold(1)
	b.receive(1, Differs{Serial: first.Serial + 1})
	b.receive(1, Differs{Serial: 0})
	if err := b.s.Tick(8000); err != nil {
		t.Fatalf("Tick = %v, want nil", err)
	}
	if scan, due := b.s.Scan(); due || !b.s.resyncing() {
		t.Errorf("Scan() = %+v, %t, want to wait for the answer of %d", scan, due, first.Serial)
	}
	if err := b.s.Tick(8001); err != nil {
		t.Fatalf("Tick = %v, want nil", err)
	}
	again := b.fold(8001)
	if again.Serial <= first.Serial || !slices.EqualFunc(first.Parts, again.Parts, func(a, b PartSums) bool {
		return a.Partition == b.Partition && slices.Equal(a.Sums, b.Sums)
	}) {
		t.Errorf("digests after 8 s = %+v, want those of before under a higher serial", again)
	}
	b.receive(8002, Differs{Serial: first.Serial})
	if got := b.take(8002); len(got) != 0 {
		t.Errorf("Take() after the answer to older digests = %+v, want nothing", got)
	}
	b.receive(8002, Differs{Serial: again.Serial})
	b.receive(8002, Differs{Serial: again.Serial})
	if got := b.take(8002); len(got) != 1 {
		t.Errorf("Take() after the same answer twice = %+v, want one rebase", got)
	}
}

func TestAnswersAreChecked(t *testing.T) {
	for name, p := range map[string]PartDiffers{
		"another partition": {Partition: 1, Buckets: []BucketSum{{0, 1}}},
		"no such bucket":    {Partition: 0, Buckets: []BucketSum{{0, 1}, {32, 1}}},
	} {
		b := newBench(t, Hello{Want: 1}, Limits{})
		b.o, _ = twoStores(500)
		f := Differs{Serial: b.fold(1).Serial, Parts: []PartDiffers{p}}
		if err := b.s.Receive(1, f); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: Receive = %v, want %v", name, err, ErrFrame)
		}
	}
}

// TestResyncOvertakes: what a comparison found before a resync was asked for says
// nothing about it.
func TestResyncOvertakes(t *testing.T) {
	b := newBench(t, Hello{Want: 1}, Limits{})
	b.o, _ = twoStores(1)
	d := b.fold(1)
	b.s.wantState(0)
	b.receive(1, Differs{Serial: d.Serial})
	if got := b.take(1); len(got) != 0 || !b.s.resyncing() {
		t.Errorf("Take() = %+v, resyncing %t, want no rebase on the older answer", got, b.s.resyncing())
	}
	b.receive(1, differsAll(b.fold(1)))
	b.s.wantState(0) // what was found is to be sent, and is overtaken
	if d := b.fold(1); len(d.Parts) != 1 {
		t.Errorf("digests = %+v, want partition 0 anew and not its states", d)
	}
	scan, due := b.s.Scan()
	if due {
		t.Errorf("Scan() = %+v, want nothing while the answer is on its way", scan)
	}
	b.receive(1, differsAll(Digests{Serial: b.s.exchange.serial, Parts: []PartSums{{Sums: []uint64{1}}}}))
	scan, _ = b.s.Scan()
	b.s.wantState(0)
	if more, err := b.s.State(1, scan.ID, []crdt.Record{b.o.get(keyIn(0))}); more || err != nil || !b.s.Room() {
		t.Errorf("State() of a scan that a resync overtook = %t, %v with room %t, want false, nil, true", more, err, b.s.Room())
	}

	b, peer := sweepBench(t, 1)
	clear(peer.records)
	d = b.fold(1000)
	b.s.wantState(0)
	b.receive(1000, answer(t, d, peer))
	if b.s.sweep.suspects[0] != nil {
		t.Errorf("partition 0 is suspected after a first look that a resync overtook, want not")
	}
	b, peer = sweepBench(t, 1)
	clear(peer.records)
	b.secondLook(peer)
	d = b.fold(3000)
	b.s.wantState(0)
	b.receive(3000, answer(t, d, peer))
	if got := b.s.Counts(); got.Diverged != 0 || got.Repaired != 0 {
		t.Errorf("Counts() after a second look that a resync overtook = %+v, want nothing diverged", got)
	}
}

// TestReceiverCompares: digests wait for what came before them, and nothing waits
// for them; of several, the newest are compared.
func TestReceiverCompares(t *testing.T) {
	b, _ := twoWrites()
	d := func(serial uint64) Digests {
		return Digests{Serial: serial, Parts: []PartSums{{Partition: 0, Sums: []uint64{0}}}}
	}
	r := newTestReceiver(t, 0)
	give(t, r, Entries{Batch: b})
	give(t, r, d(1))
	give(t, r, States{Serial: 1, Records: []crdt.Record{{Key: keyIn(0)}}})
	batch, _ := r.Work()
	if batch.Batch == nil {
		t.Fatalf("Work() = %+v, want the batch first", batch)
	}
	if work, due := r.Work(); due {
		t.Errorf("Work() = %+v, want nothing before the batch is in", work)
	}
	if err := r.Done(1, batch, engine.Ingested{Position: b.Last()}, nil); err != nil {
		t.Fatalf("Done = %v, want nil", err)
	}
	if work, _ := r.Work(); work.Digests == nil || work.Digests.Serial != 1 {
		t.Fatalf("Work() = %+v, want the digests", work)
	}
	if work := done(t, r, engine.Ingested{}); len(work.Records) != 1 {
		t.Errorf("Work() beside the comparison = %+v, want the records", work)
	}
	give(t, r, d(3))
	give(t, r, d(2))
	give(t, r, d(4))
	if work, due := r.Work(); due {
		t.Errorf("Work() = %+v, want one comparison at a time", work)
	}
	if err := r.Compared([]Fold{{}}, nil); err != nil {
		t.Fatalf("Compared = %v, want nil", err)
	}
	if work, _ := r.Work(); work.Digests == nil || work.Digests.Serial != 4 {
		t.Fatalf("Work() = %+v, want the newest digests", work)
	}
	if err := r.Compared([]Fold{{}}, nil); err != nil || r.held != 0 {
		t.Errorf("Compared = %v with %d bytes held, want nil, 0", err, r.held)
	}
	give(t, r, d(4))
	if work, due := r.Work(); due {
		t.Errorf("Work() after the same digests = %+v, want nothing", work)
	}
	give(t, r, d(5))
	r.Work()
	if err := r.Compared(nil, engine.ErrUnavailable); !errors.Is(err, engine.ErrUnavailable) {
		t.Errorf("Compared(failed scan) = %v, want %v", err, engine.ErrUnavailable)
	}
}

// TestReceiverSeesSuccession: the shell learns that the origin failed over, once.
func TestReceiverSeesSuccession(t *testing.T) {
	r := newTestReceiver(t, 0)
	for i, actor := range []crdt.Actor{crdt.NewActor(1, 5), crdt.NewActor(1, 6), crdt.NewActor(1, 6), crdt.NewActor(1, 7)} {
		for part := range uint16(2) {
			give(t, r, Entries{Batch: engine.Batch{Partition: part, Actor: actor, First: uint64(i) + 1, Frags: make([]crdt.Fragment, 1)}})
			done(t, r, engine.Ingested{Position: engine.Position{Actor: actor, N: uint64(i) + 1}})
		}
	}
	if got := r.Counts().Successions; got != 2 {
		t.Errorf("Successions = %d after two new actors in two partitions, want 2", got)
	}
}

// TestReceiverSeesShorterLog: a log that no longer has what the origin was told is
// held here was cut by a failover. One that merely has been overtaken was not.
func TestReceiverSeesShorterLog(t *testing.T) {
	at := func(n uint64) (p engine.Positions) {
		p[3] = engine.Position{Actor: crdt.NewActor(1, 5), N: n}
		return p
	}
	for _, c := range []struct {
		name        string
		first, echo crdt.Time // of the heartbeat, and of one before it
		head        engine.Positions
		want        uint64
	}{
		{"as long", 0, 0, at(9), 0},
		{"longer", 0, 0, at(12), 0},
		{"empty", 0, 0, engine.Positions{}, 0},
		{"shorter than at the hello", 0, 0, at(8), 1},
		{"shorter than said", 1, 1, at(8), 1},
		{"read before it was said", 1, 0, at(8), 0},
	} {
		r := NewReceiver(2, 1, at(9), 0, Limits{})
		if c.first > 0 {
			give(t, r, Heartbeat{Time: 1, At: at(9)}) // answered at 1
		}
		for range 3 {
			give(t, r, Heartbeat{Time: 5, Echo: c.echo, At: c.head})
		}
		if got := r.Counts().Successions; got != c.want {
			t.Errorf("%s: Successions = %d, want %d", c.name, got, c.want)
		}
	}
}
