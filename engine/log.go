package engine

import (
	"context"
	"fmt"

	"github.com/roam-sessions/roam/crdt"
)

// A Position is a place in one partition's log: the entry numbered N, written
// by Actor. Entries are numbered densely from 1, so that a reader sees what it
// missed. The zero Position is before them all.
type Position struct {
	Actor crdt.Actor
	N     uint64
}

// Positions is a Position for each partition.
type Positions [crdt.Partitions]Position

// A Batch is a run of log entries of one partition and one actor.
type Batch struct {
	Partition uint16
	Actor     crdt.Actor
	// Fork is the last number that was used before Actor began. What a reader
	// has beyond it comes from a predecessor that lost those entries.
	Fork  uint64
	First uint64 // number of Frags[0]
	// Frags are the entries. One whose Effect has the zero Key is a number that
	// holds nothing: a reader puts it where a record with a gap is nowhere any
	// more, dropped at its origin too, so that no state could mend the gap.
	Frags []crdt.Fragment
	// Rebase: the reader has been given the state of the whole partition up to
	// First-1 and goes on from there, whatever it missed. One that is further
	// with the same actor stays there.
	Rebase bool
}

// Last returns the position of the batch's last entry.
func (b Batch) Last() Position {
	return Position{b.Actor, b.First + uint64(len(b.Frags)) - 1}
}

// Check refuses, with crdt.ErrMalformed, a batch that no log of Region from can have
// emitted. A Sink asks it first.
func (b Batch) Check(from crdt.Region) error {
	switch {
	case !from.Valid() || b.Actor.Region() != from:
		return fmt.Errorf("%w: batch of actor %v from region %d", crdt.ErrMalformed, b.Actor, from)
	case b.Partition >= crdt.Partitions:
		return fmt.Errorf("%w: batch of partition %d", crdt.ErrMalformed, b.Partition)
	case b.First == 0 || b.First <= b.Fork:
		return fmt.Errorf("%w: batch begins at %d, fork at %d", crdt.ErrMalformed, b.First, b.Fork)
	}
	for i, f := range b.Frags {
		k := f.Effect.Key
		if k.IsZero() {
			continue
		}
		known := k.Kind() == crdt.KindSession || k.Kind() == crdt.KindUser
		if f.Dot.Actor != b.Actor || !known || k.Partition() != b.Partition {
			return fmt.Errorf("%w: fragment %d of a batch of %v, partition %d, is %v of partition %d",
				crdt.ErrMalformed, i, b.Actor, b.Partition, f.Dot, k.Partition())
		}
	}
	return nil
}

// A Log is what an engine writes in the same step as it applies: its outbox.
type Log interface {
	// Follow emits what comes after from, in order within each partition, and
	// waits for more until ctx ends or emit fails, whose error it returns. It
	// reads no further while emit runs. Where entries after from are no longer
	// kept, the next batch begins further on; its number tells.
	Follow(ctx context.Context, from Positions, emit func(Batch) error) error

	// Release says that every peer holds the log up to upto. What is released
	// may be trimmed, some time later.
	Release(ctx context.Context, upto Positions) error

	// Head returns the positions of the newest entries; zero in a partition that
	// nothing was ever logged in, so that an engine that lost all can be told.
	Head(ctx context.Context) (Positions, error)
}

// An Ingested is what became of a batch.
type Ingested struct {
	// Position is how far the sink has come in the partition, with everything
	// before it merged. It does not pass a batch that has Gaps.
	Position Position
	// Gaps are the records that lack an earlier write of the batch's actor.
	// Their full states must be had and joined, then the batch given again.
	Gaps []crdt.Key
	// Hole: the batch begins beyond the entry after Position; what is between
	// must be sent again, or the partition's state.
	Hole bool
}

// A Sink takes in the log of another Region. Merging and moving the cursor are
// one step, so that a crash between them can't lose a write.
type Sink interface {
	// Ingest merges b, which Region from wrote. Entries it already has are
	// passed over; endings are merged even in a batch with a hole.
	Ingest(ctx context.Context, from crdt.Region, b Batch) (Ingested, error)

	// Positions returns how far the log of a Region has been taken in.
	Positions(ctx context.Context, from crdt.Region) (Positions, error)
}
