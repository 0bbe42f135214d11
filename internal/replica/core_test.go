package replica

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// bench is a Sender and a store whose log it sends, frame by frame.
type bench struct {
	t *testing.T
	s *Sender
	o *store
}

func newBench(t *testing.T, hello Hello, limits Limits) *bench {
	t.Helper()
	return &bench{t, NewSender(1, hello, limits), newStore(crdt.NewActor(1, 5))}
}

// follow offers one batch of a partition after at.
func (b *bench) follow(now crdt.Time, part uint16, at engine.Position) {
	b.t.Helper()
	batch, ok := b.o.after(int(part), at, 1000)
	gen, _ := b.s.Follow()
	if err := b.s.Offer(now, gen, batch); !ok || err != nil {
		b.t.Fatalf("Offer(%t) = %v, want nil", ok, err)
	}
}

func frames(t *testing.T, buf []byte) (out []Frame) {
	t.Helper()
	for _, b := range split(buf) {
		f, _, err := ReadFrame(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("ReadFrame = %v, want nil", err)
		}
		out = append(out, f)
	}
	return out
}

func (b *bench) take(now crdt.Time) []Frame {
	b.t.Helper()
	return frames(b.t, b.s.Take(now, frameTarget))
}

func (b *bench) receive(now crdt.Time, f Frame) {
	b.t.Helper()
	if err := b.s.Receive(now, f); err != nil {
		b.t.Fatalf("Receive(%T) = %v, want nil", f, err)
	}
}

func TestSenderGathersWhileBusy(t *testing.T) {
	b := newBench(t, Hello{}, Limits{})
	k := testKeys()[0]
	part := k.Partition()
	var at engine.Position
	for i := range 3 {
		b.o.put(crdt.Time(i), k, "v")
		b.follow(0, part, at)
		at = engine.Position{Actor: b.o.actor, N: uint64(i + 1)}
	}
	got := b.take(0)
	if e, ok := got[0].(Entries); len(got) != 1 || !ok || len(e.Batch.Frags) != 3 || e.Batch.First != 1 {
		t.Errorf("Take() = %+v, want one frame with entries 1 to 3", got)
	}
}

func TestSenderWindow(t *testing.T) {
	b := newBench(t, Hello{Window: 1000}, Limits{})
	k := testKeys()[0]
	part := k.Partition()
	for i := range 100 {
		b.o.put(crdt.Time(i), k, "v")
	}
	b.follow(0, part, engine.Position{})
	sent := uint64(0)
	for rounds := 0; sent < 100; rounds++ {
		if got := b.s.Unacked(); got > 1000 {
			t.Fatalf("Unacked() = %d, want at most the peer's 1000", got)
		}
		if b.s.Ready() && sent < 90 {
			t.Errorf("Ready() with %d of 100 sent = true, want false", sent)
		}
		for _, f := range b.take(0) {
			sent = f.(Entries).Batch.Last().N
		}
		b.receive(0, Ack{Partition: part, At: engine.Position{Actor: b.o.actor, N: sent}})
		if rounds > 100 {
			t.Fatalf("sent %d of 100 entries in %d rounds", sent, rounds)
		}
	}
	if got := b.s.Unacked(); got != 0 || !b.s.Ready() {
		t.Errorf("Unacked() = %d, Ready() = %t, want 0, true", got, b.s.Ready())
	}
}

func TestSenderRedelivers(t *testing.T) {
	b := newBench(t, Hello{}, Limits{Redeliver: time.Second})
	k := testKeys()[0]
	b.o.put(0, k, "v")
	b.follow(0, k.Partition(), engine.Position{})
	b.take(0)
	gen, _ := b.s.Follow()
	now := crdt.Time(0)
	for _, wait := range []crdt.Time{1000, 2000, 4000, 8000, 8000} {
		if err := b.s.Tick(now + wait - 1); err != nil {
			t.Fatalf("Tick = %v, want nil", err)
		}
		if got, _ := b.s.Follow(); got != gen {
			t.Errorf("Follow() before %d ms = %d, want %d still", wait, got, gen)
		}
		now += wait
		if err := b.s.Tick(now); err != nil {
			t.Fatalf("Tick = %v, want nil", err)
		}
		got, from := b.s.Follow()
		if got == gen || from != (engine.Positions{}) {
			t.Errorf("Follow() after %d ms = %d, want another number and from the start", wait, got)
		}
		gen = got
		b.follow(now, k.Partition(), engine.Position{})
		if sent := b.take(now); len(sent) != 1 {
			t.Errorf("Take() after %d ms = %v, want the entry again", wait, sent)
		}
	}
}

// TestSenderGoesByThePeer: a peer that turns out to be at a lost actor's entries,
// of which the log has nothing, is given the state.
func TestSenderGoesByThePeer(t *testing.T) {
	mine, lost := crdt.NewActor(1, 5), crdt.NewActor(1, 6)
	var hello, head, said engine.Positions
	hello[0] = engine.Position{Actor: mine, N: 39}
	head[0], said[0] = engine.Position{Actor: mine, N: 35}, engine.Position{Actor: lost, N: 38}
	b := newBench(t, Hello{At: hello}, Limits{})
	b.receive(1, Heartbeat{Time: 1, At: said})
	if _, from := b.s.Follow(); from[0] != said[0] || b.s.Acked()[0] != said[0] {
		t.Errorf("Follow() from %v with %v acknowledged, want %v", from[0], b.s.Acked()[0], said[0])
	}
	for beat := range crdt.Time(stuckIdle + 2) { // at the first one it has just moved
		b.s.Beat(beat, 0, head)
		b.receive(beat, Heartbeat{Time: beat + 2, At: said})
	}
	b.take(5)
	if d := b.fold(5); len(d.Parts) != 1 || d.Parts[0].Partition != 0 {
		t.Errorf("digests = %+v, want those of partition 0", d)
	}
	said[0].Actor = crdt.NewActor(1, 7)
	b.receive(5, Heartbeat{Time: 9, At: said})
	busy := newBench(t, Hello{At: hello}, Limits{})
	busy.o.put(1, keyIn(0), "v")
	busy.follow(1, 0, engine.Position{})
	busy.receive(1, Heartbeat{Time: 1, At: said})
	for name, got := range map[string]Counts{"that is resynced": b.s.Counts(), "on its way": busy.s.Counts()} {
		want := uint64(0)
		if name == "that is resynced" {
			want = 1 // from before
		}
		if got.Redeliveries != want {
			t.Errorf("Redeliveries of a partition %s = %d, want %d", name, got.Redeliveries, want)
		}
	}
}

// TestSenderResync: a log that begins beyond the peer's position is made up for
// by the state of the partition and a rebase.
func TestSenderResync(t *testing.T) {
	b := newBench(t, Hello{}, Limits{})
	k := testKeys()[0]
	part := k.Partition()
	for i := range 5 {
		b.o.put(crdt.Time(i), k, "v")
	}
	b.o.trim(int(part), 3)
	b.follow(0, part, engine.Position{})
	b.s.Beat(1, 0, b.o.head())
	if f := b.take(1)[0].(Heartbeat); !f.Partial {
		t.Errorf("Beat during a resync = %+v, want partial", f)
	}
	d := b.fold(1)
	if len(d.Parts) != 1 || d.Parts[0].Partition != part || d.Parts[0].Cutoff != 0 {
		t.Fatalf("Digests = %+v, want partition %d without a cutoff", d, part)
	}
	b.receive(1, differsAll(d))
	b.states(1)
	sent := b.take(1)
	if len(sent) != 2 {
		t.Fatalf("Take() = %+v, want states and a rebase", sent)
	}
	e, ok := sent[1].(Entries)
	if !ok || !e.Batch.Rebase || e.After != 1 || e.Batch.Last() != b.o.head()[part] {
		t.Errorf("after the states = %+v, want a rebase to %v after 1 frame", sent[1], b.o.head()[part])
	}
	const long = 8 * defaultRedeliver
	if err := b.s.Tick(crdt.Time(0).Add(long)); err != nil { // a millisecond before
		t.Errorf("Tick = %v, want nil", err)
	}
	if _, due := b.s.Scan(); due {
		t.Errorf("Scan() before %v is due, want not", long)
	}
	b.receive(2, Ack{Partition: part, At: e.Batch.Last(), Joined: 1})
	if got := b.s.Acked()[part]; got != e.Batch.Last() || b.s.resyncing() {
		t.Errorf("Acked() = %v, resyncing %t, want %v, false", got, b.s.resyncing(), e.Batch.Last())
	}
}

// TestSenderResyncAgain: a state that is never joined is sent again.
func TestSenderResyncAgain(t *testing.T) {
	b := newBench(t, Hello{Want: 1}, Limits{Redeliver: time.Second})
	b.o.join(crdt.Record{Key: keyIn(0), VV: crdt.Vector{{Actor: 1 << 20, Stamp: 5}}})
	b.receive(1, differsAll(b.fold(1)))
	b.states(1)
	if got := b.take(1); len(got) != 1 {
		t.Fatalf("Take() = %v, want one frame of states", got)
	}
	if err := b.s.Tick(9000); err != nil {
		t.Fatalf("Tick = %v, want nil", err)
	}
	if again, due := b.s.Scan(); !due || again.States || b.s.Unacked() != 0 {
		t.Errorf("Scan() = %+v, %t with %d unacked, want to fold again and nothing unacked", again, due, b.s.Unacked())
	}
}

// A peer that is at another actor's entries is given the state at its first hole:
// what it was sent it takes for a predecessor's, and would again. One that is at
// the log's own is sent again what was lost on the way.
func TestHoleOfAnotherActorNeedsState(t *testing.T) {
	k := testKeys()[0]
	part := k.Partition()
	for _, c := range []struct {
		name    string
		at      engine.Position
		resyncs uint64
	}{
		{"at another actor's", engine.Position{Actor: crdt.NewActor(1, 77), N: 4}, 1},
		{"at the log's own", engine.Position{}, 0},
	} {
		var hello Hello
		hello.At[part] = c.at
		b := newBench(t, hello, Limits{})
		b.o.put(1, k, "v")
		b.follow(0, part, c.at)
		b.take(1)
		b.receive(2, Hole{Partition: part, At: c.at})
		if got := b.s.Counts(); got.Holes != 1 || got.Resyncs != c.resyncs {
			t.Errorf("after a hole of a peer %s: %d holes and %d resyncs, want 1 and %d", c.name, got.Holes, got.Resyncs, c.resyncs)
		}
	}
}

func TestUsersComeFirst(t *testing.T) {
	session := crdt.Record{Key: crdt.SessionKey(crdt.NewSessionID(5000, 3, crdt.IDEntropy{9}))}
	user := crdt.Record{Key: testKeys()[0]}
	if got := users([]crdt.Record{session, user}); got[0].Key != user.Key || got[1].Key != session.Key {
		t.Errorf("users(session, user) = %v, want the user first", got)
	}
}

// receiver is a Receiver whose engine is played by the test.
func newTestReceiver(t *testing.T, want uint64) *Receiver {
	t.Helper()
	r := NewReceiver(2, 1, engine.Positions{}, want, Limits{PullTries: 2})
	if got := frames(t, r.Take()); len(got) != 1 || got[0].(Hello).Want != want {
		t.Fatalf("Take() = %+v, want a hello that wants %x", got, want)
	}
	return r
}

func give(t *testing.T, r *Receiver, f Frame) {
	t.Helper()
	if err := r.Receive(1, f, len(AppendFrame(nil, f))); err != nil {
		t.Fatalf("Receive(%T) = %v, want nil", f, err)
	}
}

func done(t *testing.T, r *Receiver, res engine.Ingested) Work {
	t.Helper()
	work, due := r.Work()
	if !due {
		t.Fatalf("Work() = nothing, want some")
	}
	if err := r.Done(1, work, res, nil); err != nil {
		t.Fatalf("Done = %v, want nil", err)
	}
	return work
}

// twoWrites is a batch of two writes to one record.
func twoWrites() (engine.Batch, *store) {
	s := newStore(crdt.NewActor(1, 5))
	s.put(10, testKeys()[0], "one")
	s.put(20, testKeys()[0], "two")
	b, _ := s.after(int(testKeys()[0].Partition()), engine.Position{}, 10)
	return b, s
}

func TestReceiverPullsGaps(t *testing.T) {
	b, origin := twoWrites()
	k := testKeys()[0]
	for name, state := range map[string]crdt.Record{"state": origin.get(k), "nowhere any more": {Key: k}} {
		r := newTestReceiver(t, 0)
		give(t, r, Entries{Batch: b})
		give(t, r, Entries{Batch: engine.Batch{Partition: b.Partition, Actor: b.Actor, First: 3, Frags: b.Frags[:1]}})
		done(t, r, engine.Ingested{Gaps: []crdt.Key{k}})
		give(t, r, Entries{Batch: b}) // comes again while it waits
		if got := frames(t, r.Take()); len(got) != 1 || got[0].(Pull).Keys[0] != k {
			t.Errorf("%s: Take() = %+v, want a pull and no ack", name, got)
		}
		if work, due := r.Work(); due {
			t.Errorf("%s: Work() = %+v, want nothing while records are missing", name, work)
		}
		give(t, r, States{Serial: 1, Records: []crdt.Record{state}})
		if work := done(t, r, engine.Ingested{}); len(work.Records) != 1 {
			t.Errorf("%s: Work() = %+v, want the records first", name, work)
		}
		work := done(t, r, engine.Ingested{Position: b.Last()})
		if got := work.Batch.Frags[1].Effect.Key.IsZero(); got != state.IsBottom() {
			t.Errorf("%s: entry of the batch is blank = %t, want %t", name, got, state.IsBottom())
		}
		if got := frames(t, r.Take()); len(got) != 1 || got[0] != Frame(Ack{b.Partition, b.Last(), 1}) {
			t.Errorf("%s: Take() = %+v, want an ack of %v and of the states", name, got, b.Last())
		}
		if work := done(t, r, engine.Ingested{Position: b.Last()}); work.Batch.First != 3 {
			t.Errorf("%s: Work() = %+v, want the batch that waited", name, work)
		}
		if work, due := r.Work(); due {
			t.Errorf("%s: Work() = %+v, want nothing more", name, work)
		}
	}
}

// TestReceiverGivesUp: gaps that stay open end the link and are never passed.
func TestReceiverGivesUp(t *testing.T) {
	b, origin := twoWrites()
	r := newTestReceiver(t, 0)
	give(t, r, Entries{Batch: b})
	gap := engine.Ingested{Gaps: []crdt.Key{testKeys()[0]}}
	for try := uint64(1); try <= 2; try++ {
		done(t, r, gap)
		give(t, r, States{Serial: try, Records: []crdt.Record{origin.get(testKeys()[0])}})
		done(t, r, engine.Ingested{})
	}
	work, _ := r.Work()
	if err := r.Done(1, work, gap, nil); !errors.Is(err, ErrGaps) {
		t.Errorf("Done with gaps for the third time = %v, want %v", err, ErrGaps)
	}
	if got, want := r.Want(), uint64(1)<<b.Partition; got != want {
		t.Errorf("Want() = %x, want %x: the next link asks for the state", got, want)
	}
}

func TestReceiverRebase(t *testing.T) {
	b, origin := twoWrites()
	rebase := engine.Batch{Partition: b.Partition, Actor: b.Actor, Fork: 2, First: 3, Rebase: true}
	states := States{Serial: 1, Records: []crdt.Record{origin.get(testKeys()[0])}}

	r := newTestReceiver(t, 1<<b.Partition)
	if err := r.Receive(1, Entries{After: 1, Batch: rebase}, 50); !errors.Is(err, ErrLost) {
		t.Errorf("Receive(rebase before its states) = %v, want %v", err, ErrLost)
	}
	if err := r.Receive(1, States{Serial: 2, Records: states.Records}, 50); !errors.Is(err, ErrLost) {
		t.Errorf("Receive(states 2 before 1) = %v, want %v", err, ErrLost)
	}
	give(t, r, states)
	give(t, r, states) // twice
	give(t, r, Entries{After: 1, Batch: rebase})
	done(t, r, engine.Ingested{})
	done(t, r, engine.Ingested{Position: rebase.Last()})
	if got := r.Want(); got != 0 {
		t.Errorf("Want() after the rebase = %x, want 0", got)
	}
	r.want = 1 << 7 // of a partition that the origin never wrote
	give(t, r, Heartbeat{Time: 5, Partial: true})
	if got := r.Want(); got == 0 {
		t.Errorf("Want() after a partial heartbeat = 0, want it kept")
	}
	give(t, r, Heartbeat{Time: 5})
	if got := r.Want(); got != 0 {
		t.Errorf("Want() after a heartbeat = %x, want 0", got)
	}
	give(t, r, Entries{After: 1, Batch: rebase})
	if work, due := r.Work(); due {
		t.Errorf("Work() after the same rebase = %+v, want nothing: it would go back", work)
	}
}

func TestReceiverHoleOnce(t *testing.T) {
	b, _ := twoWrites()
	r := newTestReceiver(t, 0)
	for range 3 {
		give(t, r, Entries{Batch: b})
		done(t, r, engine.Ingested{Hole: true})
	}
	if got := frames(t, r.Take()); len(got) != 1 || got[0] != Frame(Hole{Partition: b.Partition}) {
		t.Errorf("Take() after three holes = %+v, want one report", got)
	}
}

func TestReceiverRefuses(t *testing.T) {
	b, _ := twoWrites()
	other := b
	other.Actor = crdt.NewActor(3, 1)
	for name, f := range map[string]Frame{
		"log of a third Region": Entries{Batch: other}, "an ack": Ack{}, "a pull": Pull{}, "a second hello": Hello{},
	} {
		if err := newTestReceiver(t, 0).Receive(1, f, 10); !errors.Is(err, ErrFrame) {
			t.Errorf("Receive(%s) = %v, want %v", name, err, ErrFrame)
		}
	}
	r := newTestReceiver(t, 0)
	var err error
	for n := 0; err == nil && n < 100; n++ {
		err = r.Receive(1, Entries{Batch: b}, 1<<20)
	}
	if !errors.Is(err, ErrFrame) {
		t.Errorf("Receive beyond the window = %v, want %v", err, ErrFrame)
	}
}

// TestHeardUnderSteadyWrites: a heartbeat that is covered late counts, though
// newer ones that are not covered have come meanwhile.
func TestHeardUnderSteadyWrites(t *testing.T) {
	var at, head engine.Positions
	var h heard
	for i := range crdt.Time(10) {
		head[0] = engine.Position{Actor: 1 << 20, N: uint64(i) + 2}
		h.beat(Heartbeat{Time: 1000 + i, Echo: 500 + i, At: head}, &at)
		at[0] = engine.Position{Actor: 1 << 20, N: max(3, uint64(i)) - 3} // always five behind
		h.advance(&at)
	}
	if h.local < 500 || h.local > 504 || h.remote != h.local+500 {
		t.Errorf("heard = %d, %d, want 500 to 504 and that by the origin's clock", h.local, h.remote)
	}
	for name, next := range map[string]engine.Position{
		"a successor": {Actor: 2 << 20, N: 4}, "a shorter log": {Actor: 1 << 20, N: 4},
	} {
		h = heard{}
		at[0], head[0] = engine.Position{Actor: 1 << 20, N: 3}, engine.Position{Actor: 1 << 20, N: 7}
		h.beat(Heartbeat{Time: 5000, Echo: 4000, At: head}, &at) // 4 to 7 get lost
		at[0], head[0] = next, next
		h.beat(Heartbeat{Time: 7000, Echo: 6000, At: head}, &at)
		if h.local != 6000 {
			t.Errorf("heard after %s = %d, want 6000", name, h.local)
		}
	}
	h = heard{}
	h.beat(Heartbeat{Time: 9000, Echo: 8000, Partial: true}, &at)
	if h.local != 0 {
		t.Errorf("heard after a partial heartbeat = %d, want nothing", h.local)
	}
}

func TestLedger(t *testing.T) {
	mine, older := crdt.NewActor(1, 2), crdt.NewActor(1, 1)
	at := func(a crdt.Actor, n uint64) (p engine.Positions) { p[3] = engine.Position{Actor: a, N: n}; return p }
	for _, c := range []struct {
		name     string
		two, six engine.Positions
		release  engine.Position
		stable   bool
	}{
		{"both hold all", at(mine, 9), at(mine, 9), engine.Position{Actor: mine, N: 9}, true},
		{"one is behind", at(mine, 9), at(mine, 4), engine.Position{Actor: mine, N: 4}, false},
		{"one was never there", at(mine, 9), engine.Positions{}, engine.Position{}, false},
		{"one is at a lost actor's higher number", at(mine, 9), at(older, 12), engine.Position{}, false},
		{"both are", at(older, 12), at(older, 12), engine.Position{}, false},
	} {
		l := NewLedger([]crdt.Region{2, 6})
		l.Head(100_000, at(mine, 9))
		l.Acked(2, c.two)
		l.Acked(6, c.six)
		if got := l.Release()[3]; got != c.release {
			t.Errorf("%s: Release() = %v, want %v", c.name, got, c.release)
		}
		want := "[]"
		if c.stable {
			want = fmt.Sprint(crdt.Vector{{Actor: mine, Stamp: crdt.Time(98_000).Stamp() - 1}})
		}
		if got := fmt.Sprint(l.Stable()); got != want {
			t.Errorf("%s: Stable() = %v, want %v", c.name, got, want)
		}
	}
}
