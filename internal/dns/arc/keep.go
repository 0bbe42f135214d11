package arc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/roam-sessions/roam/internal/dns"
	"github.com/roam-sessions/roam/internal/pause"
)

// KeeperConfig is what is optional about a Keeper. Its zero value is good.
type KeeperConfig struct {
	// Log is told what nobody asked for. Default: discarded.
	Log *slog.Logger
	// Tries is how often one change is tried, each time at all endpoints; at most 10.
	// Default 3.
	Tries int
	// Backoff is about how long is waited between two tries; it doubles. Default 1 s.
	Backoff time.Duration
	// Every is how often it is looked whether the controls are still right. Default 15 s:
	// routing controls have no epochs, so what a Region that lost the lease had under way
	// when it did can come after its successor's, and is mended then.
	Every time.Duration
	// Guard is asked before each change whether it may still be made; nil: nobody is.
	Guard func(context.Context, dns.Publication) error
	// Tell is told what came of each try; nil: nobody is. It must not block.
	Tell func(dns.Report)
}

// A Keeper keeps one Region's routing control on and all others off, for as long as it is
// told to.
type Keeper struct {
	cluster *Cluster
	on      string
	off     []string
	config  KeeperConfig

	published, same, failed, tries atomic.Uint64
}

// NewKeeper keeps a control on and others off. It asks nobody yet.
func NewKeeper(cluster *Cluster, on string, off []string, c KeeperConfig) (*Keeper, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Guard == nil {
		c.Guard = func(context.Context, dns.Publication) error { return nil }
	}
	if c.Tell == nil {
		c.Tell = func(dns.Report) {}
	}
	c.Tries, c.Backoff, c.Every = cmp.Or(c.Tries, 3), cmp.Or(c.Backoff, time.Second), cmp.Or(c.Every, 15*time.Second)
	var faults []error
	if on == "" || len(off) == 0 || slices.Contains(off, on) || slices.Contains(off, "") {
		faults = append(faults, errors.New("want this Region's control, and those of all others"))
	}
	if c.Tries < 1 || c.Tries > 10 || min(c.Backoff, c.Every) <= 0 || c.Backoff > time.Minute {
		faults = append(faults, errors.New("tries are from 1 to 10, times above zero, and Backoff up to a minute"))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("routing controls: %w", err)
	}
	return &Keeper{cluster: cluster, on: on, off: slices.Clone(off), config: c}, nil
}

// Stats returns what the Keeper has done. Its figures are not of one moment.
func (k *Keeper) Stats() dns.PublisherStats {
	return dns.PublisherStats{Published: k.published.Load(), Same: k.same.Load(), Failed: k.failed.Load(), Tries: k.tries.Load()}
}

// Keep turns the controls as they are to be, whenever changed says so and every so often,
// while latest says that this Region is the writer, until ctx ends. While it is not, nobody is
// asked for anything.
func (k *Keeper) Keep(ctx context.Context, latest func() (dns.Publication, bool), changed <-chan struct{}) {
	tick := time.NewTicker(k.config.Every)
	defer tick.Stop()
	for {
		if err := k.turn(ctx, latest, changed); err != nil && ctx.Err() == nil {
			k.config.Log.Warn("the writer's routing control is not turned on", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick.C:
		}
	}
}

// turn tries what latest says until it is so. A conflict is tried again when Keep looks next,
// and not before: the controls may rest after another change.
func (k *Keeper) turn(ctx context.Context, latest func() (dns.Publication, bool), changed <-chan struct{}) error {
	var err error
	for try := 1; try <= k.config.Tries; try++ {
		w, ok := latest()
		if !ok {
			return nil
		}
		k.tries.Add(1)
		var guarded error
		var did bool
		did, err = k.cluster.Turn(ctx, k.on, k.off, func(ctx context.Context) error {
			guarded = k.config.Guard(ctx, w)
			return guarded
		})
		if guarded != nil {
			return nil //nolint:nilerr // another Region has it by now, or nobody: that is no failure
		}
		final := errors.Is(err, ErrConflict) || errors.Is(err, dns.ErrRefused) || ctx.Err() != nil
		k.config.Tell(dns.Report{Publication: w, Err: err, Again: err != nil && !final && try < k.config.Tries})
		switch {
		case err == nil && did:
			k.published.Add(1)
			k.config.Log.Info("the writer's routing control is on", "control", k.on, "epoch", w.Epoch)
			return nil
		case err == nil:
			k.same.Add(1)
			return nil
		case final || try == k.config.Tries:
			k.failed.Add(1)
			return err
		}
		d := k.config.Backoff << (try - 1)
		pause.Or(ctx, d/2+pause.Upto(d), changed)
	}
	return err
}
