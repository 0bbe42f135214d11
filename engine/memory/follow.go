package memory

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// Bounds of a batch. A receiver merges one under one lock, so these bound how
// long it holds up its readers: some 100 µs.
const (
	batchEntries = 128
	batchBytes   = 64 << 10
)

// Follow emits the log after from, one batch of each partition in turn, and
// waits for more. No lock is held while emit runs. It returns the error of
// emit as it is, the error and cause of ctx, or engine.ErrClosed.
func (e *Engine) Follow(ctx context.Context, from engine.Positions, emit func(engine.Batch) error) error {
	if err := e.open(ctx); err != nil {
		return fmt.Errorf("follow the log: %w", err)
	}
	f := e.followers.join()
	defer e.followers.leave(f)
	due := ^uint64(0) // a bit for each partition
	for {
		due |= f.news.Swap(0)
		if due == 0 {
			if err := e.wait(ctx, f); err != nil {
				return err
			}
			continue
		}
		var err error
		if due, err = e.emitEach(ctx, due, &from, emit); err != nil {
			return err
		}
	}
}

// emitEach emits a batch of each partition that is due and moves from. It
// returns the partitions that have more.
func (e *Engine) emitEach(
	ctx context.Context, due uint64, from *engine.Positions, emit func(engine.Batch) error,
) (left uint64, err error) {
	for p := range uint16(crdt.Partitions) {
		if due&(1<<p) == 0 {
			continue
		}
		if e.isClosed() {
			return 0, fmt.Errorf("follow the log: %w", engine.ErrClosed)
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("follow the log: %w", engine.Ended(ctx))
		}
		mu := e.lock(p)
		b, more := e.core.Log(p, from[p], batchEntries, batchBytes)
		mu.Unlock()
		if len(b.Frags) > 0 {
			if err := emit(b); err != nil {
				return 0, err
			}
			from[p] = b.Last()
		}
		if more {
			left |= 1 << p
		}
	}
	return left, nil
}

func (e *Engine) wait(ctx context.Context, f *follower) error {
	select {
	case <-f.wake:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("follow the log: %w", engine.Ended(ctx))
	case <-e.closed:
		return fmt.Errorf("follow the log: %w", engine.ErrClosed)
	}
}

// Release lets the log up to upto be trimmed, Config.KeepReleased from now.
func (e *Engine) Release(ctx context.Context, upto engine.Positions) error {
	if err := e.open(ctx); err != nil {
		return fmt.Errorf("release the log: %w", err)
	}
	e.each(func(p uint16) { e.core.Release(p, upto[p]) })
	return nil
}

// Head returns the positions of the newest entries.
func (e *Engine) Head(ctx context.Context) (engine.Positions, error) {
	var out engine.Positions
	if err := e.open(ctx); err != nil {
		return out, fmt.Errorf("read the log's head: %w", err)
	}
	e.each(func(p uint16) { out[p] = e.core.Head(p) })
	return out, nil
}

// Ingest merges b. It fails with crdt.ErrMalformed for a batch that no log of
// from can have emitted, and has done nothing then.
func (e *Engine) Ingest(ctx context.Context, from crdt.Region, b engine.Batch) (engine.Ingested, error) {
	err := e.open(ctx)
	if err == nil {
		err = b.Check(from)
	}
	if err != nil {
		return engine.Ingested{}, fmt.Errorf("ingest from region %d: %w", from, err)
	}
	mu := e.lock(b.Partition)
	defer mu.Unlock()
	return e.core.ingest(e.now(), from, b), nil
}

// Positions returns how far the log of from has been taken in. It fails with
// crdt.ErrMalformed for a number that is no Region's.
func (e *Engine) Positions(ctx context.Context, from crdt.Region) (engine.Positions, error) {
	var out engine.Positions
	if err := e.open(ctx); err != nil {
		return out, fmt.Errorf("read positions of region %d: %w", from, err)
	}
	if !from.Valid() {
		return out, fmt.Errorf("read positions: %w: region %d", crdt.ErrMalformed, from)
	}
	e.each(func(p uint16) { out[p] = e.core.Position(from, p) })
	return out, nil
}

// each calls do for every partition, with its lock held.
func (e *Engine) each(do func(partition uint16)) {
	for p := range uint16(crdt.Partitions) {
		mu := e.lock(p)
		do(p)
		mu.Unlock()
	}
}

// A follower is one Follow that is under way.
type follower struct {
	news atomic.Uint64 // a bit for each partition written since it looked
	wake chan struct{} // holds one
}

// followers is who follows. Writers read the list at every write and it hardly
// ever changes, so it is copied to be changed.
type followers struct {
	list atomic.Pointer[[]*follower]
	mu   sync.Mutex // guards changes of list; never taken with another
}

func (fs *followers) join() *follower {
	f := &follower{wake: make(chan struct{}, 1)}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	next := append(slices.Clone(fs.all()), f)
	fs.list.Store(&next)
	return f
}

func (fs *followers) leave(f *follower) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	next := slices.DeleteFunc(slices.Clone(fs.all()), func(g *follower) bool { return g == f })
	fs.list.Store(&next)
}

func (fs *followers) all() []*follower {
	if list := fs.list.Load(); list != nil {
		return *list
	}
	return nil
}

// wake tells followers that partition was written. It comes after the write,
// and a follower takes its news before it reads, so none is missed.
func (fs *followers) wake(partition uint16) {
	for _, f := range fs.all() {
		f.news.Or(1 << partition)
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
}
