package quorum

import (
	"math/rand/v2"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
)

// A timer says when a member that hears of no leader tries to lead. Raft's own draws
// from the system's randomness, which no seed reproduces, and makes no difference
// between members; so followers' raft is never ticked, and is told to forget its
// leader and to campaign. It counts in ticks.
type timer struct {
	election int
	dice     *rand.Rand
	silent   int  // since a leader was heard, or since this member last tried
	patience int  // how long a silence is borne
	wanted   bool // of a witness: somebody asked for its vote who lacks what it holds
}

// heard begins a new silence. How long it is borne is drawn anew, so that two who
// collide don't do so again.
func (t *timer) heard() {
	t.silent = 0
	t.patience = t.election + t.dice.IntN(t.election)
}

// Tick says that a tick has passed.
func (c *Core) Tick() {
	c.proposals.tick(c.rules.ElectionTicks)
	c.reads.tick(c.rules.ElectionTicks)
	if c.leads() {
		c.node.Tick()
		c.resendSnapshots()
		if c.witness {
			c.handOver()
		}
		return
	}
	clear(c.snaps)
	c.timer.silent++
	if c.timer.silent >= c.rules.ElectionTicks {
		// From now on others get this member's vote.
		_ = c.node.ForgetLeader() // it never fails
	}
	if c.timer.silent < c.timer.patience || c.witness && !c.timer.wanted {
		return
	}
	c.timer.heard()
	c.timer.wanted = false
	_ = c.node.Campaign() // it may not be a voter, or not yet know that it is
}

// Silent returns for how many ticks the leader was not heard; none where there is none, or
// this member leads.
func (c *Core) Silent() int {
	if c.led.Leader == 0 || c.leads() {
		return 0
	}
	return c.timer.silent
}

// notice looks at a message before raft does: a witness that refuses its vote because
// it has more than who asks is the only one of the two who can lead. It lets others
// try, who may have as much, until its own patience is at its end.
func (c *Core) notice(m *pb.Message) {
	if !c.witness || m.GetType() != pb.MsgVote && m.GetType() != pb.MsgPreVote || c.led.Leader != 0 {
		return
	}
	last, _ := c.disk.LastIndex() // it never fails
	term, _ := c.disk.Term(last)  // it never fails for the last
	if m.GetLogTerm() < term || m.GetLogTerm() == term && m.GetIndex() < last {
		c.timer.wanted = true
	}
}

// settle looks at what raft made of a message. A leader was heard if it is one of
// this term; who voted waits for whom it voted for.
func (c *Core) settle(m *pb.Message) {
	b := c.node.BasicStatus()
	switch m.GetType() {
	case pb.MsgApp, pb.MsgHeartbeat, pb.MsgSnap:
		if m.GetTerm() == b.GetTerm() && b.Lead == m.GetFrom() {
			c.timer.heard()
			c.timer.wanted = false
		}
	case pb.MsgVote:
		if m.GetTerm() == b.GetTerm() && b.GetVote() == m.GetFrom() {
			c.timer.heard()
			c.timer.wanted = false
		}
	}
}

// handOver has a witness that leads give that away, to the voter which has most.
func (c *Core) handOver() {
	if c.node.BasicStatus().LeadTransferee != raft.None {
		return
	}
	var to, match uint64
	c.node.WithProgress(func(id uint64, typ raft.ProgressType, pr tracker.Progress) {
		if typ == raft.ProgressTypePeer && !c.isWitness(id) && pr.RecentActive && pr.Match > match {
			to, match = id, pr.Match
		}
	})
	if to != 0 {
		c.node.TransferLeader(to)
	}
}

// resendSnapshots has a snapshot sent again that a member should have by now. Raft
// sends it nothing else before.
func (c *Core) resendSnapshots() {
	var late []uint64
	c.node.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
		if pr.State != tracker.StateSnapshot {
			delete(c.snaps, id)
			return
		}
		c.snaps[id]++
		if c.snaps[id] >= snapshotElections*c.rules.ElectionTicks {
			late = append(late, id)
		}
	})
	for _, id := range late {
		c.snaps[id] = 0
		c.node.ReportSnapshot(id, raft.SnapshotFailure)
	}
}
