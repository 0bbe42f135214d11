package quorum

import (
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"
)

// TestWitnessHandsOnWhatItAloneHolds: the leader and the witness agree on something
// and the leader dies, while the other was away. Nobody but the witness can lead.
func TestWitnessHandsOnWhatItAloneHolds(t *testing.T) {
	w := quietWorld(t, plan{voters: []uint64{1, 2, 3}, witnesses: []uint64{3}})
	leader := w.members[1].led.Leader
	other := 3 - leader
	w.cutOff(w.members[other])
	w.propose(w.members[leader])
	w.runFor(5)
	if len(w.members[leader].writes) > 0 {
		t.Fatal("leader and witness did not agree")
	}
	w.crash(w.members[leader])
	clear(w.cut)
	w.read(w.members[other])
	w.runFor(20 * simElection)
	m := w.members[other]
	if m.led.Leader != other || len(m.reads) > 0 || len(m.list) != 1 {
		t.Errorf("%d follows %v, has %d commands and waits for %d reads; want it to lead with what the witness held", other, m.led, len(m.list), len(m.reads))
	}
	if w.count["elections of a witness"] == 0 {
		t.Error("the witness did not step in: this shows nothing")
	}
}

// TestWitnessDoesNotLead: all who could lead are gone, and what the witness holds they
// had as well.
func TestWitnessDoesNotLead(t *testing.T) {
	w := quietWorld(t, plan{voters: []uint64{1, 2, 3}, witnesses: []uint64{3}})
	for range 20 {
		leader := w.members[3].led.Leader
		w.crash(w.members[leader])
		w.runFor(10 * simElection)
		w.start(w.members[leader])
		w.runFor(10 * simElection)
	}
	for id := uint64(1); id <= 2; id++ {
		w.crash(w.members[id])
	}
	w.runFor(20 * simElection)
	if n := w.count["elections of a witness"]; n > 0 || w.members[3].led.Leader != 0 {
		t.Errorf("the witness was elected %d times and follows %v", n, w.members[3].led)
	}
}

// TestTransferGoesToWhoAsks, and never to a witness, whatever it asks.
func TestTransferGoesToWhoAsks(t *testing.T) {
	w := quietWorld(t, plan{voters: []uint64{1, 2, 3}, witnesses: []uint64{3}})
	first := w.members[1].led
	to := w.members[3-first.Leader]
	if err := to.core.Transfer(to.id); err != nil {
		t.Fatal(err)
	}
	w.work(to)
	w.runFor(5)
	if to.led.Leader != to.id || to.led.Term != first.Term+1 {
		t.Errorf("%d asked for it, and follows %v; it was %v", to.id, to.led, first)
	}
	before := to.led
	ask := &pb.Message{Type: pb.MsgTransferLeader.Enum(), From: new(uint64(3)), To: new(to.id), Term: new(to.led.Term)}
	if err := to.core.Receive(3, ask); err != nil {
		t.Fatal(err)
	}
	w.work(to)
	w.propose(to)
	w.runFor(3)
	if len(to.writes) > 0 {
		t.Error("the leader waits for the witness that asked, and takes no commands")
	}
	timeout := &pb.Message{Type: pb.MsgTimeoutNow.Enum(), From: new(to.id), To: new(uint64(3)), Term: new(to.led.Term)}
	if err := w.members[3].core.Receive(to.id, timeout); err != nil {
		t.Fatal(err)
	}
	w.work(w.members[3])
	w.runFor(2 * simElection)
	if got := w.members[1].led; got != before {
		t.Errorf("the witness asked for it and was told to, and %v became %v", before, got)
	}
}

// tried returns after how many ticks a member asks for votes, while each tick it hears
// something; zero: not within so many.
func tried(t *testing.T, c *Core, ticks int, hears *pb.Message) int {
	t.Helper()
	for tick := range ticks {
		c.Tick()
		if hears != nil {
			if err := c.Receive(hears.GetFrom(), hears); err != nil {
				t.Fatal(err)
			}
		}
		for out, ok := c.Next(); ok; out, ok = c.Next() {
			for _, m := range out.Messages {
				if m.GetType() == pb.MsgPreVote {
					return tick + 1
				}
			}
		}
	}
	return 0
}

// TestPatienceIsDrawn: between one and two election timeouts, by seed, number and chance;
// and it begins anew with what a leader of this term says, and no other.
func TestPatienceIsDrawn(t *testing.T) {
	founded, err := Found("name", []uint64{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	founded.State.Term = new(uint64(5))
	patience := func(id, seed uint64, hears *pb.Message) (out [6]int) {
		c, err := New(Rules{ID: id, Seed: seed}, founded)
		if err != nil {
			t.Fatal(err)
		}
		for i := range out {
			out[i] = tried(t, c, 3*DefaultElectionTicks, hears)
			if hears == nil && (out[i] < DefaultElectionTicks || out[i] >= 2*DefaultElectionTicks) {
				t.Errorf("member %d tries after %d ticks, want %d to %d", id, out[i], DefaultElectionTicks, 2*DefaultElectionTicks-1)
			}
		}
		return out
	}
	one := patience(1, 1, nil)
	if again := patience(1, 1, nil); again != one {
		t.Errorf("the same seed draws %d and %d", one, again)
	}
	if other := patience(2, 1, nil); other == one {
		t.Errorf("two members draw %d", one)
	}
	if other := patience(1, 2, nil); other == one {
		t.Errorf("two seeds draw %d", one)
	}
	beat := func(term uint64) *pb.Message {
		return &pb.Message{Type: pb.MsgHeartbeat.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(term)}
	}
	if got := patience(1, 1, beat(4)); got != one {
		t.Errorf("with a leader of an old term it tries after %d ticks, and without after %d", got, one)
	}
	if got := patience(1, 1, beat(5)); got != [6]int{} {
		t.Errorf("with a leader it tries after %d ticks", got)
	}
}

// TestVoteIsNotForgotten: a member votes, loses what it need not have saved, and is
// asked by another in the same term.
func TestVoteIsNotForgotten(t *testing.T) {
	founded, err := Found("name", []uint64{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	m := &simMember{disk: founded}
	votes := func(candidate uint64) bool {
		m.volatile = nil
		c, err := New(Rules{ID: 3}, m.disk)
		if err != nil {
			t.Fatal(err)
		}
		ask := &pb.Message{
			Type: pb.MsgVote.Enum(), From: new(candidate), To: new(uint64(3)), Term: new(uint64(9)), Index: new(uint64(1)), LogTerm: new(uint64(1)),
		}
		if err := c.Receive(candidate, ask); err != nil {
			t.Fatal(err)
		}
		voted := false
		for out, ok := c.Next(); ok; out, ok = c.Next() {
			m.save(out.Save)
			for _, answer := range out.Messages {
				voted = voted || answer.GetType() == pb.MsgVoteResp && !answer.GetReject()
			}
		}
		return voted
	}
	if !votes(1) {
		t.Fatal("it does not vote: this shows nothing")
	}
	if votes(2) {
		t.Error("it votes for two in one term")
	}
	if !votes(1) {
		t.Error("it does not vote again for whom it voted for")
	}
}

// TestWhoWasAwayDisturbsNobody: it has tried to lead all the time, and when it is back
// the one who leads goes on.
func TestWhoWasAwayDisturbsNobody(t *testing.T) {
	w := quietWorld(t, plan{voters: []uint64{1, 2, 3}})
	before := w.members[1].led
	away := w.members[1+before.Leader%3]
	w.cutOff(away)
	w.runFor(20 * simElection)
	if away.led.Leader != 0 {
		t.Fatalf("cut off, %d follows %v", away.id, away.led)
	}
	clear(w.cut)
	w.runFor(4 * simElection)
	for _, id := range w.ids {
		if got := w.members[id].led; got != before {
			t.Errorf("%d follows %v, and before it was %v", id, got, before)
		}
	}
}
