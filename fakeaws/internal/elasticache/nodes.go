package elasticache

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/roam-sessions/roam/fakeaws/internal/face"
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
	for _, e := range g.endpoints {
		f.hosts[e.name] = e.addr()
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
	for _, s := range g.shards {
		if err := f.buildShard(ctx, g, s); err != nil {
			return err
		}
	}
	var secure *tls.Config
	if g.tls {
		secure = f.config.TLS
	}
	for _, e := range g.plan() {
		r, err := f.front(ctx, g, secure)
		if err != nil {
			return err
		}
		f.mu.Lock()
		e.relay = r
		g.endpoints = append(g.endpoints, e)
		f.mu.Unlock()
	}
	f.mu.Lock()
	g.up = true
	f.mu.Unlock()
	return nil
}

// buildShard starts a shard's servers, and its way to another Region's.
func (f *Fake) buildShard(ctx context.Context, g *group, s *shard) error {
	args := []string{"--repl-diskless-sync-delay", "0", "--repl-timeout", "60", "--repl-backlog-size", "16mb"}
	if g.token != "" {
		args = append(args, "--requirepass", g.token)
	}
	for _, id := range g.nodeIDs(s) {
		server, err := valkeyserver.Start(ctx, f.config.Program, valkeyserver.Config{Args: args})
		if err != nil {
			return err
		}
		n := &node{id: id, server: server}
		f.mu.Lock()
		s.nodes = append(s.nodes, n)
		f.mu.Unlock()
		if !g.cluster {
			continue
		}
		spoken, err := face.Listen(ctx, server.Addr(), g.token)
		if err != nil {
			return err
		}
		f.mu.Lock()
		n.face = spoken
		f.mu.Unlock()
	}
	link, err := relay.Listen(ctx, "127.0.0.1:0", nil)
	if err != nil {
		return err
	}
	f.mu.Lock()
	s.link = link
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

// tearDown ends what a group is made of, that which clients see first.
func (f *Fake) tearDown(g *group) {
	f.mu.Lock()
	var relays, faces []io.Closer
	var servers []*valkeyserver.Server
	for _, e := range g.endpoints {
		relays = append(relays, e.relay)
		delete(f.hosts, e.name)
	}
	for _, s := range g.shards {
		if s.link != nil {
			relays = append(relays, s.link)
		}
		for _, n := range s.nodes {
			servers = append(servers, n.server)
			if n.face != nil {
				faces = append(faces, n.face)
			}
		}
	}
	f.mu.Unlock()
	var err error
	for _, c := range slices.Concat(relays, faces) {
		err = errors.Join(err, c.Close())
	}
	for _, s := range servers {
		err = errors.Join(err, s.Stop())
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
		if !g.up || g.status == createFailed {
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

// leadTo leads a group's relays, and its nodes if it is a cluster. The caller holds the lock.
func (f *Fake) leadTo(g *group) {
	f.show(g)
	for _, e := range g.endpoints {
		e.relay.Lead(e.leads().addr())
	}
	if from, ok := f.source(g); ok && from.up {
		for i, s := range g.shards {
			s.link.Lead(from.shards[i].leader().server.Addr())
		}
	}
}

// ordersFor are the orders for a group's servers. The caller holds the lock.
func (f *Fake) ordersFor(g *group) []order {
	var out []order
	from, secondary := f.source(g)
	for _, s := range g.shards {
		for i, n := range s.nodes {
			o := order{server: n.server, token: g.token, whatItIs: n.id}
			switch {
			case i != s.primary:
				o.host, o.port, o.theirToken = "127.0.0.1", s.leader().server.Port(), g.token
			case g.frozen:
				o.host, o.port = nowhereHost, nowherePort
			case secondary:
				o.host, o.port, _ = strings.Cut(s.link.Addr(), ":")
				o.theirToken = from.token
			}
			out = append(out, o)
		}
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

// synced waits until a group's primaries have what those have that they follow. It returns
// false if ctx ends before.
func (f *Fake) synced(ctx context.Context, g *group) bool {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		f.mu.Lock()
		var primaries []*valkeyserver.Server
		for _, s := range g.shards {
			primaries = append(primaries, s.leader().server)
		}
		token := g.token
		_, follows := f.source(g)
		gone := f.groups[g.key()] != g
		f.mu.Unlock()
		if gone || !follows {
			return !gone
		}
		if !slices.ContainsFunc(primaries, func(s *valkeyserver.Server) bool { return !linked(ctx, s, token) }) {
			return true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// linked reports whether a server has what the one has that it follows.
func linked(ctx context.Context, s *valkeyserver.Server, token string) bool {
	commands := [][]string{{"INFO", "replication"}}
	if token != "" {
		commands = append([][]string{{"AUTH", token}}, commands...)
	}
	replies, err := s.DoAll(ctx, commands...)
	return err == nil && strings.Contains(replies[len(replies)-1], "master_link_status:up")
}
