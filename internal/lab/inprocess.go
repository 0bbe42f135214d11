package lab

import (
	"context"
	"errors"
	"fmt"

	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/console"
)

// inProcess keeps records in this process. They outlive a Region that is killed: it is
// as if it had lost its power, not its machines.
type inProcess struct {
	deployment *deployment
	engines    map[*region]memories
}

type memories struct{ main, side *memory.Engine }

func (k *inProcess) begin(context.Context) error {
	k.engines = map[*region]memories{}
	d := k.deployment
	for _, r := range d.regions {
		secondary := d.primary() != 0 && d.primary() != r.id
		main, err := memory.New(r.id, memory.Config{Secondary: secondary})
		if err != nil {
			return fmt.Errorf("engine of %s: %w", r.name, err)
		}
		side, err := memory.New(r.id, memory.Config{})
		if err != nil {
			return errors.Join(fmt.Errorf("side store of %s: %w", r.name, err), main.Close())
		}
		k.engines[r] = memories{main, side}
	}
	return nil
}

func (k *inProcess) open(_ context.Context, r *region) (own, error) {
	return own{main: k.engines[r].main, side: k.engines[r].side}, nil
}

func (k *inProcess) seen(from, to *region) (main, side engine.Engine) {
	net := k.deployment.net
	return net.Engine(from.name, to.name, k.engines[to].main), net.Engine(from.name, to.name, k.engines[to].side)
}

func (k *inProcess) kill(r *region) error {
	k.deployment.net.Freeze(r.name)
	return nil
}

// revive brings a Region back as a machine that had lost power: what others sent it
// meanwhile is gone, and connections begin anew.
func (k *inProcess) revive(_ context.Context, r *region) (tale string, err error) {
	k.deployment.net.Kill(r.name)
	k.deployment.net.Revive(r.name)
	return "with what it had", nil
}

func (k *inProcess) kept(r *region) kept {
	s := k.engines[r].main.Stats()
	return kept{records: int64(s.Records), bytes: s.Bytes, log: int64(s.LogEntries)}
}

func (k *inProcess) native() *natively { return nil }

func (k *inProcess) stream(*console.Link, *region, *region) {} // processes push

func (k *inProcess) Close() error {
	var errs []error
	for _, e := range k.engines {
		errs = append(errs, e.main.Close(), e.side.Close())
	}
	return errors.Join(errs...)
}
