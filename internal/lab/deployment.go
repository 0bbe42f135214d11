package lab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/fault"
	"github.com/roam-sessions/roam/internal/journal"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/pause"
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
	lab      *Lab
	topology string
	begun    time.Time
	net      *network
	regions  []*region
	keeper   keeper
	cancel   context.CancelFunc

	mu   sync.Mutex // guards what follows
	told uint64     // the last event of the control plane that was told
}

// A keeper is where the Regions of a deployment keep records: in this process, or in
// servers.
type keeper interface {
	// begin makes ready what Regions keep records in, and how they reach each other's.
	begin(ctx context.Context) error
	// open returns the engines of a Region for its process, which closes them.
	open(ctx context.Context, r *region) (own, error)
	// seen returns how one Region has to do with the engines of another.
	seen(from, to *region) (main, side engine.Engine)
	// kill ends what a Region keeps records in, as the loss of the Region does.
	kill(r *region) error
	// revive brings it back, and tells what became of the records.
	revive(ctx context.Context, r *region) (tale string, err error)
	// kept returns what is kept in a Region's main engine; as it was, if it can't be
	// asked.
	kept(r *region) kept
	// native returns how servers replicate each other; nil: Regions push.
	native() *natively
	// stream fills in what the keeper knows of a link, where it replicates by itself.
	stream(l *console.Link, from, to *region)
	// Close ends everything. Processes are closed before.
	Close() error
}

// own are the engines of a Region as its process has them.
type own struct {
	main, side engine.Engine
	close      bool  // with the process; else they outlive it
	news       *news // tells how old main is, where servers replicate each other; else nil
}

// kept is what an engine holds.
type kept struct {
	records, bytes, log int64
	replication         string // what its server says of that
}

// A region is one Region, and its process, which can die and be started anew.
type region struct {
	place
	journal *journal.Journal // on its disk, so to say: the next process finds it
	stats   stats
	waking  atomic.Bool // it is being revived, and can't answer yet
	// What its member knew last, which is on its disk too; nil: it has none.
	agreed atomic.Pointer[ledger.State]

	mu  sync.RWMutex // guards what follows; held for a moment only
	now *process     // that runs, or ran last
}

func (l *Lab) deploy(ctx context.Context, topology string) (*deployment, error) {
	if l.config.Engine == Postgres && topology == console.ActivePassive {
		return nil, errPassive()
	}
	d := &deployment{lab: l, topology: topology, begun: time.Now(), net: newNetwork(l.config.Seed)}
	ctx, d.cancel = context.WithCancel(ctx)
	for _, a := range places() {
		for _, b := range places() {
			if a != b {
				d.heal(a.name, b.name)
			}
		}
	}
	d.keeper = l.keeper(d)
	err := d.openJournals()
	if err == nil {
		err = d.keeper.begin(ctx)
	}
	for _, r := range d.regions {
		if err == nil {
			err = d.openProcess(ctx, r)
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

// keeper returns where a deployment is to keep records.
func (l *Lab) keeper(d *deployment) keeper {
	switch l.config.Engine {
	case Valkey:
		return newServers(d, l.program)
	case Postgres:
		return newDatabases(d, l.base)
	}
	return &inProcess{deployment: d}
}

// meet waits until every Region has heard of the others: until then answers
// would be stale, and strict routes refuse.
func (d *deployment) meet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, meetTime)
	defer cancel()
	for !d.governed() {
		if !pause.For(ctx, 5*time.Millisecond) {
			return fmt.Errorf("no Region was given the lease: %w", ctx.Err())
		}
	}
	for _, r := range d.regions {
		for _, p := range d.byDistance(r) {
			for ok := !d.carries(p, r); !ok; _, ok = r.process().heard(p.id) {
				if !pause.For(ctx, 5*time.Millisecond) {
					return fmt.Errorf("%s has not heard of %s: %w", r.name, p.name, ctx.Err())
				}
			}
		}
	}
	return nil
}

// primary returns the number of the Region that takes all writes; zero if all do.
func (d *deployment) primary() crdt.Region {
	if d.topology != console.ActivePassive {
		return 0
	}
	if s, ok := d.agreed(); ok {
		return d.region(s.Lease.Holder).id
	}
	return places()[0].id
}

func (d *deployment) openJournals() error {
	for _, p := range places() {
		r := &region{place: p}
		var err error
		if r.journal, err = journal.New(p.id, journal.Config{}); err != nil {
			return fmt.Errorf("journal of %s: %w", p.name, err)
		}
		d.regions = append(d.regions, r)
	}
	return nil
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

// process returns the Region's process: that runs, or ran last; nil if none did.
func (r *region) process() *process {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.now
}

// alive reports whether a Region answers.
func (d *deployment) alive(name string) bool {
	return d.net.Alive(name) && !d.region(name).waking.Load()
}

// ServeHTTP serves the Region's shop.
func (r *region) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.stats.request()
	r.process().shop.ServeHTTP(w, req)
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
		if p := r.process(); p != nil {
			errs = append(errs, p.Close())
		}
	}
	return errors.Join(append(errs, d.keeper.Close())...)
}
