package elasticache

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"github.com/roam-sessions/roam/fakeaws/internal/face"
	"github.com/roam-sessions/roam/fakeaws/internal/relay"
	"github.com/roam-sessions/roam/internal/valkeyserver"
)

// A shard is the nodes that have some of a group's keys. With cluster mode disabled a group has
// one, and that has all.
type shard struct {
	number  int // from 1
	primary int // among nodes
	nodes   []*node
	link    *relay.Relay // by which its primary follows that of another Region
}

// A node is one server.
type node struct {
	id     string
	server *valkeyserver.Server
	// Of clusters alone: what speaks for the server, and where clients find it.
	face *face.Face
	at   *endpoint
}

// An endpoint is a name, an address, and the node that they lead to for now.
type endpoint struct {
	name  string
	relay *relay.Relay
	leads func() *node
}

func (e *endpoint) addr() netip.Addr { return netip.MustParseAddrPort(e.relay.Addr()).Addr() }

// addr is where whoever is led to a node connects.
func (n *node) addr() string {
	if n.face != nil {
		return n.face.Addr()
	}
	return n.server.Addr()
}

func (s *shard) leader() *node { return s.nodes[s.primary] }

// reader is a node that follows the primary, or the primary if there is none.
func (s *shard) reader() *node { return s.nodes[(s.primary+1)%len(s.nodes)] }

// id is what the API calls a shard.
func (s *shard) id() string { return fmt.Sprintf("%04d", s.number) }

// slots returns the first and the last slot of a shard, of so many.
func (s *shard) slots(of int) (first, last int) {
	return (s.number - 1) * face.Slots / of, s.number*face.Slots/of - 1
}

// keyspace is how the API tells slots.
func (s *shard) keyspace(of int) string {
	first, last := s.slots(of)
	return fmt.Sprintf("%d-%d", first, last)
}

// size is how many nodes a group is to have.
func (g *group) size() int { return len(g.shards) * g.perShard }

// nodeID is what the i-th node of a shard is called.
func (g *group) nodeID(s *shard, i int) string {
	if g.cluster {
		return fmt.Sprintf("%s-%s-%03d", g.id, s.id(), i+1)
	}
	return fmt.Sprintf("%s-%03d", g.id, i+1)
}

// host is a name of a group's endpoints. With TLS it is one of the group's own domain, and
// else the group's or the node's among all of the Region.
func (g *group) host(secure, plain string) string {
	const suffix = ".cache.amazonaws.com"
	if g.tls {
		return fmt.Sprintf("%s.%s.fakeaw.%s%s", secure, g.id, short(g.region), suffix)
	}
	return fmt.Sprintf("%s.%s%s", plain, short(g.region), suffix)
}

// plan returns the endpoints of a group whose servers run: the primary's and the reader's, or of
// a cluster the one that leads to some node, and one of each node.
func (g *group) plan() []*endpoint {
	first := g.shards[0]
	if !g.cluster {
		return []*endpoint{
			{name: g.host("master", g.id+".fakeaw.ng.0001"), leads: first.leader},
			{name: g.host("replica", g.id+"-ro.fakeaw.ng.0001"), leads: first.reader},
		}
	}
	out := []*endpoint{{name: g.host("clustercfg", g.id+".fakeaw.clustercfg"), leads: first.leader}}
	for _, s := range g.shards {
		for _, n := range s.nodes {
			n.at = &endpoint{name: g.host(n.id, n.id+".fakeaw.0001"), leads: func() *node { return n }}
			out = append(out, n.at)
		}
	}
	return out
}

// show has the nodes of a cluster know what it is like. The caller holds the lock.
func (f *Fake) show(g *group) {
	if !g.cluster {
		return
	}
	c := face.Cluster{TLS: g.tls, Names: g.tls && !f.config.PlainAddresses}
	for _, s := range g.shards {
		first, last := s.slots(len(g.shards))
		told := face.Shard{First: first, Last: last, Primary: s.primary}
		for _, n := range s.nodes {
			told.Nodes = append(told.Nodes, face.Node{ID: f.clusterID(g, n), Name: n.at.name, IP: n.at.addr().String(), Port: g.port})
		}
		c.Shards = append(c.Shards, told)
	}
	for _, s := range g.shards {
		for _, n := range s.nodes {
			n.face.Show(c, f.clusterID(g, n))
		}
	}
}

// clusterID is what a node is called by those of its cluster.
func (f *Fake) clusterID(g *group, n *node) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{f.config.Account, g.region, n.id}, " ")))
	return hex.EncodeToString(sum[:20])
}
