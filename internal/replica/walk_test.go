package replica

import (
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// TestScanRate: one walk is for as many partitions as have not too many records, and
// no more is read than the budget allows, neither in turn nor on demand.
func TestScanRate(t *testing.T) {
	for _, c := range []struct {
		records, walks int // of a partition; through all of them
		demand         bool
	}{
		{80_000, 16, false},
		{80_000, 16, true},
		{20_000, 8, true},
		{4_000, 1, true},
	} {
		b := newBench(t, Hello{}, Limits{Sweep: 64 * time.Second, ScanRate: 10_000})
		b.tick(1000)
		if c.demand {
			b.s.Compare()
		}
		w := walks{bench: b, rate: 10_000, of: map[uint16]int{}, records: c.records}
		for now := crdt.Time(2000); w.compared < crdt.Partitions && now < 2_000_000; now += 100 {
			w.step(now)
		}
		if w.compared != crdt.Partitions || len(w.of) != crdt.Partitions || w.walks != c.walks {
			t.Errorf("%+v: %d partitions were compared, %d of them different, in %d walks; want each once in %d",
				c, w.compared, len(w.of), w.walks, c.walks)
		}
		took := time.Duration(c.records*crdt.Partitions) * time.Second / 10_000
		if last := w.last.Sub(2000); last > took+time.Duration(w.inVain)*time.Second/10_000 {
			t.Errorf("%+v: it took until %v, want the time of %d records, and of %d read in vain",
				c, last, c.records*crdt.Partitions, w.inVain)
		}
		b.s.Compare()
		b.rests(w.last, "while the budget is spent")
	}
}

// walks are the scans of a Region whose partitions are all of one size.
type walks struct {
	*bench
	rate             int            // records a second, at most; 0: any
	of               map[uint16]int // how often each partition was compared
	records          int            // in each
	walks, compared  int
	inVain, finished int // records
	last             crdt.Time
}

// step makes the walk that is due, if one is.
func (w *walks) step(now crdt.Time) {
	w.t.Helper()
	w.tick(now)
	scan, due := w.s.Scan()
	if !due {
		return
	}
	if read := w.finished + w.inVain; w.rate > 0 && read > int(now.Sub(2000).Seconds()*float64(w.rate))+1 {
		w.t.Errorf("%d records were read by %v, want %d a second", read, now, w.rate)
	}
	w.last = now
	w.s.ScanFrom(scan.ID, engine.Positions{})
	if all := w.records * len(scan.Parts); scan.Most > 0 && all > scan.Most {
		w.inVain += scan.Most
		w.s.Narrow(now, scan.ID)
		return
	}
	w.walks++
	folds := scan.Folds(now)
	for i := range folds {
		folds[i].records = w.records
		w.of[folds[i].part]++
		w.compared++
		w.finished += w.records
	}
	w.s.Folded(now, scan.ID, folds)
	buf := w.s.Take(now, frameTarget)
	if len(buf) > 300<<10 {
		w.t.Errorf("frame of %d bytes, want 256 KiB and some at most", len(buf))
	}
	w.receive(now, Differs{Serial: frames(w.t, buf)[0].(Digests).Serial})
}

// TestResyncsShareAWalk: a peer that needs the state of all partitions gets it by as
// few walks as their size allows, and none is left out.
func TestResyncsShareAWalk(t *testing.T) {
	all := ^uint64(0)
	b := newBench(t, Hello{Want: all}, Limits{})
	if d := b.fold(1); len(d.Parts) != crdt.Partitions {
		t.Errorf("digests of an empty Region cover %d partitions, want all", len(d.Parts))
	}
	b = newBench(t, Hello{Want: all}, Limits{})
	w := walks{bench: b, of: map[uint16]int{}, records: 20_000}
	for range 2 * crdt.Partitions {
		w.step(1)
	}
	if w.compared != crdt.Partitions || len(w.of) != crdt.Partitions || w.walks != 8 || b.s.resyncing() {
		t.Errorf("%d partitions were compared, %d of them different, in %d walks, resyncing %t; want each once in 8, false",
			w.compared, len(w.of), w.walks, b.s.resyncing())
	}
}

// TestWidthGrowsBack: where there is less than there was, one walk is for more
// partitions again.
func TestWidthGrowsBack(t *testing.T) {
	b := newBench(t, Hello{}, Limits{Sweep: 64 * time.Second, ScanRate: 1 << 30})
	w := walks{bench: b, of: map[uint16]int{}, records: 80_000}
	b.s.Compare()
	now := crdt.Time(2000)
	for ; w.compared < crdt.Partitions; now += 100 {
		w.step(now)
	}
	w.records = 10
	b.s.Compare()
	for w.walks, w.compared = 0, 0; w.compared < crdt.Partitions; now += 100 {
		w.step(now)
	}
	if w.walks != 5 { // of 4, 8, 16, 32, and the 4 that are left
		t.Errorf("all partitions were compared in %d walks, want 5 that double", w.walks)
	}
	b.s.Compare()
	for w.walks, w.compared = 0, 0; w.compared < crdt.Partitions; now += 100 {
		w.step(now)
	}
	if w.walks != 1 {
		t.Errorf("all partitions were compared in %d walks, want 1", w.walks)
	}
}

// TestResyncOvertakesOneOfMany: where the state of several partitions is sent, one that
// is asked for anew is left out of what goes on, and the others are not.
func TestResyncOvertakesOneOfMany(t *testing.T) {
	b := newBench(t, Hello{Want: 3, Window: 1000}, Limits{})
	var mine []crdt.Record
	for i := range 20 {
		mine = append(mine, session(i, longLater, 0, "v"))
		b.o.join(mine[i])
	}
	k := keyIn(1)
	b.o.put(1000, k, "v")
	b.receive(1, differsAll(b.fold(1)))
	scan, due := b.s.Scan()
	if !due || !scan.States || scan.Of() != engine.PartitionsOf(0, 1) || !scan.Wants(mine[0]) || !scan.Wants(b.o.get(k)) {
		t.Fatalf("Scan() = %+v, %t; want the states of partitions 0 and 1", scan, due)
	}
	b.state(scan, mine...)
	if b.s.Room() {
		t.Fatal("there is room for more than the window, want none")
	}
	b.s.wantState(0)
	if !b.s.Room() || len(b.s.recs) > 0 {
		t.Errorf("%d records wait that a resync overtook, want none", len(b.s.recs))
	}
	first := b.take(1)[0].(States)
	b.receive(1, Ack{Joined: first.Serial})
	b.state(scan, mine[0], b.o.get(k))
	b.s.Scanned(1, scan.ID)
	b.wantStateAndRebase(k, b.take(1))
	if b.s.pass.on {
		t.Error("the pass goes on after its end")
	}
	if again := b.fold(1); len(again.Parts) != 1 || again.Parts[0].Partition != 0 {
		t.Errorf("digests = %+v, want partition 0 anew", again)
	}
}

// wantStateAndRebase wants a record's state alone, then the rebase of its partition.
func (b *bench) wantStateAndRebase(k crdt.Key, sent []Frame) {
	b.t.Helper()
	if len(sent) != 2 {
		b.t.Fatalf("Take() = %+v, want states and a rebase", sent)
	}
	if f, ok := sent[0].(States); !ok || len(f.Records) != 1 || f.Records[0].Key != k {
		b.t.Errorf("Take() = %+v first, want the state of %v alone", sent[0], k)
	}
	if f, ok := sent[1].(Entries); !ok || !f.Batch.Rebase || f.Batch.Partition != k.Partition() {
		b.t.Errorf("Take() = %+v at last, want the rebase of partition %d", sent[1], k.Partition())
	}
}

// state hands over records that a scan wants, which goes on.
func (b *bench) state(scan Scan, records ...crdt.Record) {
	b.t.Helper()
	if more, err := b.s.State(1, scan.ID, records); !more || err != nil {
		b.t.Fatalf("State() = %t, %v, want true, nil", more, err)
	}
}
