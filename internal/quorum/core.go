package quorum

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

const (
	// DefaultElectionTicks is 1.6 s at ticks of 100 ms: ten times the p99 round trip
	// between far Regions. Up to as much again is added by chance.
	DefaultElectionTicks = 16
	// DefaultHeartbeatTicks is 200 ms: eight may be lost before anybody else tries to lead.
	DefaultHeartbeatTicks = 2
	// DefaultSnapshotEvery is how many entries are applied before they are folded into
	// a snapshot. Half as many are kept behind it for members that lag.
	DefaultSnapshotEvery = 4096

	// MaxCommandBytes bounds a command. The agreed state is small, and so are its changes.
	MaxCommandBytes = 64 << 10
	// MaxSnapshotBytes bounds what StateMachine.Snapshot returns: it travels in one frame.
	MaxSnapshotBytes = 4 << 20
	// MaxMembers bounds who takes part, learners included.
	MaxMembers = 32

	// maxPending bounds the commands that a member has under way, and maxPendingReads
	// the reads. Beyond it they fail with ErrFull.
	maxPending      = 1024
	maxPendingReads = 4096
	// maxSpread bounds how many commands may overtake one that is still under way, and
	// with it what the ledger keeps of a member. Beyond it they fail with ErrFull.
	maxSpread = 4096
	// snapshotAfterBytes has large commands folded sooner than SnapshotEvery says.
	snapshotAfterBytes = 4 << 20
	// keptBytes bounds what is kept behind a snapshot.
	keptBytes = 1 << 20
	// maxLogBytes bounds the log while it can't be folded, because the state is beyond
	// MaxSnapshotBytes. Beyond it commands fail with ErrFull.
	maxLogBytes = 32 << 20
	// messageBytes is how many bytes of entries one message carries, if they are small.
	messageBytes = 256 << 10
	// inflightMessages bounds what is sent to a member without its word.
	inflightMessages = 64
	// uncommittedBytes bounds what a leader appends before a majority has it. Beyond it
	// commands wait where they came from.
	uncommittedBytes = 4 << 20
	// snapshotElections is how many election timeouts a snapshot may travel before it
	// is sent again: 8 s for 4 MiB, which is 4 Mbit/s.
	snapshotElections = 5
)

var (
	// ErrFull says that too much is under way: nothing was proposed, try again later.
	ErrFull = errors.New("too much is under way")
	// ErrTooLarge says that a command or a snapshot is beyond its bound.
	ErrTooLarge = errors.New("too large")
	// ErrNotLeader says that only the leader can do that.
	ErrNotLeader = errors.New("not the leader")
	// ErrChange says that a change of members makes no sense.
	ErrChange = errors.New("bad change of members")
	// ErrMessage is the kind of every refusal of a peer's message.
	ErrMessage = errors.New("bad message")
)

// Rules are what a Core is and does.
type Rules struct {
	// ID is this member's number, not zero. A member that has lost its disk must come
	// back with another one: it may have voted, and promised.
	ID uint64
	// Seed is where chance comes from: how long a silence this member bears.
	Seed uint64
	// Witnesses do not lead. All members must name the same.
	Witnesses []uint64
	// ElectionTicks is how long a leader may be silent; 0: DefaultElectionTicks.
	ElectionTicks int
	// HeartbeatTicks is how often a leader speaks; 0: DefaultHeartbeatTicks. It is less
	// than half of ElectionTicks.
	HeartbeatTicks int
	// SnapshotEvery is how many entries make a snapshot; 0: DefaultSnapshotEvery.
	SnapshotEvery int
}

func (r Rules) withDefaults() (Rules, error) {
	orDefault := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	orDefault(&r.ElectionTicks, DefaultElectionTicks)
	orDefault(&r.HeartbeatTicks, DefaultHeartbeatTicks)
	orDefault(&r.SnapshotEvery, DefaultSnapshotEvery)
	switch {
	case r.ID == 0 || raft.IsLocalMsgTarget(r.ID):
		return r, fmt.Errorf("quorum: a member can't have the number %d", r.ID)
	case r.HeartbeatTicks < 1 || r.ElectionTicks <= 2*r.HeartbeatTicks:
		return r, fmt.Errorf("quorum: elections after %d ticks need heartbeats in less than half of that, not %d", r.ElectionTicks, r.HeartbeatTicks)
	case r.SnapshotEvery < 2:
		return r, fmt.Errorf("quorum: a snapshot after %d entries, want at least 2", r.SnapshotEvery)
	}
	return r, nil
}

// A Core is one member of a quorum. It is used by one goroutine at a time. The same
// calls give the same outputs.
//
// Some calls of other methods later, soon enough for a tick, Next is called until it says
// that there is nothing. What it returns is carried out, in the order of Output's
// fields, before the Core is called again.
type Core struct {
	rules    Rules
	witness  bool
	node     *raft.RawNode
	disk     *disk // what is on the disk, in memory
	timer    timer
	ledger   ledger
	conf     *pb.ConfState
	applied  uint64
	identity uint64

	proposals proposals
	reads     reads
	log       logSize
	snaps     map[uint64]int // ticks since a snapshot was sent, by member
	restore   *State         // to be handed out first
	save      Save           // a snapshot of ours, to be handed out next
	led       Leadership     // as last handed out
}

// Leadership says who leads.
type Leadership struct {
	Term   uint64
	Leader uint64 // zero: nobody that this member knows of
}

// A State is all of a state machine at an index of the log.
type State struct {
	Index uint64
	Data  []byte // as its Snapshot returned it; empty: as it is in the beginning
}

// A Command is one that a majority has, and that was not applied before.
type Command struct {
	Index uint64
	Data  []byte
	// Own is what Propose returned here, if it was proposed here in this life; else zero.
	Own uint64
}

// Output is what a Core wants done.
type Output struct {
	// Save goes to the disk first.
	Save Save
	// Messages are sent then, to their To. Any may get lost, come twice or in any order.
	Messages []*pb.Message
	// Restore, if there is one, replaces the state machine's state.
	Restore *State
	// Commands are applied then, in their order.
	Commands []Command
	// Changed are the changes of members, as Change returned them, that took place.
	Changed []uint64
	// Unknown are commands of ours that were applied elsewhere, at a place in the log
	// that this member skipped: their results are not known here.
	Unknown []uint64
	// Reads, as Read returned them, may look at the state now.
	Reads []uint64
	// Led says who leads, if that has changed.
	Led *Leadership
	// Fold asks for Core.Fold with the state machine's Snapshot.
	Fold bool
}

// New returns a member as it was when all that Next returned had been saved. It
// fails if what was stored makes no whole.
func New(rules Rules, s Stored) (*Core, error) {
	rules, err := rules.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	c := &Core{
		rules: rules, witness: slices.Contains(rules.Witnesses, rules.ID),
		disk: &disk{MemoryStorage: raft.NewMemoryStorage()}, conf: &pb.ConfState{}, ledger: ledger{}, snaps: map[uint64]int{},
		timer:     timer{election: rules.ElectionTicks, dice: rand.New(rand.NewPCG(rules.Seed, rules.ID))}, //nolint:gosec // no secret
		proposals: newProposals(rules.ID, s.Life), reads: newReads(rules.ID, s.Life),
	}
	c.timer.heard()
	c.restore = &State{}
	if s.Snapshot != nil {
		if err := c.adopt(s.Snapshot); err != nil {
			return nil, err
		}
	}
	if s.State != nil {
		_ = c.disk.SetHardState(s.State) // it never fails
	}
	entries := s.after(c.applied)
	_ = c.disk.Append(entries) // it never fails
	c.log.grow(entries)
	c.node, err = raft.NewRawNode(&raft.Config{
		ID: rules.ID, ElectionTick: rules.ElectionTicks, HeartbeatTick: rules.HeartbeatTicks, Storage: c.disk,
		Applied: c.applied, MaxSizePerMsg: messageBytes, MaxUncommittedEntriesSize: uncommittedBytes,
		MaxInflightMsgs: inflightMessages, CheckQuorum: true, PreVote: true, ReadOnlyOption: raft.ReadOnlySafe,
		StepDownOnRemoval: true, Logger: quiet{},
	})
	if err != nil {
		return nil, fmt.Errorf("quorum: %w", err)
	}
	return c, nil
}

// Receive takes a message from a peer, who has proved to be from. It fails with
// ErrMessage for one that no member would send, and nothing has happened then.
func (c *Core) Receive(from uint64, m *pb.Message) error {
	if err := c.check(from, m); err != nil {
		return err
	}
	if c.foreign(m) {
		return nil
	}
	c.notice(m)
	// What is left to fail is that the peer is no member any more, or that a proposal
	// can't be taken now: it comes again.
	_ = c.node.Step(m)
	c.settle(m)
	return nil
}

// foreign reports whether a message is for somebody else: who leads, when this member
// doesn't; or, of a witness, whoever would lead. It comes again from where it came.
func (c *Core) foreign(m *pb.Message) bool {
	switch m.GetType() {
	case pb.MsgProp, pb.MsgReadIndex:
		return !c.leads()
	case pb.MsgTransferLeader:
		return !c.leads() || c.isWitness(m.GetFrom())
	case pb.MsgTimeoutNow:
		return c.witness
	}
	return false
}

func (c *Core) leads() bool { return c.node.BasicStatus().RaftState == raft.StateLeader }

func (c *Core) isWitness(id uint64) bool { return slices.Contains(c.rules.Witnesses, id) }

// Unreachable says that messages to a member got lost.
func (c *Core) Unreachable(id uint64) { c.node.ReportUnreachable(id) }

// Transfer has another member lead, if it is to be had within an election timeout.
// A member may always ask for itself; for others only the leader may, else it is
// ErrNotLeader. A witness never gets it: ErrChange.
func (c *Core) Transfer(to uint64) error {
	switch {
	case c.isWitness(to) || !slices.Contains(c.conf.GetVoters(), to):
		return fmt.Errorf("%w: %d can't lead", ErrChange, to)
	case to != c.rules.ID && !c.leads():
		return ErrNotLeader
	}
	c.node.TransferLeader(to)
	return nil
}

// Next returns what is to be done next, and false if that is nothing.
func (c *Core) Next() (Output, bool) {
	c.flush()
	var out Output
	out.Restore, c.restore = c.restore, nil
	out.Save, c.save = c.save, Save{}
	did := out.Restore != nil || out.Save.Snapshot != nil
	if !did && c.node.HasReady() {
		did = true
		c.take(c.node.Ready(), &out)
	}
	c.finishReads(&out)
	if now := c.leadership(); now != c.led {
		c.led = now
		out.Led = &now
		c.proposals.again()
		c.reads.again()
	}
	out.Fold = did && (c.disk.outdated || c.log.wants(c.rules.SnapshotEvery))
	return out, did || out.Led != nil || len(out.Reads) > 0
}

func (c *Core) leadership() Leadership {
	b := c.node.BasicStatus()
	return Leadership{Term: b.GetTerm(), Leader: b.Lead}
}

// take makes an Output of what raft says. Raft is told at once that it was done: what
// comes of that is in the next Output, which nobody asks for before this one is done.
func (c *Core) take(rd raft.Ready, out *Output) {
	out.Save = Save{Entries: rd.Entries, Sync: rd.MustSync}
	if !raft.IsEmptyHardState(rd.HardState) {
		out.Save.State = rd.HardState
		_ = c.disk.SetHardState(rd.HardState) // it never fails
	}
	if !raft.IsEmptySnap(rd.Snapshot) {
		if err := c.adopt(rd.Snapshot); err != nil {
			// Broken invariant: check let a snapshot pass that can't be read.
			panic(err)
		}
		out.Save.Snapshot, out.Save.Reset, out.Save.Sync = rd.Snapshot, true, true
		out.Restore, c.restore = c.restore, nil
		out.Unknown = c.proposals.overtaken(c.ledger)
	}
	_ = c.disk.Append(rd.Entries) // it never fails
	c.log.grow(rd.Entries)
	for _, m := range rd.Messages {
		if m.GetType() == pb.MsgSnap {
			c.snaps[m.GetTo()] = 0
		}
	}
	out.Messages = rd.Messages
	for _, s := range rd.ReadStates {
		c.reads.answer(s.RequestCtx, s.Index)
	}
	for _, e := range rd.CommittedEntries {
		c.apply(e, out)
	}
	c.node.Advance(rd)
}

// apply applies one entry: the same way at every member, whatever it is.
func (c *Core) apply(e *pb.Entry, out *Output) {
	c.applied = e.GetIndex()
	c.log.applied(e)
	if e.GetType() != pb.EntryNormal {
		c.applyChange(e, out)
		return
	}
	id, command, err := decodeCommand(e.GetData())
	if err != nil || !c.isMember(id.member) || !c.ledger.take(id) {
		return // a leader's first entry, which is empty; or one that came twice
	}
	out.Commands = append(out.Commands, Command{Index: e.GetIndex(), Data: command, Own: c.proposals.done(id)})
}

func (c *Core) isMember(id uint64) bool {
	return slices.Contains(c.conf.GetVoters(), id) || slices.Contains(c.conf.GetLearners(), id) ||
		slices.Contains(c.conf.GetVotersOutgoing(), id) || slices.Contains(c.conf.GetLearnersNext(), id)
}

// finishReads hands out the reads whose index has been applied.
func (c *Core) finishReads(out *Output) { out.Reads = c.reads.done(c.applied) }

// Members returns who votes and who only learns, as of what was applied.
func (c *Core) Members() (voters, learners []uint64) {
	return slices.Clone(c.conf.GetVoters()), slices.Clone(c.conf.GetLearners())
}
