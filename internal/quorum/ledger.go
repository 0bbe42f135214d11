package quorum

import (
	"slices"

	pb "go.etcd.io/raft/v3/raftpb"
)

// A ticket is what a command is called, in all its copies.
type ticket struct {
	member, life, seq uint64
	// floor: what this member called by lower numbers in this life is not under way
	// any more, when the command was made.
	floor uint64
}

// A ledger knows which commands were applied, so that a copy is not applied again. It
// is a part of the agreed state: all members have the same at the same index. It
// keeps up to maxSpread numbers of each member, and has up to maxAccounts members that
// there ever were: one more has nothing applied.
type ledger map[uint64]*account

// An account is what was applied of one member's commands.
type account struct {
	life, floor uint64
	seen        []uint64 // those from floor on, in order
}

// take notes that a command is applied, and reports whether it may be: it was not
// before, and can't have been.
func (l ledger) take(t ticket) bool {
	a := l[t.member]
	if a == nil && len(l) >= maxAccounts {
		return false
	}
	if a == nil || t.life > a.life {
		a = &account{life: t.life}
		l[t.member] = a
	}
	at, seen := slices.BinarySearch(a.seen, t.seq)
	if t.life < a.life || t.seq < a.floor || seen {
		return false
	}
	a.seen = slices.Insert(a.seen, at, t.seq)
	if t.floor > a.floor {
		a.floor = t.floor
		at, _ = slices.BinarySearch(a.seen, a.floor)
		a.seen = slices.Delete(a.seen, 0, at)
	}
	return true
}

// close closes the accounts of members that are removed: what they had under way is
// not applied any more, so what it was need not be known.
func (l ledger) close(changes []*pb.ConfChangeSingle) {
	for _, c := range changes {
		a := l[c.GetNodeId()]
		if c.GetType() == pb.ConfChangeRemoveNode && a != nil && len(a.seen) > 0 {
			a.floor, a.seen = a.seen[len(a.seen)-1]+1, nil
		}
	}
}

// has reports whether a command was applied, or can't be any more.
func (l ledger) has(t ticket) bool {
	a := l[t.member]
	if a == nil || t.life > a.life {
		return false
	}
	_, seen := slices.BinarySearch(a.seen, t.seq)
	return t.life < a.life || t.seq < a.floor || seen
}
