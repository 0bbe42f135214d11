package deployment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/opener"
	"github.com/roam-sessions/roam/internal/topology"
)

type (
	// Faults are all that is wrong with a file, from top to bottom, as an error.
	Faults = topology.Faults
	// A Fault is one of them: where it is, and what to do about it.
	Fault = topology.Fault
)

var (
	// ErrRegion says that the deployment has no Region of that name.
	ErrRegion = errors.New("no such Region")
	// ErrElsewhere says that an engine is in the memory of another process, so that
	// this one can't use it.
	ErrElsewhere = errors.New("its engine is in the memory of another process")
)

// defaultPatience is enough for a Region at the other end of the Earth: a handful of
// round trips, with a packet lost.
const defaultPatience = time.Second

// Options are what is no matter of the file. Their zero value is good.
type Options struct {
	// Log hears what nobody asked for. Default: nothing is logged.
	Log *slog.Logger
	// Getenv finds passwords that the file names a variable for. Default os.Getenv.
	Getenv func(name string) string
	// Engines are used instead of those that the file describes, by the names of their
	// Regions, and left open by Close. Where the file would have how old what they have is
	// measured, that is theirs to tell then: set Config's Links. Default: none.
	Engines map[string]engine.Engine
	// NearBytes bounds a near-cache of what was read from this Region's server, as
	// valkey.Config says. Default 0: there is none.
	NearBytes int64
	// Journal is the path of the file that keeps logouts while no engine takes them, as
	// roam.OpenJournal says; of one process only. Default: they are kept in memory.
	Journal string
	// Feed are where nodes tell what the control plane agreed on, such as
	// https://10.0.0.1:7440/v1/feed, the nearest first; http is for this machine. One is
	// followed at a time. Default: none, so that the file says which Region takes all
	// writes, and no lease is known of.
	Feed []string
	// FeedClient asks them: its certificates, and whom it trusts. Default: one without a
	// certificate, that trusts whom the system does.
	FeedClient *http.Client
	// Topology is the path of a file that keeps what they said last, for when none of them
	// is there at the next start; of one process only. Default: it is not kept.
	Topology string
	// NoReports keeps from nodes how good the answers of attached Stores are, and how long
	// writes take: counts that alarms and metrics are made of, and nothing of any user.
	// Default false: the one that is followed is told each five seconds, beside requests.
	NoReports bool
	// Patience is how long Open waits for the Feed, and then for the other Regions, so that the first requests
	// find those that are there. Default 1 s; below 0: not at all.
	Patience time.Duration

	reportEvery time.Duration // of tests; zero: the feed's own
}

// A Deployment is the parts of one that an application needs. It may be used by many
// goroutines.
type Deployment struct {
	config  roam.Config
	steers  *steering // nil: nobody does
	lazies  []part    // what is opened in the background
	stop    context.CancelFunc
	closing sync.Once
	closers []func() error // in the order of opening
}

// A part is an engine or a side store of another Region.
type part struct {
	region, what string
	engine       *opener.Lazy
}

// Open reads the file at path and opens what an application in a Region needs. It fails
// with Faults, with ErrRegion, with ErrElsewhere, or if the file, this Region's engine or
// side store, or the journal can't be opened; then nothing is left open. Ctx bounds Open.
// Close it after the Store.
func Open(ctx context.Context, path, region string, o Options) (*Deployment, error) {
	t, err := opener.ReadFile(path)
	if faults := Faults(nil); errors.As(err, &faults) {
		return nil, fmt.Errorf("deployment of %s:\n%w", path, faults)
	}
	if err != nil {
		return nil, fmt.Errorf("deployment of %s: %w", path, err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	// What is tried in the background outlives ctx.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	d := &Deployment{stop: stop}
	b := builder{deployment: d, options: o}
	if b.topology, err = b.heed(ctx, background, t, filepath.Dir(path)); err == nil {
		err = check(b.topology, region, o)
	}
	if err == nil {
		d.config = configOf(b.topology)
		d.config.Log = o.Log
		err = b.build(ctx, background, region)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("deployment of %s: %w", path, err), d.Close())
	}
	return d, nil
}

// check returns all that stands against opening a Region.
func check(t topology.Deployment, region string, o Options) error {
	var faults []error
	if _, ok := t.Region(region); !ok {
		faults = append(faults, fmt.Errorf("%w: %q; there are %s", ErrRegion, region, strings.Join(t.Names(), ", ")))
	}
	for name := range o.Engines {
		if _, ok := t.Region(name); !ok {
			faults = append(faults, fmt.Errorf("%w: %q, which Options.Engines has; there are %s", ErrRegion, name, strings.Join(t.Names(), ", ")))
		}
	}
	for _, r := range t.Regions {
		if r.Engine.Memory != nil && len(t.Regions) > 1 && o.Engines[r.Name] == nil {
			faults = append(faults, fmt.Errorf("%s: %w: use another engine, or give it with Options.Engines", r.Name, ErrElsewhere))
		}
	}
	return errors.Join(faults...)
}

// configOf returns what the file says of a Store but for its Regions.
func configOf(t topology.Deployment) roam.Config {
	times := t.Timeouts()
	c := roam.Config{
		LocalTimeout: times.Local, RemoteTimeout: times.Remote,
		ReadBudget: times.ReadBudget, WriteBudget: times.WriteBudget, Backoff: times.Backoff,
		MaxWait: times.MaxWait, StrictBound: times.StrictBound,
	}
	for m := roam.ByToken; m <= roam.Accept; m++ {
		if m.String() == t.Policies.ReadAfterWrite {
			c.ReadAfterWrite = m
		}
	}
	if primary, ok := t.Region(t.Primary); ok {
		c.Primary = primary.ID
	}
	return c
}

// Config returns the Config of a Store of this Region. Peers are in the order of the
// file: it should name neighbours beside each other, or they are sorted here.
func (d *Deployment) Config() roam.Config {
	c := d.config
	if d.steers != nil && d.steers.primary() != 0 {
		c.Primary = d.steers.primary()
	}
	c.Peers, c.Backoff = slices.Clone(c.Peers), slices.Clone(c.Backoff)
	return c
}

// Attach has a Store of this Config write where the control plane says, from now on, and
// nodes know how its answers fare: call it once, when the Store is open. Without
// Options.Feed and Topology it does nothing.
func (d *Deployment) Attach(store *roam.Store) {
	if d.steers != nil {
		d.steers.attach(store)
	}
}

// Waiting returns why engines and side stores of other Regions are not open yet, by the
// Region's name; empty when all are.
func (d *Deployment) Waiting() map[string]error {
	out := map[string]error{}
	for _, p := range d.lazies {
		if err := p.engine.Err(); err != nil {
			out[p.region] = errors.Join(out[p.region], fmt.Errorf("%s: %w", p.what, err))
		}
	}
	return out
}

// Close closes what Open opened, the last first, and returns when the last goroutine is
// gone.
func (d *Deployment) Close() error {
	var errs []error
	d.closing.Do(func() {
		d.stop()
		for _, closeIt := range slices.Backward(d.closers) {
			errs = append(errs, closeIt())
		}
	})
	return errors.Join(errs...)
}
