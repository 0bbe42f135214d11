package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/fault"
	"github.com/roam-sessions/roam/internal/journal"
	"github.com/roam-sessions/roam/internal/replica"
	"github.com/roam-sessions/roam/internal/shop"
)

const (
	// replicationPort is where a Region listens for the logs of others, in the
	// lab's own network.
	replicationPort = "7100"
	// meetTime is how long Regions may take to find each other: many times a
	// dial and a heartbeat across the widest link.
	meetTime = 10 * time.Second
	// jitter is how much later than its delay a message may come: a tenth of a
	// millisecond or two is what a backbone shows on a good day.
	jitter = 200 * time.Microsecond
)

// A deployment is the Regions of one topology and the network between them.
type deployment struct {
	topology string
	begun    time.Time
	net      *fault.Net
	regions  []*region
	cancel   context.CancelFunc
}

// A region is one Region's process.
type region struct {
	place
	main, side *memory.Engine
	journal    *journal.Journal
	listener   net.Listener
	replica    *replica.Replica
	store      *roam.Store
	shop       http.Handler
	stats      stats
	serving    sync.WaitGroup
}

func (l *Lab) deploy(ctx context.Context, topology string) (*deployment, error) {
	d := &deployment{topology: topology, begun: time.Now(), net: fault.NewNet(l.config.Seed)}
	ctx, d.cancel = context.WithCancel(ctx)
	for _, a := range places() {
		for _, b := range places() {
			if a != b {
				d.heal(a.name, b.name)
			}
		}
	}
	err := d.openEngines()
	for _, r := range d.regions {
		if err == nil {
			err = d.openRegion(ctx, l, r)
		}
	}
	if err == nil {
		err = d.meet(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// meet waits until every Region has heard of the others: until then answers
// would be stale, and strict routes refuse.
func (d *deployment) meet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, meetTime)
	defer cancel()
	for _, r := range d.regions {
		for _, p := range d.byDistance(r) {
			for ok := false; !ok; _, ok = r.replica.Heard(p.id) {
				if err := pause(ctx, 5*time.Millisecond); err != nil {
					return fmt.Errorf("%s has not heard of %s: %w", r.name, p.name, err)
				}
			}
		}
	}
	return nil
}

// primary returns the number of the Region that takes all writes; zero if all do.
func (d *deployment) primary() crdt.Region {
	if d.topology == console.ActivePassive {
		return places()[0].id
	}
	return 0
}

func (d *deployment) openEngines() error {
	for _, p := range places() {
		r := &region{place: p}
		d.regions = append(d.regions, r)
		var err error
		secondary := d.primary() != 0 && d.primary() != p.id
		if r.main, err = memory.New(p.id, memory.Config{Secondary: secondary}); err != nil {
			return fmt.Errorf("engine of %s: %w", p.name, err)
		}
		if r.side, err = memory.New(p.id, memory.Config{}); err != nil {
			return fmt.Errorf("side store of %s: %w", p.name, err)
		}
		if r.journal, err = journal.New(p.id, journal.Config{}); err != nil {
			return fmt.Errorf("journal of %s: %w", p.name, err)
		}
	}
	return nil
}

// openRegion connects a Region's engine with its peers and opens its shop.
func (d *deployment) openRegion(ctx context.Context, l *Lab, r *region) error {
	var err error
	if r.listener, err = d.net.Listen(r.name, replicationPort); err != nil {
		return fmt.Errorf("listen in %s: %w", r.name, err)
	}
	config := roam.Config{
		Here:           roam.Region{ID: r.id, Name: r.name, Engine: r.main, Side: r.side, Journal: r.journal},
		Primary:        d.primary(),
		ReadAfterWrite: l.config.ReadAfterWrite,
		Observe:        func(o roam.Observation) { l.observe(r, o) },
		Log:            l.config.Log.With("region", r.name),
	}
	var peers []crdt.Region
	for _, p := range d.byDistance(r) {
		peers = append(peers, p.id)
		config.Peers = append(config.Peers, roam.Region{
			ID: p.id, Name: p.name,
			Engine:  d.net.Engine(r.name, p.name, p.main),
			Side:    d.net.Engine(r.name, p.name, p.side),
			Journal: d.net.Engine(r.name, p.name, carried{journal: p.journal}),
		})
	}
	dial := func(ctx context.Context, to crdt.Region) (net.Conn, error) {
		return d.net.Dial(ctx, r.name, d.regionByID(to).name, replicationPort)
	}
	r.replica, err = replica.New(ctx, r.id, r.main, peers, dial, replica.Config{Log: config.Log})
	if err != nil {
		return fmt.Errorf("replicate %s: %w", r.name, err)
	}
	r.serving.Go(func() { _ = r.replica.Serve(ctx, r.listener) }) // ends with the replica
	config.Links = r.replica
	if r.store, err = roam.Open(ctx, config); err != nil {
		return fmt.Errorf("open the store of %s: %w", r.name, err)
	}
	r.shop, err = shop.New(r.store, l.key, shop.Config{
		Region: r.name, Doors: doors(), Sessions: roam.Options{Cookie: roam.Cookie{Name: l.config.Cookie, Plain: true}},
	})
	return err
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

// byDistance returns the other Regions, the nearest first.
func (d *deployment) byDistance(from *region) []*region {
	var out []*region
	for _, r := range d.regions {
		if r == from {
			continue
		}
		i := len(out)
		for i > 0 && distance(from.name, out[i-1].name) > distance(from.name, r.name) {
			i--
		}
		out = append(out[:i], append([]*region{r}, out[i:]...)...)
	}
	return out
}

func (d *deployment) region(name string) *region {
	for _, r := range d.regions {
		if r.name == name {
			return r
		}
	}
	return nil
}

func (d *deployment) regionByID(id crdt.Region) *region {
	for _, r := range d.regions {
		if r.id == id {
			return r
		}
	}
	return nil
}

// ServeHTTP serves the Region's shop.
func (r *region) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.stats.request()
	r.shop.ServeHTTP(w, req)
}

// heal makes one direction between two Regions as it was.
func (d *deployment) heal(from, to string) {
	for _, plane := range []fault.Plane{fault.Calls, fault.Replication} {
		d.net.SetLink(from, to, plane, fault.Link{Delay: distance(from, to), Jitter: jitter})
	}
}

// Close ends what runs in the order in which it depends on each other.
func (d *deployment) Close() error {
	d.cancel()
	var errs []error
	for _, r := range d.regions {
		if r.store != nil {
			errs = append(errs, r.store.Close())
		}
		if r.replica != nil {
			errs = append(errs, r.replica.Close())
		}
		if r.listener != nil {
			_ = r.listener.Close() // the replica has, if it ever served it
		}
		r.serving.Wait()
	}
	for _, r := range d.regions {
		for _, e := range []*memory.Engine{r.main, r.side} {
			if e != nil {
				errs = append(errs, e.Close())
			}
		}
	}
	return errors.Join(errs...)
}
