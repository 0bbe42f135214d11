package lab

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/dns"
	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/lease"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/pause"
	"github.com/roam-sessions/roam/internal/steered"
)

const (
	// linksPort and apiPort are where members reach each other in the lab's own network.
	linksPort, apiPort = "7200", "7300"
	// zoneName is the private zone, and writerName the name in it that leads to the writer.
	zoneName, writerName = "session.internal", "write.session.internal"
	// cooldown and mostFailovers are what the judge is held back by. Who plays with a demo
	// kills more primaries in an hour than break in years, so it is not to bide its time.
	cooldown, mostFailovers = 5 * time.Second, 32
	failoversIn             = 10 * time.Minute
	// namesTimeout bounds a question about a name, on loopback.
	namesTimeout = 500 * time.Millisecond
	// endTime is how long the name server may take to end.
	endTime = time.Second
)

// A seat is the part of a Region's process that has to do with the control plane: a member
// of it, which steers the Region's server, and a server that answers for the zone. What is
// agreed it tells the Region's store and engines.
type seat struct {
	deployment *deployment
	natively   *natively
	region     *region
	store      *roam.Store
	main       *valkey.Engine
	news       *news
	heads      chan head // holds the one that is to be followed next

	steered    *steered.Server
	names      *dns.Server
	links, api net.Listener
	web        http.Server
	work       sync.WaitGroup
	stop       context.CancelFunc
	member     atomic.Pointer[control.Member] // nil: it is being opened
	answer     atomic.Pointer[answer]         // nil: nobody was asked yet
	renewed    atomic.Int64                   // when a renewal was agreed last, by the deployment's clock
	view       ledger.State                   // that was told last; follows's goroutine's
}

// leaseConfig is how long things take: what they take in production.
func leaseConfig() lease.Config { return lease.Config{}.WithDefaults() }

// An answer is what a Region's name server said of the writer's name.
type answer struct {
	dns.Answer
	err error
}

// sit takes a Region's seat. Ctx bounds it, as close does.
func (n *natively) sit(ctx context.Context, r *region, store *roam.Store, o own) (*seat, error) {
	d := n.servers.deployment
	s := &seat{deployment: d, natively: n, region: r, store: store, news: o.news, heads: make(chan head, 1)}
	s.main, _ = o.main.(*valkey.Engine)
	ctx, s.stop = context.WithCancel(ctx)
	s.steered = steered.New(steered.Config{
		Self: r.name, At: n.at(r), Log: d.lab.config.Log.With("region", r.name),
		Open: func(ctx context.Context, to string) (engine.Engine, error) {
			return n.call(ctx, route{r, d.region(to)})
		},
	})
	err := s.steered.Open(s.main)
	if err == nil {
		err = s.answers(ctx)
	}
	if err == nil {
		s.links, err = d.net.members.Listen(r.name, linksPort)
	}
	if err == nil {
		s.api, err = d.net.members.Listen(r.name, apiPort)
	}
	if err != nil {
		return s, fmt.Errorf("seat of %s: %w", r.name, err)
	}
	s.follow(head{region: d.regionByID(store.Primary())})
	s.work.Go(func() { s.measure(ctx) })
	s.work.Go(func() { s.ask(ctx) })
	s.work.Go(func() { s.run(ctx) })
	return s, nil
}

// answers begins to answer for the zone, until ctx ends.
func (s *seat) answers(ctx context.Context) (err error) {
	s.names, err = dns.Start(ctx, zoneName, dns.Config{Listen: []string{"127.0.0.1:0"}, Workers: 1, Log: s.deployment.lab.config.Log})
	if err != nil {
		return err
	}
	s.work.Go(func() {
		<-ctx.Done()
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
		defer cancel()
		_ = s.names.Shutdown(ending) // what is left is cut off
	})
	return nil
}

// run is the member until ctx ends.
func (s *seat) run(ctx context.Context) {
	d, log := s.deployment, s.deployment.lab.config.Log.With("region", s.region.name)
	c := control.Config{
		Deployment: "demo", Self: s.region.name, Dir: filepath.Join(s.natively.dir, s.region.name),
		Setup: ledger.Setup{Leases: true, Primary: places()[0].name}, Listener: s.links,
		Dial: d.net.dialMember(s.region.name), Server: s.steered.Control(), Lease: leaseConfig(), Version: "demo", Log: log,
		Judge: judge.Config{Cooldown: cooldown, MaxFailovers: mostFailovers, Window: failoversIn},
		Serve: func(h http.Handler) {
			s.web.Handler = h
			s.work.Go(func() { _ = s.web.Serve(s.api) }) // until it is closed
		},
	}
	for _, r := range d.regions {
		c.Setup.Regions, c.Judge.Regions = append(c.Setup.Regions, r.name), append(c.Judge.Regions, r.name)
		c.Members = append(c.Members, control.Peer{
			Name: r.name, ID: uint64(r.id), Links: net.JoinHostPort(r.name, linksPort), API: net.JoinHostPort(r.name, apiPort),
		})
	}
	m, err := control.Open(ctx, c)
	if err != nil {
		if ctx.Err() == nil {
			log.Error("this Region takes no part in the control plane", "err", err)
		}
		_ = s.links.Close() // it may be closed already
		return
	}
	s.member.Store(m)
	for ctx.Err() == nil {
		state, changed := m.State()
		s.apply(state)
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
	if err := m.Close(); err != nil {
		log.Warn("close the member", "err", err)
	}
}

// apply does what is agreed: engines first, so that whoever is sent to the new primary
// finds it ready.
func (s *seat) apply(state ledger.State) {
	if state.Setup.Version == 0 {
		return
	}
	d, was := s.deployment, s.view
	s.view = state
	if state.Lease.Renewals != was.Lease.Renewals && was.Setup.Version > 0 {
		s.renewed.Store(int64(time.Since(d.begun)))
	}
	s.region.agreed.Store(&state)
	d.hear(state)
	if was.Setup.Version > 0 && was.Lease.Epoch == state.Lease.Epoch && was.Handover == state.Handover {
		return
	}
	s.main.Under(epochOf(state, s.region))
	for _, to := range d.byDistance(s.region) {
		s.natively.servers.routes[route{s.region, to}].main.Under(epochOf(state, to))
	}
	primary := d.region(state.Lease.Holder)
	var next crdt.Region
	if state.Handover.Pending() {
		next = d.region(state.Handover.To).id
	}
	if err := s.store.SetPrimary(primary.id, next); err != nil {
		d.lab.config.Log.Error("a store was not told of the primary", "region", s.region.name, "err", err)
	}
	if was.Lease.Holder != state.Lease.Holder {
		planned := !state.Lease.Unplanned && was.Lease.Holder != "" && was.Lease.Holder != s.region.name
		s.follow(head{region: primary, kept: planned})
	}
	if err := s.names.Update(s.natively.zone(state)); err != nil {
		d.lab.config.Log.Error("names are not brought up to date", "region", s.region.name, "err", err)
	}
}

// epochOf returns the epoch that a Region's server must hold the lease of. That of the
// target of a switchover is known before its server has it.
func epochOf(s ledger.State, r *region) uint64 {
	if s.Handover.Pending() && s.Handover.To == r.name {
		return s.Handover.Epoch
	}
	return s.Lease.Epoch
}

// zone returns what there is to answer.
func (n *natively) zone(s ledger.State) dns.View {
	here := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	v := dns.View{
		Epoch: s.Lease.Epoch, Writer: s.Lease.Holder,
		Nameservers: []dns.Nameserver{{Name: "ns." + zoneName, Addrs: here}},
	}
	for _, r := range n.servers.deployment.regions {
		v.Regions = append(v.Regions, dns.Region{
			Name: r.name, Endpoint: dns.Endpoint{Addrs: here}, Port: uint16(number(n.main(r).Port())), //nolint:gosec // a port
		})
	}
	return v
}

// ask asks the Region's name server for the writer, until ctx ends.
func (s *seat) ask(ctx context.Context) {
	for ctx.Err() == nil {
		said, err := dns.Ask(ctx, s.names.Addrs()[0].String(), writerName, namesTimeout)
		s.answer.Store(&answer{said, err})
		pause.For(ctx, sampleEvery) // the loop looks at ctx
	}
}

// holds reports whether the Region's server may have the lease of an epoch.
func (s *seat) holds(epoch uint64) bool {
	m := s.member.Load()
	return m != nil && m.Status().Holds == epoch
}

// close leaves the seat, and returns when nothing of it runs any more.
func (s *seat) close() {
	if s == nil {
		return
	}
	s.stop()
	_ = s.web.Close() // nobody is left to answer
	s.work.Wait()
	if s.api != nil {
		_ = s.api.Close() // it is closed already, if it was ever served
	}
	s.steered.Close()
}
