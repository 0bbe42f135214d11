package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/journal"
	"github.com/roam-sessions/roam/internal/replica"
	"github.com/roam-sessions/roam/internal/shop"
)

// A process is one of a Region's: its engines, its links and its shop.
type process struct {
	engines  own
	listener net.Listener
	replica  *replica.Replica // nil where the servers replicate by themselves
	store    *roam.Store
	seat     *seat // nil where there is no control plane
	shop     http.Handler
	serving  sync.WaitGroup
	closing  sync.Once
}

// openProcess connects a Region's engine with its peers and opens its shop. Ctx bounds
// the process, as Close does.
func (d *deployment) openProcess(ctx context.Context, r *region) error {
	p := &process{}
	err := p.open(ctx, d, r)
	if err != nil {
		return errors.Join(err, p.Close())
	}
	r.mu.Lock()
	r.now = p
	r.mu.Unlock()
	return nil
}

func (p *process) open(ctx context.Context, d *deployment, r *region) error {
	l := d.lab
	var err error
	if p.engines, err = d.keeper.open(ctx, r); err != nil {
		return fmt.Errorf("engines of %s: %w", r.name, err)
	}
	config := roam.Config{
		Here:           roam.Region{ID: r.id, Name: r.name, Engine: p.engines.main, Side: p.engines.side, Journal: r.journal},
		Primary:        d.primaryOf(r),
		ReadAfterWrite: l.config.ReadAfterWrite,
		RemoteTimeout:  l.remoteTimeout(),
		Observe:        func(o roam.Observation) { l.observe(r, o) },
		Log:            l.config.Log.With("region", r.name),
	}
	for _, peer := range d.byDistance(r) {
		g := roam.Region{ID: peer.id, Name: peer.name, Journal: d.net.Engine(r.name, peer.name, carried{journal: peer.journal})}
		g.Engine, g.Side = d.keeper.seen(r, peer)
		config.Peers = append(config.Peers, g)
	}
	if config.Links, err = p.link(ctx, d, r, config.Log); err != nil {
		return err
	}
	if p.store, err = roam.Open(ctx, config); err != nil {
		return fmt.Errorf("open the store of %s: %w", r.name, err)
	}
	if n := d.keeper.native(); n != nil {
		if p.seat, err = n.sit(ctx, r, p.store, p.engines); err != nil {
			return err
		}
	}
	p.shop, err = shop.New(p.store, l.key, shop.Config{
		Region: r.name, Doors: doors(), Sessions: roam.Options{Cookie: roam.Cookie{Name: l.config.Cookie, Plain: true}},
	})
	return err
}

// link links a Region with its peers, unless its server is, and returns what it knows of
// them.
func (p *process) link(ctx context.Context, d *deployment, r *region, log *slog.Logger) (links roam.Links, err error) {
	if p.engines.news != nil {
		return p.engines.news, nil
	}
	if p.listener, err = d.net.Listen(r.name, replicationPort); err != nil {
		return nil, fmt.Errorf("listen in %s: %w", r.name, err)
	}
	var peers []crdt.Region
	for _, peer := range d.byDistance(r) {
		peers = append(peers, peer.id)
	}
	dial := func(ctx context.Context, to crdt.Region) (net.Conn, error) {
		return d.net.Dial(ctx, r.name, d.regionByID(to).name, replicationPort)
	}
	p.replica, err = replica.New(ctx, r.id, p.engines.main, peers, dial, replica.Config{Log: log})
	if err != nil {
		return nil, fmt.Errorf("replicate %s: %w", r.name, err)
	}
	p.serving.Go(func() { _ = p.replica.Serve(ctx, p.listener) }) // ends with the replica
	return p.replica, nil
}

// heard returns how old is what this Region has heard of another; not ok: nothing.
func (p *process) heard(of crdt.Region) (age time.Duration, ok bool) {
	switch {
	case p.replica != nil:
		return p.replica.Heard(of)
	case p.engines.news != nil:
		return p.engines.news.Heard(of)
	}
	return 0, false
}

// Close ends the process and returns when nothing of it runs any more. Again, it does
// nothing. What it knew can still be asked for.
func (p *process) Close() error {
	var errs []error
	p.closing.Do(func() {
		p.seat.close()
		if p.store != nil {
			errs = append(errs, p.store.Close())
		}
		if p.replica != nil {
			errs = append(errs, p.replica.Close())
		}
		if p.listener != nil {
			_ = p.listener.Close() // the replica has, if it ever served it
		}
		p.serving.Wait()
		for _, e := range []engine.Engine{p.engines.main, p.engines.side} {
			if p.engines.close && e != nil {
				errs = append(errs, e.Close())
			}
		}
	})
	return errors.Join(errs...)
}

// A carried journal is one that the lab's network carries, as it does an engine.
type carried struct {
	engine.Engine // has nothing but what is below
	journal       *journal.Journal
}

// Read asks the journal.
func (c carried) Read(ctx context.Context, k crdt.Key, seen crdt.Token) (crdt.Record, error) {
	return c.journal.Read(ctx, k, seen)
}

// Join hands the journal an ending.
func (c carried) Join(ctx context.Context, r crdt.Record) error { return c.journal.Join(ctx, r) }

func doors() []shop.Door {
	out := []shop.Door{{Region: Nearest, URL: switchPath + "?to=" + Nearest}, {Region: Random, URL: switchPath + "?to=" + Random}}
	for _, p := range places() {
		out = append(out, shop.Door{Region: p.name, URL: switchPath + "?to=" + p.name})
	}
	return out
}
