package valkey

import (
	"context"
	"fmt"
	"sync"

	"github.com/roam-sessions/roam/engine"
)

// A turn is had by one at a time, in the order in which it was asked for, until it ends.
type turn struct {
	had   chan struct{} // full: somebody has it
	once  sync.Once
	ended chan struct{}
}

func newTurn() *turn { return &turn{had: make(chan struct{}, 1), ended: make(chan struct{})} }

// take waits for the turn, for no longer than ctx. It fails with engine.ErrClosed when
// there are no more, and with engine.ErrUnreachable when ctx has ended.
func (t *turn) take(ctx context.Context) error {
	select {
	case <-t.ended: // before a turn that is free as well
		return engine.ErrClosed
	default:
	}
	select {
	case <-t.ended:
		return engine.ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", engine.ErrUnreachable, engine.Ended(ctx))
	case t.had <- struct{}{}:
		return nil
	}
}

func (t *turn) give() { <-t.had }

// end has the last turn, once whoever has it gives it back, and nobody has one again.
func (t *turn) end(last func()) {
	t.once.Do(func() {
		close(t.ended)
		t.had <- struct{}{}
		last()
	})
}
