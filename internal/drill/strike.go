package drill

import (
	"context"
	"fmt"

	"github.com/roam-sessions/roam/internal/ledger"
)

// A strike is a way to lose the primary.
type strike struct {
	name string
	// apart: the Region's clients can't reach the others, so that they do not count as those
	// who are to write again.
	apart bool
	// done has it happen, and undone takes it back.
	done   func(ctx context.Context, w *world, r *region) error
	undone func(ctx context.Context, w *world, r *region) error
}

// strikes are all of them, in the order in which they come.
func strikes() []strike {
	cut := func(out, in bool) func(context.Context, *world, *region) error {
		return func(_ context.Context, w *world, r *region) error {
			for _, other := range w.regions {
				if other != r {
					w.link(r, other, out)
					w.link(other, r, in)
				}
			}
			return nil
		}
	}
	heal := cut(false, false)
	return []strike{
		{name: "kill -9 of the server", done: killServer, undone: restartServer},
		{name: "SIGSTOP of the server", done: stopServer, undone: contServer},
		{name: "cut of the Region", apart: true, done: cut(true, true), undone: heal},
		{name: "loss of the Region", apart: true, done: killRegion, undone: reviveRegion},
		{name: "cut of what it says", apart: true, done: cut(true, false), undone: heal},
		{name: "cut of what it hears", apart: true, done: cut(false, true), undone: heal},
	}
}

func killServer(_ context.Context, _ *world, r *region) error {
	r.server.Kill()
	return nil
}

func restartServer(ctx context.Context, _ *world, r *region) error { return r.server.Restart(ctx) }

func stopServer(_ context.Context, _ *world, r *region) error { return suspend(r.server) }

func contServer(_ context.Context, _ *world, r *region) error {
	resume(r.server)
	return nil
}

// killRegion has a Region fall silent, as when it has no power any more.
func killRegion(_ context.Context, w *world, r *region) error {
	r.app.resting.Store(true)
	w.net.Freeze(r.name)
	r.server.Kill()
	r.stopNode()
	return nil
}

func reviveRegion(ctx context.Context, w *world, r *region) error {
	if err := r.server.Restart(ctx); err != nil {
		return err
	}
	w.net.Kill(r.name) // whoever was connected with what was there hears that it is gone
	w.net.Revive(r.name)
	if err := w.startNode(ctx, r); err != nil {
		return err
	}
	r.app.resting.Store(false)
	return nil
}

// holds says what is missing for a Region to be back: that the receipt of an epoch is
// closed, and its server follows the holder's.
func (w *world) back(s ledger.State, r *region, epoch uint64) string {
	for _, receipt := range s.Receipts {
		if receipt.Epoch == epoch && receipt.Closed.IsZero() {
			return fmt.Sprintf("the receipt of epoch %d is open", epoch)
		}
	}
	return w.follows(s, r)
}
