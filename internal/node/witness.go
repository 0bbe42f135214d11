package node

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/roam-sessions/roam/internal/pki"
	"github.com/roam-sessions/roam/internal/topology"
)

// ErrWitness says that a deployment has no witness of that name.
var ErrWitness = errors.New("no such witness")

// A Witness is a member of the control plane that votes and keeps no sessions.
type Witness struct {
	seat *seat
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// StartWitness begins to run the witness of a name. It fails with ErrWitness, with a fault
// of the files of the deployment, or if an address can't be listened at. It ends with ctx,
// or by Close; call Close in either case.
func StartWitness(ctx context.Context, d topology.Deployment, name string, c Config) (*Witness, error) {
	c = c.withDefaults()
	self, ok := d.Witness(name)
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrWitness, name)
	}
	config := seatConfig{
		deployment: d, self: name, links: self.Control, api: self.API, dial: c.Dial, getenv: c.Getenv, folder: c.Folder, log: c.Log.With("witness", name),
	}
	if d.Links.TLS != nil {
		var err error
		if config.keeper, err = pki.Keep(pki.Files(d.Links.TLS.For(name)), name, c.Log); err != nil {
			return nil, err
		}
	}
	w := &Witness{}
	ctx, w.stop = context.WithCancel(ctx)
	var err error
	if w.seat, err = newSeat(ctx, config); err != nil {
		w.stop()
		return nil, fmt.Errorf("witness %s: %w", name, err)
	}
	w.wg.Go(func() { w.seat.serve(ctx) })
	w.wg.Go(func() { w.seat.run(ctx, config) })
	return w, nil
}

// API returns where it is asked.
func (w *Witness) API() string { return w.seat.api.Addr().String() }

// Err returns why it takes no part; nil: it does, or is about to.
func (w *Witness) Err() error {
	_, err := w.seat.seated()
	return err
}

// Close ends the witness and returns when the last goroutine is gone. It never fails.
func (w *Witness) Close() error {
	w.stop()
	w.wg.Wait()
	return nil
}
