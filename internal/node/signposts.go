package node

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/dns"
	"github.com/roam-sessions/roam/internal/dns/arc"
	"github.com/roam-sessions/roam/internal/dns/cloud"
	"github.com/roam-sessions/roam/internal/dns/primary"
	"github.com/roam-sessions/roam/internal/dns/route53"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/topology"
)

const (
	// roleEvery is how often it is looked whether this Region is the primary: DNS moves in
	// seconds at best.
	roleEvery = 250 * time.Millisecond
	// roleAge is how old what the member knows may be: one that runs says it anew twenty times
	// a second, and of one that has ended nothing is believed.
	roleAge = 2 * time.Second
	// metricKind is what the metric is called among the kinds of topology.
	metricKind = "metric"
)

// signposts keep what says outside of Roam where the writer is: names at servers of others and at
// Route 53, routing controls, the metric IsGlobalPrimary. Each of them by itself: what one
// waits for holds up no other, and none of it is waited for by the lease.
//
// A name at a server of RFC 2136 is kept by every node: whichever reaches the server writes,
// and its mark and prerequisites see to it that the newest epoch stays. At Route 53 a mark does
// the same, and routing controls have none; of both the node of the Region that holds the
// lease is the only one that writes, while its server may take writes by it. It is there, since
// a majority granted it the lease a moment ago; it looks before each change whether that is
// still so; and an account of AWS has few calls a second, which nodes that all write the same
// would take from each other.
type signposts struct {
	self   string
	views  *views
	status func() (control.Status, bool) // what the member knows; false: there is none yet
	note   func(context.Context, ledger.Event) error
	all    []*signpost
	cloud  cloud.Cloud

	mu    sync.Mutex // guards what follows
	since time.Time  // when this Region's role was seen to change
	epoch uint64     // of that role
}

// A keeper keeps one of them equal to what latest says, until ctx ends.
type keeper interface {
	Keep(ctx context.Context, latest func() (dns.Publication, bool), changed <-chan struct{})
	Stats() dns.PublisherStats
}

// A signpost is one of them.
type signpost struct {
	kind, name string
	targets    map[string]string // where it is to lead, by the Region that is the writer
	every      bool              // every node keeps it
	keeper     keeper            // nil: it could not be opened, or it is the metric
	teller     *primary.Teller   // of the metric

	mu    sync.Mutex // guards what follows
	last  fare
	said  fare // that an event told of
	tried time.Time
}

// newSignposts opens all that the file names. What can't be opened is refused, and the node serves
// all the same. Where the file names nothing it returns nil.
func newSignposts(ctx context.Context, d topology.Deployment, self string, c Config) (*signposts, error) {
	z := d.Control.DNS
	if z == nil || len(z.Publish) == 0 && z.Metric == nil {
		return nil, nil
	}
	n := &signposts{self: self}
	for _, p := range z.Publish {
		k := &signpost{kind: p.Kind, name: p.Label(), targets: d.Targets(p)}
		n.all = append(n.all, k)
		var err error
		switch p.Kind {
		case topology.RFC2136:
			if err = k.atServer(p, d, c); err != nil {
				return nil, err // it is the file's fault, or a secret's
			}
		case topology.Route53:
			var publisher *route53.Publisher
			if publisher, err = n.cloud.Record(ctx, p, route53.Config{Log: c.Log, Every: c.NamesEvery, Guard: n.guard, Tell: k.heard}); err == nil {
				k.keeper = publisher
			}
		case topology.ARC:
			for _, r := range d.Names() {
				k.targets[r] = r
			}
			var switches *arc.Keeper
			if switches, err = n.cloud.Keeper(ctx, p, self, arc.KeeperConfig{Log: c.Log, Every: c.NamesEvery, Guard: n.guard, Tell: k.heard}); err == nil {
				k.keeper = switches
			}
		}
		k.opened(err, c)
	}
	if z.Metric != nil {
		k := &signpost{kind: metricKind, name: primary.Metric}
		n.all = append(n.all, k)
		var err error
		k.teller, err = n.cloud.Teller(ctx, *z.Metric, d.Name, self, primary.Config{Log: c.Log, Every: c.NamesEvery, Tell: k.told})
		k.opened(err, c)
	}
	return n, nil
}

// atServer opens a name at a server of RFC 2136.
func (k *signpost) atServer(p topology.Publish, d topology.Deployment, c Config) error {
	for _, r := range d.Names() {
		k.targets[r] = r + "." + d.Control.DNS.Zone + "."
	}
	k.every = true
	key, err := keyOf(p.Key, c.Getenv)
	if err != nil {
		return err
	}
	publisher, err := dns.NewPublisher(p.Server, dotted(p.Zone), dotted(p.Name), dns.PublisherConfig{Log: c.Log, Key: key, TTL: p.TTL, Every: c.NamesEvery, Tell: k.heard})
	if err != nil {
		return fmt.Errorf("publish %s: %w", p.Name, err)
	}
	k.keeper = publisher
	return nil
}

// opened notes why something could not be.
func (k *signpost) opened(err error, c Config) {
	if err == nil {
		return
	}
	c.Log.Error("what says where the writer is can't be kept: sessions are served all the same", "name", k.name, "err", err)
	k.become(fare{state: refused, why: err.Error(), next: "mend that, and start the node anew"})
}

// role returns what this Region is, and whether that is known. It is the primary only while
// its server may take writes by the lease that was agreed on.
func (n *signposts) role() (primary.Role, bool) {
	s, ok := n.status()
	l := s.State.Lease
	if !ok || time.Since(s.At) > roleAge || l.Epoch == 0 {
		return primary.Role{}, false
	}
	return primary.Role{Epoch: l.Epoch, Primary: l.Holder == n.self && !l.Deposed && !l.Released && s.Holds == l.Epoch}, true
}

// guard fails unless this Region still is the primary, in the epoch of a publication.
func (n *signposts) guard(_ context.Context, w dns.Publication) error {
	if r, ok := n.role(); !ok || !r.Primary || r.Epoch != w.Epoch {
		return fmt.Errorf("%w in epoch %d", route53.ErrNotPrimary, w.Epoch)
	}
	return nil
}

// latest returns what one of them is to say; false: it is not this node's to say.
func (n *signposts) latest(k *signpost) (w dns.Publication, ok bool) {
	if k.every {
		state, _ := n.views.agreed()
		w = dns.Publication{Epoch: state.Lease.Epoch, Target: k.targets[state.Lease.Holder]}
		return w, w.Epoch > 0
	}
	r, known := n.role()
	w = dns.Publication{Epoch: r.Epoch, Target: k.targets[n.self]}
	return w, known && r.Primary && w.Target != ""
}

// run keeps them, until ctx ends.
func (n *signposts) run(ctx context.Context, log func(string, ...any)) {
	defer n.cloud.Close()
	var keeping sync.WaitGroup
	defer keeping.Wait()
	var told []chan struct{}
	for _, k := range n.all {
		changed := make(chan struct{}, 1)
		switch {
		case k.teller != nil:
			told = append(told, changed)
			keeping.Go(func() { k.teller.Keep(ctx, n.role, changed) })
		case k.keeper == nil: // it could not be opened
		case k.every:
			keeping.Go(func() { n.views.notify(ctx, changed) })
			keeping.Go(func() { k.keeper.Keep(ctx, func() (dns.Publication, bool) { return n.latest(k) }, changed) })
		default:
			told = append(told, changed)
			keeping.Go(func() { k.keeper.Keep(ctx, func() (dns.Publication, bool) { return n.latest(k) }, changed) })
		}
	}
	keeping.Go(func() { n.announce(ctx, log) })
	looks := time.NewTicker(roleEvery)
	defer looks.Stop()
	var was primary.Role
	var knew bool
	for {
		if role, known := n.role(); role != was || known != knew {
			was, knew = role, known
			n.mu.Lock()
			n.since, n.epoch = time.Now(), role.Epoch
			n.mu.Unlock()
			for _, changed := range told {
				select {
				case changed <- struct{}{}:
				default: // it says so already
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-looks.C:
		}
	}
}

// report returns how all of them fare, for members and whoever looks.
func (n *signposts) report() (out []control.Name) {
	if n == nil {
		return nil
	}
	for _, k := range n.all {
		f := n.fareOf(k)
		out = append(out, control.Name{
			Kind: k.kind, Name: k.name, State: f.state, Epoch: f.epoch, Target: f.target, Since: f.since, Why: f.why, Next: f.next,
		})
	}
	return out
}

// fareOf returns how one of them fares: idle, unless it is this node's to keep.
func (n *signposts) fareOf(k *signpost) fare {
	k.mu.Lock()
	f := k.last
	k.mu.Unlock()
	if k.keeper == nil && k.teller == nil {
		return f
	}
	if k.teller != nil {
		if _, known := n.role(); !known {
			return notOurs("it is not known which Region is the primary, so nothing is told", f)
		}
		return f.orPending()
	}
	w, ours := n.latest(k)
	switch {
	case !ours && !k.every && k.targets[n.self] == "":
		return notOurs("this Region is no place that it leads to", f)
	case !ours && k.every:
		return notOurs("nobody holds a lease", f)
	case !ours:
		return notOurs("the Region that holds the lease keeps it, and this one does not", f)
	case f.epoch != w.Epoch && f.state != refused:
		return fare{state: pending, since: n.begun(w.Epoch), why: "it is being published", next: waitAMoment}.of(w)
	}
	return f.orPending()
}

// begun returns since when an epoch is known of here.
func (n *signposts) begun(epoch uint64) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.epoch != epoch {
		return time.Now() // that is seen in a moment
	}
	return n.since
}

// stats returns what was done about one of them.
func (k *signpost) stats() dns.PublisherStats {
	switch {
	case k.teller != nil:
		return k.teller.Stats()
	case k.keeper != nil:
		return k.keeper.Stats()
	}
	return dns.PublisherStats{}
}

// announce has events tell of how they fare, while this Region is the primary: once an epoch
// that one is published, once that it is refused, and once that it is pending for too long.
// What members can't agree on now is told when they can.
func (n *signposts) announce(ctx context.Context, log func(string, ...any)) {
	looks := time.NewTicker(time.Second)
	defer looks.Stop()
	for {
		if role, ok := n.role(); ok && role.Primary {
			for _, k := range n.all {
				n.announceOne(ctx, k, role.Epoch, log)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-looks.C:
		}
	}
}

const (
	// pendingLong is how long something may be pending before an event tells of it.
	pendingLong = 2 * time.Minute
	// noteEvery is how often one of them is told of at most, and an event tried again.
	noteEvery = 10 * time.Second
	// noteTimeout is how long members may take to agree on an event.
	noteTimeout = 3 * time.Second
)

func (n *signposts) announceOne(ctx context.Context, k *signpost, epoch uint64, log func(string, ...any)) {
	f := n.fareOf(k)
	k.mu.Lock()
	said, tried := k.said, k.tried
	k.mu.Unlock()
	again := f.state == said.state && (f.state != published || f.epoch == said.epoch || k.teller != nil)
	switch now := time.Now(); {
	case again || f.state == idle || now.Sub(tried) < noteEvery:
		return
	case f.state == published && k.teller != nil && said.state == "":
		return // all the time, and nobody needs to know
	case f.state == pending && now.Sub(f.since) < pendingLong:
		return
	}
	text := f.event(k.name)
	k.mu.Lock()
	k.tried = time.Now()
	k.mu.Unlock()
	state, _ := n.views.agreed()
	if !slices.ContainsFunc(state.Events, sameNote(n.self, epoch, text)) { // else it was told before a restart
		asking, cancel := context.WithTimeout(ctx, noteTimeout)
		err := n.note(asking, ledger.Event{At: time.Now(), Kind: ledger.KindNames, Region: n.self, Epoch: epoch, Text: text})
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				log("an event is not told yet", "text", text, "err", err)
			}
			return
		}
	}
	k.mu.Lock()
	k.said = f
	k.mu.Unlock()
}
