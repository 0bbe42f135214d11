package quorum

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	pb "go.etcd.io/raft/v3/raftpb"
)

// ErrCorrupt says that what is on the disk can't have been written so. Nothing of it
// was changed.
var ErrCorrupt = errors.New("corrupt")

// Stored is what a member has on its disk.
type Stored struct {
	// Life counts how often the member was started, this time included. What it calls
	// its commands and reads is never used in another life.
	Life     uint64
	State    *pb.HardState
	Snapshot *pb.Snapshot // nil: a member that was never told anything
	Entries  []*pb.Entry
}

// Save is what is to be written, in one step.
type Save struct {
	// Reset has all entries removed first, as the snapshot takes their place.
	Reset bool
	// First, if it is not zero, has the entries before it removed.
	First    uint64
	State    *pb.HardState // nil: as it was
	Snapshot *pb.Snapshot  // nil: as it was
	// Entries are appended. Those that there are from the first of them on are removed.
	Entries []*pb.Entry
	// Sync: it must be on the disk before anything else is done. Otherwise it need not
	// be written at all, but State with the next that must.
	Sync bool
}

// foundingIndex and foundingTerm are where a log begins: at an empty snapshot that
// says who its first members are.
const (
	foundingIndex = 1
	foundingTerm  = 1
)

// Found returns what a founding member of the log name has on its disk. All founders
// must name the same voters; who comes later has nothing on its disk, and is added by
// Change. It fails with ErrChange if these voters are none or too many.
func Found(name string, voters []uint64) (Stored, error) {
	voters = slices.Clone(voters)
	slices.Sort(voters)
	if len(voters) == 0 || len(voters) > MaxMembers || voters[0] == 0 || len(slices.Compact(slices.Clone(voters))) != len(voters) {
		return Stored{}, fmt.Errorf("%w: %d can't found a log", ErrChange, voters)
	}
	hash := sha256.New()
	hash.Write([]byte(name)) // hashes never fail
	for _, v := range voters {
		hash.Write(binary.BigEndian.AppendUint64(nil, v))
	}
	image := image{identity: binary.BigEndian.Uint64(hash.Sum(nil)), ledger: ledger{}}
	return Stored{
		State: &pb.HardState{Term: new(uint64(foundingTerm)), Commit: new(uint64(foundingIndex))},
		Snapshot: &pb.Snapshot{Data: encodeImage(image), Metadata: &pb.SnapshotMetadata{
			Index: new(uint64(foundingIndex)), Term: new(uint64(foundingTerm)), ConfState: &pb.ConfState{Voters: voters},
		}},
	}, nil
}

// check reports whether the parts make a whole, as ErrCorrupt.
func (s Stored) check() error {
	var at, term uint64
	if s.Snapshot != nil {
		at, term = s.Snapshot.GetMetadata().GetIndex(), s.Snapshot.GetMetadata().GetTerm()
		if at == 0 || term == 0 || len(s.Snapshot.GetMetadata().GetConfState().GetVoters()) == 0 {
			return fmt.Errorf("%w: snapshot of nothing", ErrCorrupt)
		}
		if _, err := decodeImage(s.Snapshot.GetData()); err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	last, lastTerm, err := s.checkEntries(at, term)
	if err != nil {
		return err
	}
	if s.State.GetTerm() < lastTerm || s.State.GetCommit() > last || s.State.GetCommit() < at {
		return fmt.Errorf("%w: term %d and commit %d, with a log to %d of term %d", ErrCorrupt,
			s.State.GetTerm(), s.State.GetCommit(), last, lastTerm)
	}
	return nil
}

// checkEntries checks the log behind a snapshot at an index and of a term, and returns
// where it ends.
func (s Stored) checkEntries(at, term uint64) (last, lastTerm uint64, err error) {
	last, lastTerm = at, term
	for i, e := range s.Entries {
		switch {
		case i == 0 && e.GetIndex() > at+1:
			return 0, 0, fmt.Errorf("%w: the log begins at %d, and the snapshot ends at %d", ErrCorrupt, e.GetIndex(), at)
		case i > 0 && e.GetIndex() != s.Entries[i-1].GetIndex()+1:
			return 0, 0, fmt.Errorf("%w: entry %d is missing", ErrCorrupt, s.Entries[i-1].GetIndex()+1)
		case i > 0 && e.GetTerm() < s.Entries[i-1].GetTerm(), e.GetTerm() == 0, e.GetIndex() == at+1 && e.GetTerm() < term:
			return 0, 0, fmt.Errorf("%w: entry %d is of term %d", ErrCorrupt, e.GetIndex(), e.GetTerm())
		}
		if e.GetIndex() > at {
			last, lastTerm = e.GetIndex(), e.GetTerm()
		}
	}
	if n := len(s.Entries); n > 0 && s.Entries[n-1].GetIndex() < at {
		return 0, 0, fmt.Errorf("%w: the log ends at %d, and the snapshot at %d", ErrCorrupt, s.Entries[n-1].GetIndex(), at)
	}
	return last, lastTerm, nil
}

// after returns the entries behind an index.
func (s Stored) after(index uint64) []*pb.Entry {
	i := slices.IndexFunc(s.Entries, func(e *pb.Entry) bool { return e.GetIndex() > index })
	if i < 0 {
		return nil
	}
	return s.Entries[i:]
}
