package quorum

import (
	"fmt"
	"math"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

// An image is what a snapshot carries.
type image struct {
	identity uint64 // of the log
	ledger   ledger
	state    []byte // of the state machine
}

// A disk is what is on the disk, in memory, as raft reads it.
type disk struct {
	*raft.MemoryStorage
	outdated bool // the members have changed since the last snapshot
}

// Snapshot returns the last one for a member to begin with. Raft has one refused which
// does not know whom it is for; so there is none until the next is made.
func (d *disk) Snapshot() (*pb.Snapshot, error) {
	if d.outdated {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	return d.MemoryStorage.Snapshot()
}

// logSize is how much there is of the log.
type logSize struct {
	bytes    int // of the entries held; too many rather than too few
	entries  int // applied since the last snapshot
	newBytes int // of them
}

// entryBytes is what an entry takes, about.
func entryBytes(e *pb.Entry) int { return len(e.GetData()) + 64 }

func (l *logSize) grow(entries []*pb.Entry) {
	for _, e := range entries {
		l.bytes += entryBytes(e)
	}
}

func (l *logSize) applied(e *pb.Entry) {
	l.entries++
	l.newBytes += entryBytes(e)
}

func (l *logSize) wants(every int) bool {
	return l.entries >= every || l.newBytes >= snapshotAfterBytes
}

// Fold takes the state machine's Snapshot in place of what was applied. It is called
// when Output asks for it, with all of Output.Commands applied. It fails with
// ErrTooLarge; then the log goes on, Output asks again when as much has come again, and
// members that were added since the last snapshot may not get in.
func (c *Core) Fold(state []byte) error {
	c.log.entries, c.log.newBytes, c.disk.outdated = 0, 0, false
	if len(state) > MaxSnapshotBytes {
		return fmt.Errorf("%w: snapshot of %d bytes, at most %d", ErrTooLarge, len(state), MaxSnapshotBytes)
	}
	data := encodeImage(image{c.identity, c.ledger, state})
	snap, err := c.disk.CreateSnapshot(c.applied, c.conf, data)
	if err != nil {
		return nil //nolint:nilerr // nothing was applied since the last
	}
	first, _ := c.disk.FirstIndex() // it never fails
	if keep := c.keepFrom(first); keep > first {
		_ = c.disk.Compact(keep - 1) // it fails for what is compacted, and this is not
		first = keep
	}
	last, _ := c.disk.LastIndex() // it never fails
	c.log.bytes = 0
	if last >= first {
		kept, _ := c.disk.Entries(first, last+1, math.MaxUint64) // they are there
		c.log.grow(kept)
	}
	c.save = Save{Snapshot: snap, First: first, Sync: true}
	return nil
}

// keepFrom returns where the log shall begin: behind what is half as old as snapshots
// are far apart, or more than keptBytes ago.
func (c *Core) keepFrom(first uint64) uint64 {
	if first > c.applied {
		return first
	}
	entries, err := c.disk.Entries(first, c.applied+1, math.MaxUint64)
	if err != nil {
		return first
	}
	keep, bytes := len(entries), 0
	for keep > 0 && len(entries)-keep < c.rules.SnapshotEvery/2 {
		if bytes += entryBytes(entries[keep-1]); bytes > keptBytes {
			break
		}
		keep--
	}
	return first + uint64(keep) //nolint:gosec // a length
}

// adopt begins again at a snapshot.
func (c *Core) adopt(s *pb.Snapshot) error {
	im, err := decodeImage(s.GetData())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	_ = c.disk.ApplySnapshot(s) // it fails for one that is older than what there is: raft asks for none
	c.identity, c.ledger = im.identity, im.ledger
	c.conf, c.applied = s.GetMetadata().GetConfState(), s.GetMetadata().GetIndex()
	c.log, c.disk.outdated = logSize{}, false
	c.restore = &State{Index: c.applied, Data: im.state}
	return nil
}

// Identity returns what the log is called, by its name and founders. Members of
// different logs must never talk. It is zero as long as this member knows nothing.
func (c *Core) Identity() uint64 { return c.identity }
