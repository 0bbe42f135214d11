package elasticache

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/roam-sessions/roam/fakeaws/internal/relay"
	"github.com/roam-sessions/roam/internal/valkeyserver"
)

const (
	// nowhere is an address where nobody listens: who follows it takes no writes, keeps
	// what it has, and gets nothing more.
	nowhereHost, nowherePort = "127.0.0.1", "1"
	// syncEvery is between two looks at whether a secondary has its primary's state.
	syncEvery = 10 * time.Millisecond
	// mostHosts is how many addresses a Region's network has for endpoints.
	mostHosts = 254
)

// startGroup starts a group's servers and relays, and has it join its Global Datastore.
func (f *Fake) startGroup(ctx context.Context, g *group) {
	err := f.buildUp(ctx, g)
	f.mu.Lock()
	if f.groups[g.key()] != g { // closed meanwhile
		f.mu.Unlock()
		f.tearDown(g)
		return
	}
	if err != nil {
		f.config.Log.Error("replication group not created", "region", g.region, "group", g.id, "err", err)
		g.status = createFailed
		f.mu.Unlock()
		return
	}
	for i, name := range f.hostNames(g) {
		f.hosts[name] = netip.MustParseAddrPort(g.fronts[i].Addr()).Addr()
	}
	g.status = available
	joins := g.global != ""
	if joins {
		g.status = modifying
	}
	f.setPaths()
	f.mu.Unlock()
	f.align(ctx)
	f.tell(g, "CreateReplicationGroupComplete", nil)
	if joins {
		f.agenda.After(f.config.Times.Join, func(ctx context.Context) { f.finishJoin(ctx, g) })
	}
}

// buildUp starts what a group is made of. What it has begun is in g, also if it fails.
func (f *Fake) buildUp(ctx context.Context, g *group) error {
	args := []string{"--repl-diskless-sync-delay", "0", "--repl-timeout", "60", "--repl-backlog-size", "16mb"}
	if g.token != "" {
		args = append(args, "--requirepass", g.token)
	}
	for i := range g.size {
		s, err := valkeyserver.Start(ctx, f.config.Program, valkeyserver.Config{Args: args})
		if err != nil {
			return err
		}
		f.mu.Lock()
		g.nodes = append(g.nodes, &node{id: g.nodeID(i), server: s})
		f.mu.Unlock()
	}
	var secure *tls.Config
	if g.tls {
		secure = f.config.TLS
	}
	for range 2 {
		r, err := f.front(ctx, g, secure)
		if err != nil {
			return err
		}
		f.mu.Lock()
		g.fronts = append(g.fronts, r)
		f.mu.Unlock()
	}
	link, err := relay.Listen(ctx, "127.0.0.1:0", nil)
	if err != nil {
		return err
	}
	f.mu.Lock()
	g.link = link
	f.mu.Unlock()
	return nil
}

// front listens at the next address of the Region's network that has the port free.
func (f *Fake) front(ctx context.Context, g *group, secure *tls.Config) (*relay.Relay, error) {
	for {
		f.mu.Lock()
		f.lastIP[g.region]++
		n := f.lastIP[g.region]
		f.mu.Unlock()
		if n > mostHosts {
			return nil, fmt.Errorf("%s has no address left in %v", g.region, f.config.Loopback)
		}
		b := f.config.Loopback.Addr().As4()
		for i, r := range f.config.Regions {
			if r == g.region {
				b[2] = byte(i)
			}
		}
		b[3] = byte(n)
		r, err := relay.Listen(ctx, net.JoinHostPort(netip.AddrFrom4(b).String(), fmt.Sprint(g.port)), secure)
		if err == nil || !strings.Contains(err.Error(), "in use") {
			return r, err
		}
	}
}

// tearDown ends what a group is made of.
func (f *Fake) tearDown(g *group) {
	f.mu.Lock()
	nodes, relays := g.nodes, g.fronts
	if g.link != nil {
		relays = append(relays, g.link)
	}
	for _, name := range f.hostNames(g) {
		delete(f.hosts, name)
	}
	f.mu.Unlock()
	var err error
	for _, r := range relays {
		err = errors.Join(err, r.Close())
	}
	for _, n := range nodes {
		err = errors.Join(err, n.server.Stop())
	}
	if err != nil {
		f.config.Log.Warn("replication group left something", "region", g.region, "group", g.id, "err", err)
	}
}

// An order has a server follow another one, or nobody.
type order struct {
	server               *valkeyserver.Server
	token                string // its own
	host, port           string // "" is nobody
	theirToken, whatItIs string
}

// align gives every server that can be reached the order that fits what is decided, and
// leads the relays there. It may be called at any time, and again.
func (f *Fake) align(ctx context.Context) {
	select {
	case f.turn <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-f.turn }()
	f.mu.Lock()
	var orders []order
	for _, g := range f.groups {
		if g.link == nil || g.status == createFailed {
			continue // not there yet
		}
		f.leadTo(g)
		if f.dark[g.region] {
			continue // SetDark makes up for it
		}
		orders = append(orders, f.ordersFor(g)...)
	}
	f.mu.Unlock()
	for _, o := range orders {
		if err := o.give(ctx); err != nil && ctx.Err() == nil {
			f.config.Log.Warn("server not told whom to follow", "node", o.whatItIs, "err", err)
		}
	}
}

// leadTo leads a group's relays. The caller holds the lock.
func (f *Fake) leadTo(g *group) {
	primary := g.nodes[g.primary].server.Addr()
	reader := primary
	if len(g.nodes) > 1 {
		reader = g.nodes[(g.primary+1)%len(g.nodes)].server.Addr()
	}
	g.fronts[0].Lead(primary)
	g.fronts[1].Lead(reader)
	if from, ok := f.source(g); ok && len(from.nodes) > 0 {
		g.link.Lead(from.nodes[from.primary].server.Addr())
	}
}

// ordersFor are the orders for a group's servers. The caller holds the lock.
func (f *Fake) ordersFor(g *group) []order {
	var out []order
	primary := g.nodes[g.primary]
	for i, n := range g.nodes {
		o := order{server: n.server, token: g.token, whatItIs: n.id}
		from, secondary := f.source(g)
		switch {
		case i != g.primary:
			o.host, o.port, o.theirToken = "127.0.0.1", primary.server.Port(), g.token
		case g.frozen:
			o.host, o.port = nowhereHost, nowherePort
		case secondary:
			o.host, o.port, _ = strings.Cut(g.link.Addr(), ":")
			o.theirToken = from.token
		}
		out = append(out, o)
	}
	return out
}

// give gives an order.
func (o order) give(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	var commands [][]string
	if o.token != "" {
		commands = append(commands, []string{"AUTH", o.token})
	}
	commands = append(commands, []string{"CONFIG", "SET", "masterauth", o.theirToken})
	if o.host == "" {
		commands = append(commands, []string{"REPLICAOF", "NO", "ONE"})
	} else {
		commands = append(commands, []string{"REPLICAOF", o.host, o.port})
	}
	_, err := o.server.DoAll(ctx, commands...)
	return err
}

// synced waits until a group's primary has what the one that it follows has. It returns
// false if ctx ends before.
func (f *Fake) synced(ctx context.Context, g *group) bool {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		f.mu.Lock()
		n, token := g.nodes[g.primary], g.token
		_, follows := f.source(g)
		gone := f.groups[g.key()] != g
		f.mu.Unlock()
		if gone || !follows {
			return !gone
		}
		commands := [][]string{{"INFO", "replication"}}
		if token != "" {
			commands = append([][]string{{"AUTH", token}}, commands...)
		}
		replies, err := n.server.DoAll(ctx, commands...)
		if err == nil && strings.Contains(replies[len(replies)-1], "master_link_status:up") {
			return true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}
