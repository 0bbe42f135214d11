package dynamo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/roam-sessions/roam/engine"
)

const (
	// sweepSegments is in how many parts a sweep reads the table: so many that even of a large
	// one several are read before a sweep is cut off, and so few that asking for each costs
	// next to nothing where all are empty.
	sweepSegments = 256
	// sweepers is how many of them it reads at a time. Deletions are one request each: one
	// sweeper that waits some 20 ms for an answer deletes 50 a second, and a busy deployment
	// has more sessions end. Eight write less than users do.
	sweepers = 8
)

// A segment is one of the parts of a table that a sweep reads.
type segment struct {
	n      int32 // from 0, below sweepSegments
	before int64 // Unix seconds: what expires before is past its time
}

// Sweep deletes what is past its time and returns how many items that was, for certain. It is for
// tables that have no time to live, as Global Tables of strong consistency have none: call
// it from one place, a few times a day. It reads the whole table, which costs half a read
// unit for 4 KiB. What is written anew meanwhile stays.
//
// It reads the table by segments, each time in another order that it draws. So it may be cut
// off by its context, however early: what it has deleted stays deleted, and sweeps that
// never get through get everywhere in time. What can't be read is left alone, with what comes
// behind it in its segment, and told at the end, as an error that is engine.ErrCorrupt. Any
// other failure ends the sweep.
func (e *Engine) Sweep(ctx context.Context) (deleted int, err error) {
	ctx, done, err := e.enter(ctx)
	if err != nil {
		return 0, fmt.Errorf("sweep: %w", err)
	}
	defer done()
	s := &sweep{e: e, todo: make(chan segment, sweepSegments)}
	before := e.now().Std().Unix()
	for _, n := range rand.Perm(sweepSegments) { //nolint:gosec // who guesses the order has nothing from it
		s.todo <- segment{n: int32(n), before: before} //nolint:gosec // small
	}
	close(s.todo)
	if err := s.run(ctx); err != nil {
		return int(s.deleted.Load()), fmt.Errorf("sweep: %w", err)
	}
	return int(s.deleted.Load()), nil
}

// A sweep is one Sweep under way.
type sweep struct {
	e       *Engine
	todo    chan segment
	deleted atomic.Int64

	mu      sync.Mutex // guards what follows
	failed  error      // why it ends early
	corrupt error      // what was left alone
}

// run sweeps all segments, or until one fails.
func (s *sweep) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var work sync.WaitGroup
	for range sweepers {
		work.Go(func() {
			for of := range s.todo {
				if err := s.segment(ctx, of); err != nil && s.ends(err) {
					stop()
					return
				}
			}
		})
	}
	work.Wait()
	return cmp.Or(s.failed, s.corrupt)
}

// ends notes an error, and reports whether it ends the sweep.
func (s *sweep) ends(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, engine.ErrCorrupt) {
		s.corrupt = cmp.Or(s.corrupt, err)
		return false
	}
	s.failed = cmp.Or(s.failed, err)
	return true
}

// segment deletes what is past its time in one segment.
func (s *sweep) segment(ctx context.Context, of segment) error {
	read := func(ctx context.Context, from position) ([]item, position, error) {
		return s.e.table.past(ctx, of, from)
	}
	return pages(ctx, read, func(items []item) error {
		for _, it := range items {
			switch err := s.e.removeOne(ctx, it); {
			case err == nil:
				s.deleted.Add(1)
			case !errors.Is(err, errConflict):
				return err
			}
		}
		return nil
	})
}

// removeOne deletes it unless it has changed.
func (e *Engine) removeOne(ctx context.Context, it item) error {
	for t := newTries(); ; {
		err := e.table.remove(ctx, it)
		if err == nil || errors.Is(err, errConflict) || !isWorthATry(err) || !t.again(ctx) {
			return ended(ctx, err)
		}
	}
}
