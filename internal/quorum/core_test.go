package quorum

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// quietWorld is one in which nothing happens but what a test does.
func quietWorld(t *testing.T, p plan) *world {
	t.Helper()
	w := newWorld(1, p)
	w.faulty = false
	w.runFor(4 * simElection)
	t.Cleanup(func() {
		if w.failed != "" {
			t.Error(w.failed)
		}
	})
	return w
}

// TestAnswerToAnEarlierLife: a member asks how far the log is, and is started anew. The
// answer comes late, and must not pass for one to what it asks now.
func TestAnswerToAnEarlierLife(t *testing.T) {
	w := quietWorld(t, plan{voters: []uint64{1, 2, 3}})
	leader := w.members[1].led.Leader
	m := w.members[1+leader%3]
	w.read(m)
	var answer *pb.Message
	for answer == nil && w.failed == "" {
		for _, l := range w.wire {
			got := &pb.Message{}
			if err := proto.Unmarshal(l.bytes, got); err != nil {
				t.Fatal(err)
			}
			if got.GetType() == pb.MsgReadIndexResp {
				answer = got
			}
		}
		w.step()
	}
	w.crash(m)
	w.propose(w.members[leader])
	w.runFor(simElection)
	w.start(m)
	w.runFor(simElection) // it follows again, and knows as much as anybody
	w.cut[[2]uint64{leader, m.id}] = true
	w.propose(w.members[leader])
	w.runFor(2)
	w.read(m)
	w.runFor(1)
	if err := m.core.Receive(leader, answer); err != nil {
		t.Fatal(err)
	}
	w.work(m) // the oracle holds what a read sees
	if len(m.reads) != 1 {
		t.Errorf("%d reads wait, want the one that was not answered", len(m.reads))
	}
}

// TestBoundsOfWhatIsUnderWay: what is beyond them is refused, and nothing of it kept.
func TestBoundsOfWhatIsUnderWay(t *testing.T) {
	w := quietWorld(t, plan{voters: []uint64{1, 2, 3}})
	c := w.members[1].core
	if _, err := c.Propose(make([]byte, MaxCommandBytes+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a large command: %v, want ErrTooLarge", err)
	}
	var last uint64
	for i := range maxPending {
		seq, err := c.Propose([]byte("12345678"))
		if err != nil {
			t.Fatalf("command %d: %v", i, err)
		}
		last = seq
	}
	if _, err := c.Propose(nil); !errors.Is(err, ErrFull) {
		t.Errorf("command %d: %v, want ErrFull", maxPending, err)
	}
	// However few are under way, none may be too old.
	for seq := uint64(2); seq <= last; seq++ {
		c.Abandon(seq)
	}
	for {
		seq, err := c.Propose(nil)
		if errors.Is(err, ErrFull) {
			if seq = c.proposals.last; seq != maxSpread {
				t.Errorf("%d commands overtook the first, want %d", seq, maxSpread)
			}
			break
		}
		c.Abandon(seq)
	}
	for range maxPendingReads {
		if _, err := c.Read(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Read(); !errors.Is(err, ErrFull) {
		t.Errorf("read %d: %v, want ErrFull", maxPendingReads, err)
	}
}

// TestStateTooLargeForASnapshot: the log grows on, to its bound, and all is well when
// the state is small again.
func TestStateTooLargeForASnapshot(t *testing.T) {
	founded, err := Found("one", []uint64{1})
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Rules{ID: 1, SnapshotEvery: 4}, founded)
	if err != nil {
		t.Fatal(err)
	}
	asked, full := 0, false
	size := MaxSnapshotBytes + 1
	work := func() {
		for out, ok := c.Next(); ok; out, ok = c.Next() {
			if !out.Fold {
				continue
			}
			asked++
			if err := c.Fold(make([]byte, size)); (err != nil) != (size > MaxSnapshotBytes) || err != nil && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("fold %d bytes: %v", size, err)
			}
		}
	}
	for range 4 * DefaultElectionTicks {
		c.Tick()
		work()
	}
	for i := 0; !full; i++ {
		_, err := c.Propose(make([]byte, MaxCommandBytes))
		if full = errors.Is(err, ErrFull); err != nil && !full {
			t.Fatal(err)
		}
		if work(); i > 2*maxLogBytes/MaxCommandBytes {
			t.Fatal("the log has no bound")
		}
	}
	if asked == 0 {
		t.Error("no snapshot was asked for")
	}
	size = 1
	if err := c.Fold([]byte{1}); err != nil {
		t.Fatal(err)
	}
	work()
	if _, err := c.Propose(nil); err != nil {
		t.Errorf("when the state is small again: %v", err)
	}
}

func TestChangesThatMakeNoSense(t *testing.T) {
	w := quietWorld(t, plan{voters: []uint64{1, 2, 3}, witnesses: []uint64{3}})
	c := w.members[1].core
	for name, steps := range map[string][]Change{
		"none":                {},
		"nobody":              {{AddVoter, 0}},
		"of no kind":          {{9, 4}},
		"the witness is left": {{Remove, 1}, {AddLearner, 2}},
		"nobody is left":      {{Remove, 1}, {Remove, 2}, {Remove, 3}},
	} {
		if _, err := c.Change(steps); !errors.Is(err, ErrChange) {
			t.Errorf("%s: %v, want ErrChange", name, err)
		}
	}
	many := []Change{}
	for id := range uint64(MaxMembers) {
		many = append(many, Change{AddLearner, 10 + id})
	}
	if _, err := c.Change(many); !errors.Is(err, ErrChange) {
		t.Errorf("too many: %v, want ErrChange", err)
	}
	// One that made sense, and no longer does when it is applied, is left out.
	m := w.members[3]
	for id := uint64(1); id <= 2; id++ {
		if _, err := m.core.Change([]Change{{Remove, id}}); err != nil {
			t.Fatal(err)
		}
	}
	w.work(m)
	w.runFor(20 * simElection)
	if voters, _ := m.core.Members(); len(voters) != 2 {
		t.Errorf("both who can lead were to go, and the voters are %d; want one of them left", voters)
	}
}

func TestMessagesThatNoMemberSends(t *testing.T) {
	w := quietWorld(t, plan{voters: []uint64{1, 2, 3}})
	c, term := w.members[1].core, w.members[1].led.Term
	command := encodeCommand(ticket{2, 1, 1, 1}, nil)
	good := func() *pb.Message {
		return &pb.Message{Type: pb.MsgApp.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(term)}
	}
	of := func(kind pb.MessageType, alter ...func(*pb.Message)) *pb.Message {
		m := good()
		m.Type = kind.Enum()
		for _, a := range alter {
			a(m)
		}
		return m
	}
	entry := func(e *pb.Entry) func(*pb.Message) {
		return func(m *pb.Message) { m.Entries = append(m.Entries, e) }
	}
	ofTerm := func(term uint64) func(*pb.Message) { return func(m *pb.Message) { m.Term = new(term) } }
	context := func(b []byte) func(*pb.Message) { return func(m *pb.Message) { m.Context = b } }
	for name, m := range map[string]*pb.Message{
		"from another":          of(pb.MsgApp, func(m *pb.Message) { m.From = new(uint64(3)) }),
		"to another":            of(pb.MsgApp, func(m *pb.Message) { m.To = new(uint64(3)) }),
		"empty":                 {},
		"a tick":                of(pb.MsgHup),
		"a beat":                of(pb.MsgBeat),
		"forget the leader":     of(pb.MsgForgetLeader),
		"of storage":            of(pb.MsgStorageAppend),
		"a vote in an append":   of(pb.MsgApp, func(m *pb.Message) { m.Vote = new(uint64(1)) }),
		"without term":          of(pb.MsgApp, ofTerm(0)),
		"no proposal":           of(pb.MsgProp, ofTerm(0)),
		"a proposal of bytes":   of(pb.MsgProp, ofTerm(0), entry(&pb.Entry{Data: []byte{1}})),
		"an empty proposal":     of(pb.MsgProp, ofTerm(0), entry(&pb.Entry{})),
		"an old kind of change": of(pb.MsgProp, ofTerm(0), entry(&pb.Entry{Type: pb.EntryConfChange.Enum(), Data: command})),
		"a change of bytes":     of(pb.MsgProp, ofTerm(0), entry(&pb.Entry{Type: pb.EntryConfChangeV2.Enum(), Data: []byte{0xFF}})),
		"a proposal of a term":  of(pb.MsgProp, entry(&pb.Entry{Data: command})),
		"an entry elsewhere":    of(pb.MsgApp, entry(&pb.Entry{Index: new(uint64(9)), Term: new(uint64(1)), Data: command})),
		"an entry of later":     of(pb.MsgApp, entry(&pb.Entry{Index: new(uint64(1)), Term: new(term + 1), Data: command})),
		"half a position":       of(pb.MsgHeartbeatResp, context([]byte{1, 2, 3})),
		"a short question":      of(pb.MsgReadIndex, ofTerm(0), entry(&pb.Entry{Data: []byte("question")})),
		"no answer":             of(pb.MsgReadIndexResp),
		"no snapshot":           of(pb.MsgSnap),
		"a snapshot of bytes": of(pb.MsgSnap, func(m *pb.Message) {
			m.Snapshot = &pb.Snapshot{Data: []byte{1}, Metadata: &pb.SnapshotMetadata{Index: new(uint64(99)), Term: new(uint64(1)), ConfState: &pb.ConfState{Voters: []uint64{1}}}}
		}),
		"a snapshot of another log": of(pb.MsgSnap, func(m *pb.Message) {
			m.Snapshot = &pb.Snapshot{Data: encodeImage(image{identity: 5}), Metadata: &pb.SnapshotMetadata{Index: new(uint64(99)), Term: new(uint64(1)), ConfState: &pb.ConfState{Voters: []uint64{1}}}}
		}),
	} {
		if err := c.Receive(2, m); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v, want ErrMessage", name, err)
		}
	}
	if err := c.Receive(2, good()); err != nil {
		t.Errorf("a good one: %v", err)
	}
}

// TestLedgerTakesEachOnce: in whatever order and however often commands come, each is
// taken once at most, and always if it is still under way.
func TestLedgerTakesEachOnce(t *testing.T) {
	l := ledger{}
	for i, c := range []struct {
		t    ticket
		want bool
	}{
		{ticket{1, 1, 1, 1}, true},
		{ticket{1, 1, 1, 1}, false}, // again
		{ticket{1, 1, 3, 2}, true},
		{ticket{1, 1, 2, 2}, true}, // overtaken
		{ticket{1, 1, 2, 2}, false},
		{ticket{1, 1, 6, 5}, true},
		{ticket{1, 1, 4, 2}, false}, // below a floor: given up
		{ticket{2, 1, 4, 2}, true},  // of another member
		{ticket{1, 2, 1, 1}, true},  // of another life
		{ticket{1, 1, 7, 5}, false}, // of an earlier life
		{ticket{1, 2, 2, 1}, true},
	} {
		if got := l.take(c.t); got != c.want {
			t.Errorf("%d: take %v = %t, want %t", i, c.t, got, c.want)
		}
		if !l.has(c.t) {
			t.Errorf("%d: %v was not applied, and may yet be", i, c.t)
		}
	}
	l.close([]*pb.ConfChangeSingle{{Type: pb.ConfChangeRemoveNode.Enum(), NodeId: new(uint64(1))}})
	if l.take(ticket{1, 2, 2, 1}) || len(l[1].seen) > 0 {
		t.Errorf("of a member that was removed, %v is known", l[1].seen)
	}
	for id := uint64(10); len(l) < maxAccounts; id++ {
		l.take(ticket{id, 1, 1, 1})
	}
	if l.take(ticket{5, 1, 1, 1}) {
		t.Errorf("%d members have accounts", len(l))
	}
}

func TestStoredThatIsNoWhole(t *testing.T) {
	founded, err := Found("name", []uint64{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	entries := func(is ...uint64) (out []*pb.Entry) {
		for _, i := range is {
			out = append(out, &pb.Entry{Index: new(i), Term: new(uint64(1))})
		}
		return out
	}
	for name, alter := range map[string]func(*Stored){
		"a hole":                     func(s *Stored) { s.Entries = entries(2, 4) },
		"a hole before":              func(s *Stored) { s.Entries = entries(3) },
		"a commit of nothing":        func(s *Stored) { s.State = &pb.HardState{Term: new(uint64(1)), Commit: new(uint64(2))} },
		"a commit that is forgotten": func(s *Stored) { s.State = &pb.HardState{Term: new(uint64(1))} },
		"a term that is forgotten":   func(s *Stored) { s.State = &pb.HardState{} },
		"no members":                 func(s *Stored) { s.Snapshot.Metadata.ConfState = nil },
		"no image":                   func(s *Stored) { s.Snapshot.Data = nil },
		"terms that go back": func(s *Stored) {
			s.Entries = entries(2, 3)
			s.Entries[0].Term = new(uint64(2))
			s.State.Term = new(uint64(2))
		},
	} {
		s := Stored{State: proto.CloneOf(founded.State), Snapshot: proto.CloneOf(founded.Snapshot)}
		alter(&s)
		if _, err := New(Rules{ID: 1}, s); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
	}
	for _, voters := range [][]uint64{{}, {0, 1}, {2, 2}, make([]uint64, MaxMembers+1)} {
		if _, err := Found("name", voters); !errors.Is(err, ErrChange) {
			t.Errorf("found with %d: %v, want ErrChange", voters, err)
		}
	}
}

// TestLogsAreToldApart by their names and founders, in whatever order.
func TestLogsAreToldApart(t *testing.T) {
	seen := map[string]string{}
	for _, c := range []struct {
		name   string
		voters []uint64
	}{{"a", []uint64{1, 2, 3}}, {"b", []uint64{1, 2, 3}}, {"a", []uint64{1, 2}}, {"a", []uint64{1, 2, 4}}} {
		s, err := Found(c.name, c.voters)
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(c.voters)
		again, err := Found(c.name, c.voters)
		if err != nil || !bytes.Equal(s.Snapshot.GetData(), again.Snapshot.GetData()) {
			t.Errorf("founders in another order make another log, %v", err)
		}
		if other := seen[string(s.Snapshot.GetData())]; other != "" {
			t.Errorf("%v and %s are the same log", c, other)
		}
		seen[string(s.Snapshot.GetData())] = fmt.Sprint(c)
	}
}

// TestWhoIsRemovedHasNoSay: it does not know yet, and its commands reach the leader.
func TestWhoIsRemovedHasNoSay(t *testing.T) {
	w := quietWorld(t, plan{voters: []uint64{1, 2, 3}})
	leader := w.members[w.members[1].led.Leader]
	gone := w.members[1+leader.id%3]
	w.cut[[2]uint64{leader.id, gone.id}] = true // it is not told
	w.change(leader, Change{Remove, gone.id})
	w.runFor(4)
	w.propose(gone)
	w.runFor(4)
	if len(leader.changes) > 0 || len(w.order) > 0 {
		t.Errorf("%d changes wait, and %d was applied", len(leader.changes), w.order)
	}
}

// TestJoinerGetsIn, though the last snapshot was made before it was a member and
// nothing happens that would make another.
func TestJoinerGetsIn(t *testing.T) {
	w := quietWorld(t, plan{voters: []uint64{1, 2, 3}, joiner: 4})
	w.propose(w.members[1])
	w.runFor(simElection)
	w.change(w.members[1], Change{AddVoter, 4})
	w.read(w.members[4])
	w.runFor(4 * simElection)
	if m := w.members[4]; len(m.reads) > 0 || len(m.list) != 1 {
		t.Errorf("the new member has %d commands, and waits for %d reads", len(m.list), len(m.reads))
	}
}

// TestCommandsGoToWhoLeadsNow: what was proposed while nobody led is proposed as soon
// as somebody does.
func TestCommandsGoToWhoLeadsNow(t *testing.T) {
	w := quietWorld(t, plan{voters: []uint64{1, 2, 3}})
	old := w.members[1].led.Leader
	m := w.members[1+old%3]
	w.cutOff(w.members[old])
	for tick := 0; m.led.Leader == 0 || m.led.Leader == old; tick++ {
		w.propose(m)
		if w.runFor(1); tick > 10*simElection {
			t.Fatal("nobody leads")
		}
	}
	w.runFor(3)
	if len(m.writes) > 0 {
		t.Errorf("three ticks after %d took over, %d commands wait", m.led.Leader, len(m.writes))
	}
}
