package quorum

import (
	"fmt"
	"slices"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// proposals are the commands and changes of this member that are under way. Raft may
// lose any without a word, so each is proposed again when another leads, and after
// an election timeout; the ledger sorts out the copies.
type proposals struct {
	member, life uint64
	last         uint64 // number given
	pending      []*proposal
}

type proposal struct {
	seq    uint64
	kind   pb.EntryType
	data   []byte
	sent   bool
	waited int // ticks since it was sent
}

func newProposals(member, life uint64) proposals { return proposals{member: member, life: life} }

// Propose has a command applied by all members, once, if a majority can be had. It
// returns its number, from 1 on, by which Output speaks of it; until then it is
// proposed again and again. It fails with ErrTooLarge, or with ErrFull. The bytes are
// kept.
func (c *Core) Propose(command []byte) (uint64, error) {
	if len(command) > MaxCommandBytes {
		return 0, fmt.Errorf("%w: command of %d bytes, at most %d", ErrTooLarge, len(command), MaxCommandBytes)
	}
	if c.log.bytes > maxLogBytes {
		return 0, fmt.Errorf("%w: the log has %d bytes, and its state is too large for a snapshot", ErrFull, c.log.bytes)
	}
	t, err := c.proposals.number()
	if err != nil {
		return 0, err
	}
	return c.proposals.add(t.seq, pb.EntryNormal, encodeCommand(t, command)), nil
}

// Abandon forgets a command or change: it is not proposed again. It may take place
// all the same.
func (c *Core) Abandon(seq uint64) { c.proposals.remove(seq) }

// number returns the next number, and the least that is under way.
func (p *proposals) number() (ticket, error) {
	t := ticket{member: p.member, life: p.life, seq: p.last + 1, floor: p.last + 1}
	if len(p.pending) > 0 {
		t.floor = p.pending[0].seq
	}
	if len(p.pending) >= maxPending || t.seq-t.floor >= maxSpread {
		return t, fmt.Errorf("%w: %d commands", ErrFull, len(p.pending))
	}
	return t, nil
}

func (p *proposals) add(seq uint64, kind pb.EntryType, data []byte) uint64 {
	p.last = seq
	p.pending = append(p.pending, &proposal{seq: seq, kind: kind, data: data})
	return seq
}

func (p *proposals) remove(seq uint64) bool {
	at, found := slices.BinarySearchFunc(p.pending, seq, func(q *proposal, seq uint64) int { return compare(q.seq, seq) })
	if found {
		p.pending = slices.Delete(p.pending, at, at+1)
	}
	return found
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// done notes that a command was applied. It returns its number if somebody here waits
// for it.
func (p *proposals) done(t ticket) uint64 {
	if t.member != p.member || t.life != p.life || !p.remove(t.seq) {
		return 0
	}
	return t.seq
}

// overtaken returns what a snapshot says was applied.
func (p *proposals) overtaken(l ledger) (unknown []uint64) {
	for _, q := range slices.Clone(p.pending) {
		if l.has(ticket{member: p.member, life: p.life, seq: q.seq}) {
			p.remove(q.seq)
			unknown = append(unknown, q.seq)
		}
	}
	return unknown
}

func (p *proposals) tick(patience int) {
	for _, q := range p.pending {
		q.waited++
		if q.waited >= patience {
			q.sent = false
		}
	}
}

// again has all proposed again.
func (p *proposals) again() {
	for _, q := range p.pending {
		q.sent = false
	}
}

// flush hands raft what it was not yet handed. What it does not take now is tried
// again with what gets lost.
func (c *Core) flush() {
	for _, q := range c.proposals.pending {
		if q.sent {
			continue
		}
		q.sent, q.waited = true, 0
		_ = c.node.Step(&pb.Message{
			Type: pb.MsgProp.Enum(), From: new(c.rules.ID),
			Entries: []*pb.Entry{{Type: q.kind.Enum(), Data: q.data}},
		})
	}
	if attempt, ok := c.reads.ask(); ok {
		c.node.ReadIndex(attempt)
	}
}

// A Change is one step of a change of members.
type Change struct {
	Kind ChangeKind
	ID   uint64
}

// ChangeKind says what becomes of a member.
type ChangeKind uint8

const (
	// AddVoter adds a member that votes, or lets a learner vote.
	AddVoter ChangeKind = 1 + iota
	// AddLearner adds one that is told all and does not vote.
	AddLearner
	// Remove removes one. Its number is not to be used again.
	Remove
)

// Change changes who the members are, all steps at once: while they take place both
// majorities must agree. It returns a number as Propose does. It fails with ErrFull,
// and with ErrChange if it would leave no voter but witnesses or too many members.
// One that comes to nothing, as another got in between, is tried again until Abandon.
func (c *Core) Change(steps []Change) (uint64, error) {
	cc := &pb.ConfChangeV2{}
	for _, s := range steps {
		kind := map[ChangeKind]pb.ConfChangeType{
			AddVoter: pb.ConfChangeAddNode, AddLearner: pb.ConfChangeAddLearnerNode, Remove: pb.ConfChangeRemoveNode,
		}
		if _, ok := kind[s.Kind]; !ok || s.ID == 0 {
			return 0, fmt.Errorf("%w: kind %d for member %d", ErrChange, s.Kind, s.ID)
		}
		cc.Changes = append(cc.Changes, &pb.ConfChangeSingle{Type: kind[s.Kind].Enum(), NodeId: new(s.ID)})
	}
	if len(steps) == 0 || len(steps) > MaxMembers || !c.bearable(cc) {
		return 0, fmt.Errorf("%w: %v", ErrChange, steps)
	}
	t, err := c.proposals.number()
	if err != nil {
		return 0, err
	}
	cc.Context = encodeCommand(t, nil)
	data, err := proto.Marshal(cc)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrChange, err)
	}
	return c.proposals.add(t.seq, pb.EntryConfChangeV2, data), nil
}

// bearable reports whether somebody who can lead is left after a change, and the
// members are not too many. Raft itself can't go on without voters.
func (c *Core) bearable(cc *pb.ConfChangeV2) bool {
	voters, others := map[uint64]bool{}, map[uint64]bool{}
	for _, id := range c.conf.GetVoters() {
		voters[id] = true
	}
	for _, id := range slices.Concat(c.conf.GetLearners(), c.conf.GetLearnersNext()) {
		others[id] = true
	}
	for _, s := range cc.GetChanges() {
		delete(voters, s.GetNodeId())
		delete(others, s.GetNodeId())
		switch s.GetType() {
		case pb.ConfChangeAddNode:
			voters[s.GetNodeId()] = true
		case pb.ConfChangeAddLearnerNode:
			others[s.GetNodeId()] = true
		case pb.ConfChangeRemoveNode, pb.ConfChangeUpdateNode:
		}
	}
	for id := range voters {
		if !c.isWitness(id) {
			return len(voters)+len(others) <= MaxMembers
		}
	}
	return false
}

// applyChange applies an entry that changes who the members are. One that comes twice,
// or would leave nobody, is left out, at all members alike. One without a ticket is
// raft's own, which ends a change of several steps.
func (c *Core) applyChange(e *pb.Entry, out *Output) {
	var cc pb.ConfChangeV2
	if e.GetType() != pb.EntryConfChangeV2 || proto.Unmarshal(e.GetData(), &cc) != nil {
		return // none that a member proposes
	}
	var own uint64
	if len(cc.GetChanges()) > 0 {
		t, _, err := decodeCommand(cc.GetContext())
		if err != nil || !c.isMember(t.member) || !c.bearable(&cc) || !c.ledger.take(t) {
			return
		}
		own = c.proposals.done(t)
	}
	c.disk.outdated = true // before raft tells new members anything
	c.conf = c.node.ApplyConfChange(&cc)
	c.ledger.close(cc.GetChanges())
	if own != 0 {
		out.Changed = append(out.Changed, own)
	}
}
