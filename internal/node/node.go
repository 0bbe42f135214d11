package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/opener"
	"github.com/roam-sessions/roam/internal/pki"
	"github.com/roam-sessions/roam/internal/receipt"
	"github.com/roam-sessions/roam/internal/replica"
	"github.com/roam-sessions/roam/internal/salvage"
	"github.com/roam-sessions/roam/internal/steered"
	"github.com/roam-sessions/roam/internal/topology"
)

// Config is what is optional. Its zero value is good.
type Config struct {
	// Log is told what nobody asked for. Default: discarded.
	Log *slog.Logger
	// Getenv finds passwords that the deployment names a variable for. Default
	// os.Getenv.
	Getenv func(name string) string
	// Engine is used instead of the one that the deployment describes, and left
	// open by Close. Default: none.
	Engine engine.Engine
	// Folder is that of the deployment's file, from which paths in another one are seen
	// that members agree on. Default: the present one.
	Folder string
	// Dial opens connections to other members of the control plane. Default TCP.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// RetryMin and RetryMax bound the wait before an engine that can't be opened
	// is tried again. Default 100 ms and 5 s; it doubles, half of it is jitter.
	RetryMin, RetryMax time.Duration
	// NamesEvery is how often it is looked whether what says outside of Roam where the writer
	// is is still right, and how often CloudWatch is told. Default: a minute, 15 s for
	// routing controls, and half a minute for CloudWatch.
	NamesEvery time.Duration
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Getenv == nil {
		c.Getenv = os.Getenv
	}
	return c
}

// ErrRegion says that a deployment has no Region of that name.
var ErrRegion = errors.New("no such Region")

// A Node is one Region's process. It may be used by many goroutines.
type Node struct {
	deployment topology.Deployment
	region     topology.Region
	peers      []topology.Region
	config     Config
	keeper     *pki.Keeper // nil: links have no TLS
	traffic    traffic
	breakers   map[crdt.Region]*breaker // of links that are dialled
	door       *door                    // nil: no links
	seat       *seat                    // nil: there is no control plane
	leased     *steered.Server          // nil: there are no leases
	spool      *salvage.Spool           // nil: there is none
	canary     *canary                  // nil: nobody reports how writes go
	names      *signposts               // nil: nothing outside says where the writer is
	httpAt     net.Addr

	stop context.CancelFunc
	wg   sync.WaitGroup // all goroutines; they end in the order that run says

	mu      sync.Mutex // guards what follows
	engine  engine.Engine
	replica *replica.Replica
	chase   *opener.Chase // of a server that replicates the primary's by itself
	primary string        // whose, then
	beats   *opener.Beats // of a store that is read before all is there
	failure error         // why there is no engine, or no replica; nil: there is all
	asked   answer
	known   bool // there is an answer
}

// Start begins to run the node of the Region of a name. It fails with ErrRegion,
// with a fault of the files of the deployment, or if an address can't be listened
// at. An engine that is out of reach is no failure: the node is not ready then, and
// tries again until it is. The node ends with ctx, or by Close; call Close in either
// case.
func Start(ctx context.Context, d topology.Deployment, region string, c Config) (*Node, error) {
	n := &Node{deployment: d, config: c.withDefaults(), failure: errOpening}
	var ok bool
	if n.region, ok = d.Region(region); !ok {
		return nil, fmt.Errorf("%w: %q; there are %q", ErrRegion, region, d.Names())
	}
	for _, r := range d.Regions {
		if r.Name != region {
			n.peers = append(n.peers, r)
		}
	}
	n.config.Log = n.config.Log.With("region", region)
	n.traffic, n.breakers = newTraffic(n.peers), newBreakers(n.peers, n.silence())
	ctx, n.stop = context.WithCancel(ctx)
	if err := n.listen(ctx); err != nil {
		_ = n.Close() // it never fails
		return nil, fmt.Errorf("node of %s: %w", region, err)
	}
	n.wg.Go(func() { n.run(ctx) })
	return n, nil
}

// listen opens what the node is reached by. If it fails, what it opened ends with
// ctx.
func (n *Node) listen(ctx context.Context) error {
	if d := n.deployment; (d.Pushes() || d.Control != nil) && d.Links.TLS != nil {
		f := d.Links.TLS.For(n.region.Name)
		var err error
		if n.keeper, err = pki.Keep(pki.Files(f), n.region.Name, n.config.Log); err != nil {
			return err
		}
	}
	web, err := new(net.ListenConfig).Listen(ctx, "tcp", n.region.Node.HTTP)
	if err != nil {
		return fmt.Errorf("listen for health and metrics: %w", err)
	}
	n.httpAt = web.Addr()
	if n.deployment.Pushes() {
		links, err := n.listenConfig().Listen(ctx, "tcp", n.region.Node.Links)
		if err != nil {
			_ = web.Close() // nobody has come yet
			return fmt.Errorf("listen for links: %w", err)
		}
		n.door = newDoor(links, connsOfPeer*len(n.peers)+maxStrangers, n.keeper != nil)
		n.wg.Go(n.door.run)
		context.AfterFunc(ctx, func() { _ = n.door.Close() })
	}
	if n.deployment.Control != nil {
		if err := n.sit(ctx); err != nil {
			_ = web.Close() // nobody has come yet
			return err
		}
	}
	n.serveHTTP(ctx, web)
	return nil
}

// sit takes this node's seat among the members of the control plane.
func (n *Node) sit(ctx context.Context) (err error) {
	c := seatConfig{
		deployment: n.deployment, self: n.region.Name, links: n.region.Node.Control, api: n.region.Node.API,
		keeper: n.keeper, dial: n.config.Dial, getenv: n.config.Getenv, folder: n.config.Folder, log: n.config.Log,
	}
	c.server = &control.Server{Look: n.looksAt}
	if n.deployment.Leases() {
		at := map[string]string{}
		for _, r := range n.deployment.Regions {
			at[r.Name] = r.Replicate
		}
		n.spool = n.openSpool()
		c.lists = receipt.NewFolder(receipt.Config{
			Dir: filepath.Join(n.deployment.Control.DirOf(n.region.Name), "receipts"), Log: n.config.Log,
		})
		config := steered.Config{Self: n.region.Name, At: at, Open: n.openOther, Spool: n.spool, Lists: c.lists, Log: n.config.Log}
		managed, err := newDatastore(ctx, n.deployment, n.region, n.config)
		if err != nil {
			return err
		}
		if managed != nil { // a nil of its type would be a service
			config.Service = managed
			n.wg.Go(func() { managed.Run(ctx) })
		}
		n.leased = steered.New(config)
		c.server = n.leased.Control()
	}
	n.canary = newCanary(n.region.ID)
	c.measure = n.measured
	if n.names, err = newSignposts(ctx, n.deployment, n.region.Name, n.config); err != nil {
		return err
	}
	if n.seat, err = newSeat(ctx, c); err != nil {
		return err
	}
	zone, err := newZone(ctx, n.deployment, n.region, n.seat.views, n.config)
	if err != nil {
		n.seat.close()
		return err
	}
	if zone != nil {
		n.wg.Go(func() { zone.run(ctx, n.config.Log.Error) })
	}
	if n.names != nil {
		n.names.views, n.names.status, n.names.note = n.seat.views, n.knows, n.notes
		n.wg.Go(func() { n.names.run(ctx, n.config.Log.Warn) })
	}
	n.wg.Go(func() { n.seat.serve(ctx) })
	n.wg.Go(func() { n.seat.run(ctx, c) })
	return nil
}

// knows returns what this node's member knows; false: there is none yet.
func (n *Node) knows() (control.Status, bool) {
	m, _ := n.seat.seated()
	if m == nil {
		return control.Status{}, false
	}
	return m.Status(), true
}

// errNoMember says that nobody can have anything agreed from here yet.
var errNoMember = errors.New("this node takes no part in the control plane")

// notes has members agree on an event.
func (n *Node) notes(ctx context.Context, e ledger.Event) error {
	m, _ := n.seat.seated()
	if m == nil {
		return errNoMember
	}
	_, err := m.Propose(ctx, ledger.Note(e))
	return err
}

// run opens the engine and what stands on it, and closes it all, the last first.
func (n *Node) run(ctx context.Context) {
	e := n.open(ctx)
	if e == nil {
		return // ctx has ended
	}
	if n.config.Engine == nil {
		defer func() {
			if err := e.Close(); err != nil {
				n.config.Log.Warn("close the engine", "err", err)
			}
		}()
	}
	if n.leased != nil {
		if err := n.leased.Open(e); err != nil {
			n.config.Log.Error("this Region can't hold the lease", "err", err)
		}
		defer n.leased.Close()
	}
	var probing sync.WaitGroup
	probing.Go(func() { n.probe(ctx, e) })
	defer probing.Wait()
	if (n.deployment.Pushes() || n.deployment.OneStore()) && n.canary != nil {
		n.wg.Go(func() { n.canary.sing(ctx, n.region.Name, e) })
	}
	if !n.deployment.Pushes() {
		n.set(e, nil, nil)
		n.config.Log.Info("no links are needed: the engines replicate by themselves, or there is one Region")
		defer n.keepStore(ctx, e)()
		n.follow(ctx, e)
		<-ctx.Done()
		return
	}
	r := n.replicate(ctx, e)
	if r == nil {
		return
	}
	n.set(e, r, nil)
	n.config.Log.Info("replicating", "peers", len(n.peers), "links", n.region.Node.Links)
	n.door.open()
	if err := r.Serve(ctx, provenListener{n.door, n}); err != nil {
		n.set(e, r, err) // others can't push to us: who looks must know
		n.config.Log.Error("links of peers are not taken any more", "err", err)
		<-ctx.Done()
	}
	_ = r.Close() // says goodbye to peers; it never fails
}

// set says what there is.
func (n *Node) set(e engine.Engine, r *replica.Replica, failure error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.engine, n.replica, n.failure = e, r, failure
}

// replicate starts the replica when the engine says where its log is; nil if ctx
// ends before.
func (n *Node) replicate(ctx context.Context, e engine.Engine) *replica.Replica {
	p := n.deployment.Policies.Replication
	var ids []crdt.Region
	for _, peer := range n.peers {
		ids = append(ids, peer.ID)
	}
	config := replica.Config{
		BackoffMin: time.Millisecond, BackoffMax: time.Millisecond, // a breaker's is the wait
		Heartbeat: p.Heartbeat, Silence: p.Silence, Log: n.config.Log,
		Limits: replica.Limits{Window: p.Window, Redeliver: p.Redeliver, Sweep: p.Sweep, ScanRate: p.ScanRate},
	}
	// A dial may take longer than the replica's silence: it waits for its breaker too.
	dial := func(_ context.Context, peer crdt.Region) (net.Conn, error) { return n.dial(ctx, peer) }
	var r *replica.Replica
	n.retry(ctx, "ask the engine for its log", n.needs, func() (err error) {
		// Its links outlive this try: New must not be given a context that ends
		// with it. What it asks has the engine's own timeouts.
		r, err = replica.New(ctx, n.region.ID, e, ids, dial, config)
		return err
	})
	return r
}

// Close ends the node: it says goodbye to peers, closes the engine and returns when
// the last goroutine is gone. It never fails.
func (n *Node) Close() error {
	n.stop()
	n.wg.Wait()
	if n.spool != nil {
		if err := n.spool.Close(); err != nil {
			n.config.Log.Warn("close the spool", "err", err)
		}
	}
	return nil
}

// HTTP returns where health and metrics are.
func (n *Node) HTTP() string { return n.httpAt.String() }

// Engine returns the engine, and whether it is open and replicates if it is to.
func (n *Node) Engine() (engine.Engine, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.engine, n.engine != nil
}
