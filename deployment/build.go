package deployment

import (
	"context"
	"fmt"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/feed"
	"github.com/roam-sessions/roam/internal/opener"
	"github.com/roam-sessions/roam/internal/topology"
)

// What a part is of its Region.
const (
	mainEngine = "engine"
	sideStore  = "side store"
)

// A builder opens the parts of a Deployment. It lives as long as Open runs.
type builder struct {
	deployment *Deployment
	topology   topology.Deployment
	options    Options
	steers     *steering // nil: nobody does
	feed       *feed.Client
	version    uint64 // of the file, as the control plane counts
}

// heed follows the control plane, if Options say where, and returns what it has agreed
// that roam.yaml says; that is t, unless it has pushed another one. It waits for the first
// word, for as long as Options say.
func (b *builder) heed(ctx, background context.Context, t topology.Deployment, dir string) (topology.Deployment, error) {
	o := b.options
	if len(o.Feed) == 0 && o.Topology == "" {
		return t, nil
	}
	f, err := feed.Follow(background, feed.Config{
		URLs: o.Feed, HTTP: o.FeedClient, Path: o.Topology, Deployment: t.Name, Log: o.Log, ReportEvery: o.reportEvery,
	})
	if err != nil {
		return t, err
	}
	b.feed = f
	b.deployment.closers = append(b.deployment.closers, f.Close)
	if len(o.Feed) > 0 {
		timer := time.NewTimer(max(o.Patience, 0))
		defer timer.Stop()
		select {
		case <-f.Told():
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	v, _ := f.Latest()
	// The first version is that of whoever founded the control plane; nodes go by their own
	// file as well until members agree on another one.
	if b.version = v.Version; v.Version <= 1 || v.File == "" {
		return t, nil
	}
	pushed, err := topology.Parse([]byte(v.File))
	if err != nil {
		o.Log.Warn("roam.yaml as the control plane pushed it has faults: the file stands", "version", v.Version, "err", err)
		return t, nil
	}
	return pushed.Under(dir), nil
}

// build opens everything; background is for what outlives ctx. The other Regions are
// tried while this one is being opened.
func (b *builder) build(ctx, background context.Context, region string) error {
	d, o := b.deployment, b.options
	if b.feed != nil {
		b.steers = newSteering(b.feed, b.topology, region, o.Log)
		b.steers.version = b.version
		d.steers = b.steers
		for name, e := range o.Engines {
			b.steers.enter(name, e)
		}
	}
	here, _ := b.topology.Region(region) // check has found it
	d.config.Here = roam.Region{ID: here.ID, Name: here.Name}
	if o.Journal != "" {
		j, err := roam.OpenJournal(here.ID, o.Journal, o.Log)
		if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		d.config.Here.Journal = j
		d.closers = append(d.closers, j.Close)
	}
	for _, r := range b.topology.Regions {
		if r.Name != region {
			d.config.Peers = append(d.config.Peers, b.peer(background, r))
		}
	}
	var err error
	if d.config.Here.Engine = o.Engines[region]; d.config.Here.Engine == nil {
		if d.config.Here.Engine, err = b.own(ctx, here, here.Engine, b.here()); err != nil {
			return fmt.Errorf("engine of %s: %w", region, err)
		}
		b.enter(region, d.config.Here.Engine)
	}
	if here.Side != nil {
		if d.config.Here.Side, err = b.own(ctx, here, *here.Side, b.side()); err != nil {
			return fmt.Errorf("side store of %s: %w", region, err)
		}
	}
	b.follow(background, here)
	if b.steers != nil {
		b.steers.start(background)
		if len(o.Feed) > 0 && !o.NoReports {
			b.steers.report(background)
		}
		d.closers = append(d.closers, b.steers.close)
	}
	b.wait(ctx)
	return nil
}

// enter notes an engine that has been opened, for the lease.
func (b *builder) enter(region string, e engine.Engine) {
	if b.steers != nil {
		b.steers.enter(region, e)
	}
}

// here returns how this Region's engine is opened, main how those of others are, and side
// how side stores are: nobody gives them back what they lose.
func (b *builder) here() opener.Config {
	c := b.main()
	c.NearBytes, c.Reads = b.options.NearBytes, true
	return c
}

func (b *builder) main() opener.Config {
	c := b.side()
	c.Replicated = b.topology.Pushes()
	return c
}

func (b *builder) side() opener.Config {
	return opener.Config{Log: b.options.Log, Getenv: b.options.Getenv}
}

// far is for what is another Region's.
func far(c opener.Config) opener.Config {
	c.Far = true
	return c
}

// own opens an engine of this Region.
func (b *builder) own(ctx context.Context, r topology.Region, e topology.Engine, c opener.Config) (engine.Engine, error) {
	out, err := opener.Open(ctx, r.ID, e, c)
	if err != nil {
		return nil, err
	}
	b.deployment.closers = append(b.deployment.closers, out.Close)
	return out, nil
}

// peer begins to open the engines of another Region.
func (b *builder) peer(ctx context.Context, r topology.Region) roam.Region {
	out := roam.Region{ID: r.ID, Name: r.Name, Engine: b.options.Engines[r.Name]}
	if out.Engine == nil {
		out.Engine = b.lazy(ctx, r, mainEngine, r.Engine, far(b.main()))
	}
	switch {
	case r.Side == nil:
	case r.Side.Memory != nil:
		// An engine that never answers would leave every miss in doubt for ever.
		b.options.Log.Warn("the side store of a Region is in the memory of a process there: what it alone keeps is not seen from here", "region", r.Name)
	default:
		out.Side = b.lazy(ctx, r, sideStore, *r.Side, far(b.side()))
	}
	return out
}

func (b *builder) lazy(ctx context.Context, r topology.Region, what string, e topology.Engine, c opener.Config) *opener.Lazy {
	l := opener.NewLazy(ctx, "open the "+what+" of "+r.Name, opener.Retry{Log: b.options.Log},
		func(ctx context.Context) (engine.Engine, error) {
			out, err := opener.Open(ctx, r.ID, e, c)
			if err == nil && what == mainEngine {
				b.enter(r.Name, out)
			}
			return out, err
		})
	if what == mainEngine && b.steers != nil {
		b.steers.sources[r.Name] = l
	}
	b.deployment.lazies = append(b.deployment.lazies, part{r.Name, what, l})
	b.deployment.closers = append(b.deployment.closers, l.Close)
	return l
}

// follow measures how old what this Region has is, unless what one has acknowledged the
// others show at once. It is the last to be opened: what it
// asks is closed after it.
func (b *builder) follow(ctx context.Context, here topology.Region) {
	t, d := b.topology, b.deployment
	every := t.Policies.Replication.Heartbeat
	peers := map[crdt.Region]engine.Engine{}
	for _, p := range d.config.Peers {
		peers[p.ID] = p.Engine
	}
	switch {
	case len(t.Regions) == 1:
	case t.Eventually():
		beats := opener.Listen(ctx, d.config.Here.Engine, peers, every)
		d.config.Links = beats
		d.closers = append(d.closers, beats.Close)
	case t.Pushes():
		if heads, ok := opener.Watch(ctx, d.config.Here.Engine, peers, every); ok {
			d.config.Links = heads
			d.closers = append(d.closers, heads.Close)
		}
	case b.options.Engines[here.Name] != nil || t.Primary == "":
	case b.steers != nil:
		b.steers.chase = opener.NewChase(d.config.Here.Engine, every)
		d.config.Links = b.steers.chase
	case !t.TakesWrites(here.Name):
		for _, p := range d.lazies {
			if p.region == t.Primary && p.what == mainEngine {
				news := opener.Follow(ctx, p.engine, d.config.Here.Engine, every)
				d.config.Links = news
				d.closers = append(d.closers, news.Close)
			}
		}
	}
}

// wait waits for the other Regions, for as long as Options say.
func (b *builder) wait(ctx context.Context) {
	t := time.NewTimer(max(b.options.Patience, 0))
	defer t.Stop()
	for _, p := range b.deployment.lazies {
		select {
		case <-p.engine.Opened():
		case <-t.C:
			return
		case <-ctx.Done():
			return
		}
	}
}
