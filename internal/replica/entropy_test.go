package replica

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
)

// onLAN is inBubble for this file's tests.
func onLAN(t *testing.T, f func(t *testing.T, n *lan)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { time.Sleep(untilStamps); f(t, newLAN()) })
}

// lossy is a memory engine that can be made to pass over what it is told, without
// a trace: as one does whose failover lost it.
type lossy struct {
	engine.Engine
	mem *memory.Engine

	mu        sync.Mutex // guards what follows
	deaf      bool
	joined    []crdt.Key // in order
	refilling []bool     // what SetRefilling was told
	lost      bool       // something went since it was told
}

func newLossy(t *testing.T, here crdt.Region) *lossy {
	t.Helper()
	eng, err := memory.New(here, memory.Config{})
	if err != nil {
		t.Fatalf("memory.New(%d) = %v, want nil", here, err)
	}
	t.Cleanup(func() {
		if err := eng.Close(); err != nil {
			t.Errorf("Close() of the engine = %v, want nil", err)
		}
	})
	return &lossy{Engine: eng, mem: eng}
}

func (l *lossy) Unwrap() engine.Engine { return l.Engine }

func (l *lossy) Positions(ctx context.Context, from crdt.Region) (engine.Positions, error) {
	return l.mem.Positions(ctx, from)
}

func (l *lossy) Ingest(ctx context.Context, from crdt.Region, b engine.Batch) (engine.Ingested, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deaf {
		blank := b
		blank.Frags = make([]crdt.Fragment, len(b.Frags))
		return l.mem.Ingest(ctx, from, blank)
	}
	return l.mem.Ingest(ctx, from, b)
}

func (l *lossy) Join(ctx context.Context, r crdt.Record) error {
	l.mu.Lock()
	l.joined = append(l.joined, r.Key)
	l.mu.Unlock()
	return l.mem.Join(ctx, r)
}

func (l *lossy) Lost(context.Context) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost || len(l.refilling) > 0 && l.refilling[len(l.refilling)-1], nil
}

func (l *lossy) SetRefilling(_ context.Context, on bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !on && l.lost {
		return engine.ErrRefilling
	}
	l.lost = false
	l.refilling = append(l.refilling, on)
	return nil
}

// lose has l say that it lost something.
func (l *lossy) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = true
}

func (l *lossy) told() []bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]bool(nil), l.refilling...)
}

func (l *lossy) setDeaf(deaf bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deaf = deaf
}

// login writes a session of user, and its entry in the user's record.
func (l *lossy) login(t *testing.T, n int, user string) crdt.Key {
	t.Helper()
	now := wall()
	id := crdt.NewSessionID(now.Add(24*time.Hour), 1, crdt.IDEntropy{0, byte(n), byte(n >> 8), byte(n), 1})
	k := crdt.SessionKey(id)
	for key, op := range map[crdt.Key]crdt.Op{
		k:                  {Stamp: now.Stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Cur: crdt.Hash{1}}, User: user},
		crdt.UserKey(user): {Stamp: now.Stamp(), Changes: []crdt.Change{crdt.Index(id, nil)}},
	} {
		if _, err := l.Apply(t.Context(), key, op); err != nil {
			t.Fatalf("Apply = %v, want nil", err)
		}
	}
	return k
}

// records returns the digests of all that l holds.
func (l *lossy) records(t *testing.T) map[crdt.Key]uint64 {
	t.Helper()
	out := map[crdt.Key]uint64{}
	err := l.mem.Scan(t.Context(), engine.EveryPartition, func(r crdt.Record) bool { out[r.Key] = r.Digest(); return true })
	if err != nil {
		t.Fatalf("Scan = %v, want nil", err)
	}
	return out
}

func wantEqual(t *testing.T, engs ...*lossy) {
	t.Helper()
	want := engs[0].records(t)
	for i, e := range engs[1:] {
		got := e.records(t)
		unlike := 0
		for k, d := range want {
			if got[k] != d {
				unlike++
			}
		}
		if unlike > 0 || len(got) != len(want) {
			t.Errorf("engine %d holds %d records, %d missing or unlike; want the %d of the first", i+2, len(got), unlike, len(want))
		}
	}
}

// neverSweeps leaves comparing to who asks for it.
func neverSweeps() Config { return Config{Limits: Limits{Sweep: 1000 * time.Hour}} }

// countsOf sums up what all links have done.
func countsOf(reps []*Replica) (sum Counts) {
	for _, r := range reps {
		for _, p := range r.Status().Peers {
			sum = sum.plus(p.Counts)
		}
	}
	return sum
}

// loses has l pass over what from writes, and returns the session.
func (l *lossy) loses(t *testing.T, from *lossy, n int, user string) crdt.Key {
	t.Helper()
	time.Sleep(time.Second)
	l.setDeaf(true)
	k := from.login(t, n, user)
	time.Sleep(time.Second)
	l.setDeaf(false)
	if r, err := l.Read(t.Context(), k, crdt.Token{}); err != nil || !r.IsBottom() {
		t.Fatalf("Read of what was lost = %+v, %v, want nothing and no error", r, err)
	}
	return k
}

// TestAntiEntropy: what was lost without a trace is there again within one sweep,
// in whichever Region it was lost, is counted once, and nothing more is sent.
func TestAntiEntropy(t *testing.T) {
	onLAN(t, func(t *testing.T, n *lan) {
		engs := []*lossy{newLossy(t, 1), newLossy(t, 2), newLossy(t, 3)}
		var reps []*Replica
		for i, e := range engs {
			reps = append(reps, n.start(t, crdt.Region(i+1), e, 3, Config{}))
		}
		time.Sleep(3 * time.Second)
		for i := range 200 {
			engs[i%3].login(t, i, string(rune('a'+i%5)))
		}
		time.Sleep(time.Second)
		wantEqual(t, engs...)
		lost := engs[1].loses(t, engs[0], 1000, "lost")
		time.Sleep(defaultSweep + 30*time.Second)
		if r, err := engs[1].Read(t.Context(), lost, crdt.Token{}); err != nil || r.IsBottom() {
			t.Errorf("Read of what was lost = %+v, %v, want it to be there again", r, err)
		}
		wantEqual(t, engs...)
		// Region 2 differs from 1 and from 3: two records, in two partitions, on
		// two links each way.
		sum := countsOf(reps)
		if sum.Diverged < 2 || sum.Diverged > 8 || sum.Repaired < 2 || sum.Repaired > 100 || sum.States > 0 {
			t.Errorf("Counts = %+v, want 2 to 8 diverged, their records repaired, and no states", sum)
		}
		if got := reps[0].Status().Sources[0].Counts; got.Compared < crdt.Partitions || got.Differed == 0 {
			t.Errorf("Counts of a source = %+v, want all partitions compared and some that differed", got)
		}
		time.Sleep(2 * defaultSweep)
		after := countsOf(reps)
		if after.Diverged != sum.Diverged || after.Repaired != sum.Repaired || after.Compared == sum.Compared {
			t.Errorf("Counts of equal Regions = %+v after %+v, want only more compared", after, sum)
		}
	})
}

// TestCompareOnDemand: nobody waits for the sweep who knows that something may be
// lost; it works the other way round too.
func TestCompareOnDemand(t *testing.T) {
	onLAN(t, func(t *testing.T, n *lan) {
		a, b := newLossy(t, 1), newLossy(t, 2)
		ra := n.start(t, 1, a, 2, neverSweeps())
		rb := n.start(t, 2, b, 2, neverSweeps())
		time.Sleep(3 * time.Second)
		a.login(t, 1, "ann")
		time.Sleep(time.Second)
		b.loses(t, a, 2, "bob")
		only := session(3, wall().Add(time.Hour), 0, "on one side only")
		if err := b.mem.Join(t.Context(), only); err != nil {
			t.Fatalf("Join = %v, want nil", err)
		}
		time.Sleep(time.Second)
		n.setCut(true) // asked for while there is no link
		ra.Compare()
		rb.Compare()
		time.Sleep(time.Second)
		n.setCut(false)
		time.Sleep(15 * time.Second)
		wantEqual(t, a, b)
	})
}

// TestFailoverCompares: entries that a failover took back are still at the peer,
// which gives them back without being asked.
func TestFailoverCompares(t *testing.T) {
	onLAN(t, func(t *testing.T, n *lan) {
		var engs []*fake
		for r := crdt.Region(1); r <= 2; r++ {
			engs = append(engs, newFake(r, wall))
			engs[r-1].s.until = longLater
			n.start(t, r, engs[r-1], 2, neverSweeps())
		}
		a, b := engs[0], engs[1]
		time.Sleep(3 * time.Second)
		k := keyIn(0)
		a.put(k, "kept")
		time.Sleep(time.Second)
		a.mu.Lock()
		before := a.s.clone()
		a.mu.Unlock()
		a.put(k, "lost")
		time.Sleep(time.Second)
		a.mu.Lock() // the replica takes over, without the last entry
		a.s = before
		a.s.promote(crdt.NewActor(1, 8))
		a.mu.Unlock()
		a.put(keyIn(0), "successor's")
		time.Sleep(15 * time.Second)
		mine, _ := a.Read(t.Context(), k, crdt.Token{})
		theirs, _ := b.Read(t.Context(), k, crdt.Token{})
		if mine.Digest() != theirs.Digest() || len(mine.VV) != 2 {
			t.Errorf("Region 1 holds %v, Region 2 %v, want both actors' writes in both", mine.VV, theirs.VV)
		}
	})
}

// TestResyncOfEqualEngines: a Region that lost its log and its cursors, but has
// all records, is given none of them.
func TestResyncOfEqualEngines(t *testing.T) {
	onLAN(t, func(t *testing.T, n *lan) {
		a, b := newLossy(t, 1), newLossy(t, 2)
		ra := n.start(t, 1, a, 2, Config{})
		for i := range 5000 {
			a.login(t, i, string(rune('a'+i%50)))
		}
		err := a.mem.Scan(t.Context(), engine.EveryPartition, func(r crdt.Record) bool { return b.mem.Join(t.Context(), r) == nil })
		if err != nil {
			t.Fatalf("Scan = %v, want nil", err)
		}
		n.start(t, 2, b, 2, Config{})
		time.Sleep(10 * time.Second)
		got := ra.Status().Peers[0]
		if got.Counts.Resyncs != crdt.Partitions || got.Counts.States != 0 || got.LagEntries != 0 {
			t.Errorf("Status = %d entries behind, %+v; want 0 and %d resyncs without states",
				got.LagEntries, got.Counts, crdt.Partitions)
		}
		if told := b.told(); len(told) != 2 || !told[0] || told[1] {
			t.Errorf("SetRefilling was told %v, want true, then false", told)
		}
		wantEqual(t, a, b)
	})
}

// TestRefilling: a blank engine is told so before New returns, and is told the end
// when every peer has given all, users first in each partition. One that is not
// blank hears nothing.
func TestRefilling(t *testing.T) {
	onLAN(t, func(t *testing.T, n *lan) {
		a, b, c := newLossy(t, 1), newLossy(t, 2), newLossy(t, 3)
		a.login(t, 1000, "z")
		n.start(t, 1, a, 3, Config{})
		if told := a.told(); len(told) != 0 {
			t.Errorf("SetRefilling was told %v of an engine with a log, want nothing", told)
		}
		for i := range 600 { // partition 0 has more than one frame of them
			a.login(t, i*64, fmt.Sprint("user", 10+i%190))
		}
		n.start(t, 2, b, 3, Config{})
		if told := b.told(); len(told) != 1 || !told[0] {
			t.Errorf("SetRefilling was told %v by New, want true", told)
		}
		time.Sleep(10 * time.Second)
		if told := b.told(); len(told) != 1 {
			t.Errorf("SetRefilling was told %v while Region 3 has given nothing, want true alone", told)
		}
		b.mu.Lock()
		joined := b.joined
		b.mu.Unlock()
		session := map[uint16]bool{}
		users := 0
		for _, k := range joined {
			if k.Kind() == crdt.KindSession {
				session[k.Partition()] = true
			} else if users++; session[k.Partition()] {
				t.Errorf("a user's record of partition %d came after a session's", k.Partition())
			}
		}
		if users == 0 || len(session) == 0 {
			t.Errorf("%d users' records and sessions of %d partitions were joined, want some of both", users, len(session))
		}
		n.start(t, 3, c, 3, Config{})
		time.Sleep(10 * time.Second)
		for i, e := range []*lossy{b, c} {
			if told := e.told(); len(told) != 2 || !told[0] || told[1] {
				t.Errorf("SetRefilling of Region %d was told %v, want true, then false", i+2, told)
			}
		}
		wantEqual(t, a, b, c)
		synctest.Wait()
	})
}

// TestLostInUse: an engine that says that it lost something while links are up is
// given all that peers have, over new links, and once more if it loses something
// before all is there.
func TestLostInUse(t *testing.T) {
	onLAN(t, func(t *testing.T, n *lan) {
		a, b := newLossy(t, 1), newLossy(t, 2)
		a.login(t, 1000, "z")
		b.login(t, 1001, "z") // neither is blank
		ra := n.start(t, 1, a, 2, Config{})
		n.start(t, 2, b, 2, Config{})
		time.Sleep(5 * time.Second)
		b.setDeaf(true) // it takes in nothing, as if it had lost it later
		for i := range 100 {
			a.login(t, i, "x")
		}
		time.Sleep(time.Second)
		b.setDeaf(false)
		before := ra.Status().Peers[0].Counts.Resyncs
		n.setCut(true)
		b.lose()
		time.Sleep(2 * lossEvery) // it would be asked for
		b.lose()
		n.setCut(false)
		time.Sleep(10 * time.Second)
		if got := ra.Status().Peers[0].Counts.Resyncs - before; got < crdt.Partitions {
			t.Errorf("%d partitions were given again, want all %d", got, crdt.Partitions)
		}
		told := b.told()
		if len(told) != 3 || !told[0] || !told[1] || told[2] {
			t.Errorf("SetRefilling was told %v, want true twice and false once all is there", told)
		}
		wantEqual(t, a, b)
	})
}

// bare is an engine that can't say that it is being refilled.
type bare struct {
	engine.Engine
	engine.Log
	engine.Sink
	engine.Scanner
}

// TestRefillingEndsUnsaid: where the engine can't say that it is being refilled, the
// status does, and it ends.
func TestRefillingEndsUnsaid(t *testing.T) {
	onLAN(t, func(t *testing.T, n *lan) {
		a, b := newLossy(t, 1), newLossy(t, 2)
		a.login(t, 1, "z")
		rb := n.start(t, 2, bare{b.mem, b.mem, b.mem, b.mem}, 2, Config{})
		if !rb.Status().Refilling {
			t.Error("a blank engine is not said to be refilled")
		}
		n.start(t, 1, a, 2, Config{})
		time.Sleep(10 * time.Second)
		if rb.Status().Refilling {
			t.Error("an engine that has been given all is said to be refilled")
		}
		wantEqual(t, a, b)
	})
}
