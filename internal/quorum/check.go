package quorum

import (
	"errors"
	"fmt"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// check refuses messages that no member sends. Raft trusts what it is given: some would
// have it panic.
func (c *Core) check(from uint64, m *pb.Message) error {
	refuse := func(what string) error {
		return fmt.Errorf("%w: %v from %d: %s", ErrMessage, m.GetType(), from, what)
	}
	if m.GetFrom() != from || m.GetTo() != c.rules.ID || from == c.rules.ID {
		return refuse(fmt.Sprintf("it is from %d to %d", m.GetFrom(), m.GetTo()))
	}
	if len(m.GetResponses()) > 0 || m.GetVote() != 0 {
		return refuse("it is for storage")
	}
	if err := checkShape(m); err != nil {
		return refuse(err.Error())
	}
	if err := c.checkLoad(m); err != nil {
		return refuse(err.Error())
	}
	return nil
}

// checkShape refuses what a message of this kind does not carry.
func checkShape(m *pb.Message) error {
	var entries, snapshot, context, timeless bool
	switch m.GetType() {
	case pb.MsgProp, pb.MsgReadIndex:
		entries, timeless = true, true
	case pb.MsgApp, pb.MsgReadIndexResp:
		entries = true
	case pb.MsgSnap:
		snapshot = true
	case pb.MsgHeartbeat, pb.MsgHeartbeatResp, pb.MsgVote, pb.MsgPreVote:
		context = true
	case pb.MsgAppResp, pb.MsgVoteResp, pb.MsgPreVoteResp, pb.MsgTimeoutNow, pb.MsgTransferLeader:
	default:
		return errors.New("it stays within a member")
	}
	switch {
	case timeless != (m.GetTerm() == 0):
		return fmt.Errorf("it is of term %d", m.GetTerm())
	case !entries && len(m.GetEntries()) > 0, !snapshot && m.GetSnapshot().GetMetadata().GetIndex() != 0, !context && len(m.GetContext()) > 0:
		return errors.New("it carries too much")
	}
	return nil
}

// positionBytes is how raft numbers the reads that a heartbeat confirms.
const positionBytes = 8

func (c *Core) checkLoad(m *pb.Message) error {
	switch m.GetType() {
	case pb.MsgHeartbeat, pb.MsgHeartbeatResp:
		if n := len(m.GetContext()); n != 0 && n != positionBytes {
			return fmt.Errorf("context of %d bytes", n)
		}
	case pb.MsgReadIndex, pb.MsgReadIndexResp:
		if len(m.GetEntries()) != 1 || len(m.GetEntries()[0].GetData()) != attemptBytes {
			return fmt.Errorf("%d questions", len(m.GetEntries()))
		}
	case pb.MsgProp:
		if len(m.GetEntries()) != 1 {
			return fmt.Errorf("%d proposals", len(m.GetEntries()))
		}
		return checkEntry(m.GetEntries()[0], false)
	case pb.MsgApp:
		for i, e := range m.GetEntries() {
			if e.GetIndex() != m.GetIndex()+1+uint64(i) || e.GetTerm() == 0 || e.GetTerm() > m.GetTerm() { //nolint:gosec // a length
				return fmt.Errorf("entry %d of term %d behind %d", e.GetIndex(), e.GetTerm(), m.GetIndex())
			}
			if err := checkEntry(e, true); err != nil {
				return err
			}
		}
	case pb.MsgSnap:
		return c.checkSnapshot(m)
	default:
	}
	return nil
}

// checkEntry refuses what can't be applied, or not be proposed. Empty ones are raft's
// own.
func checkEntry(e *pb.Entry, logged bool) error {
	switch e.GetType() {
	case pb.EntryNormal:
		if logged && len(e.GetData()) == 0 {
			return nil
		}
		_, _, err := decodeCommand(e.GetData())
		return err
	case pb.EntryConfChangeV2:
		var cc pb.ConfChangeV2
		if err := proto.Unmarshal(e.GetData(), &cc); err != nil {
			return err
		}
		if logged && len(cc.GetChanges()) == 0 {
			return nil
		}
		if n := len(cc.GetChanges()); n == 0 || n > MaxMembers || cc.GetTransition() != pb.ConfChangeTransitionAuto {
			return fmt.Errorf("%d changes", n)
		}
		_, _, err := decodeCommand(cc.GetContext())
		return err
	default:
		return fmt.Errorf("entry of kind %d", e.GetType())
	}
}

func (c *Core) checkSnapshot(m *pb.Message) error {
	meta := m.GetSnapshot().GetMetadata()
	if meta.GetIndex() == 0 || meta.GetTerm() == 0 || meta.GetTerm() > m.GetTerm() || len(meta.GetConfState().GetVoters()) == 0 {
		return fmt.Errorf("snapshot at %d of term %d", meta.GetIndex(), meta.GetTerm())
	}
	im, err := decodeImage(m.GetSnapshot().GetData())
	if err == nil && c.identity != 0 && im.identity != c.identity {
		err = fmt.Errorf("snapshot of log %x, and this is %x", im.identity, c.identity)
	}
	return err
}
