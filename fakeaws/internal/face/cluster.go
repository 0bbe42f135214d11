package face

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Slots is how many slots the keys of a cluster are in.
const Slots = 16384

// A Cluster is what its nodes know of it. Whoever has shown it changes it no more.
type Cluster struct {
	// Shards have all slots between them, in order.
	Shards []Shard
	// TLS says that its nodes speak it to clients.
	TLS bool
	// Names has clients told names of nodes, not addresses.
	Names bool
}

// A Shard is the nodes that have some slots.
type Shard struct {
	// First and Last are its slots.
	First, Last int
	// Primary says which of Nodes takes writes.
	Primary int
	Nodes   []Node
}

// A Node is one server of a cluster, and where clients find it.
type Node struct {
	// ID has 40 hexadecimal digits.
	ID string
	// Name is the host's.
	Name string
	// IP is the host's address.
	IP string
	// Port is where clients connect.
	Port int
}

// A view is a cluster as one of its nodes sees it.
type view struct {
	Cluster
	shard, node int // its own place; -1 if it has none
}

func newView(c Cluster, me string) *view {
	for i, s := range c.Shards {
		for j, n := range s.Nodes {
			if n.ID == me {
				return &view{c, i, j}
			}
		}
	}
	return &view{c, -1, -1}
}

// owner returns which shard has a slot; -1 if none has.
func (v *view) owner(slot int) int {
	return slices.IndexFunc(v.Shards, func(s Shard) bool { return s.First <= slot && slot <= s.Last })
}

// moved is the error that leads to the primary of a slot.
func (v *view) moved(slot int) string {
	i := v.owner(slot)
	if i < 0 {
		return "-CLUSTERDOWN Hash slot not served\r\n"
	}
	n := v.Shards[i].Nodes[v.Shards[i].Primary]
	return fmt.Sprintf("-MOVED %d %s:%d\r\n", slot, v.endpoint(n), n.Port)
}

func (v *view) endpoint(n Node) string {
	if v.Names {
		return n.Name
	}
	return n.IP
}

// replica reports whether the node follows another one of its shard.
func (v *view) replica() bool { return v.shard >= 0 && v.Shards[v.shard].Primary != v.node }

// A reply is one that is being written, in RESP2 or RESP3.
type reply struct {
	out   []byte
	three bool
}

func (r *reply) put(format string, args ...any) { r.out = fmt.Appendf(r.out, format, args...) }

func (r *reply) list(n int) { r.put("*%d\r\n", n) }

// table begins a map of n pairs, which RESP2 has as a list.
func (r *reply) table(n int) {
	if r.three {
		r.put("%%%d\r\n", n)
		return
	}
	r.list(2 * n)
}

func (r *reply) number(n int) { r.put(":%d\r\n", n) }

func (r *reply) bulk(texts ...string) {
	for _, t := range texts {
		r.put("$%d\r\n%s\r\n", len(t), t)
	}
}

// text writes what people read.
func (r *reply) text(t string) {
	if r.three {
		r.put("=%d\r\ntxt:%s\r\n", len("txt:")+len(t), t)
		return
	}
	r.bulk(t)
}

// tell answers a subcommand of CLUSTER, which the server was sent and has let pass.
func (v *view) tell(args [][]byte, three bool) []byte {
	r := &reply{three: three}
	sub := strings.ToUpper(string(args[1]))
	switch {
	case v.shard < 0:
		r.put("-CLUSTERDOWN the node is in no cluster\r\n")
	case sub == "SLOTS":
		v.tellSlots(r)
	case sub == "SHARDS":
		v.tellShards(r)
	case sub == "NODES":
		r.text(v.nodes())
	case sub == "INFO":
		r.text(v.info())
	case sub == "MYID":
		r.bulk(v.Shards[v.shard].Nodes[v.node].ID)
	case sub == "KEYSLOT":
		r.number(Slot(args[2])) // the server has looked at how many there are
	default:
		r.put("-ERR CLUSTER %.40q is not known to fakeaws\r\n", sub)
	}
	return r.out
}

// inOrder are a shard's nodes, the primary first.
func (s Shard) inOrder() []Node {
	return slices.Concat(s.Nodes[s.Primary:s.Primary+1], s.Nodes[:s.Primary], s.Nodes[s.Primary+1:])
}

func (v *view) tellSlots(r *reply) {
	r.list(len(v.Shards))
	for _, s := range v.Shards {
		r.list(2 + len(s.Nodes))
		r.number(s.First)
		r.number(s.Last)
		for _, n := range s.inOrder() {
			r.list(4)
			r.bulk(v.endpoint(n))
			r.number(n.Port)
			r.bulk(n.ID)
			r.table(1)
			if v.Names {
				r.bulk("ip", n.IP)
			} else {
				r.bulk("hostname", n.Name)
			}
		}
	}
}

func (v *view) tellShards(r *reply) {
	r.list(len(v.Shards))
	for _, s := range v.Shards {
		r.table(2)
		r.bulk("slots")
		r.list(2)
		r.number(s.First)
		r.number(s.Last)
		r.bulk("nodes")
		r.list(len(s.Nodes))
		for i, n := range s.inOrder() {
			port, role := "port", "replica"
			if v.TLS {
				port = "tls-port"
			}
			if i == 0 {
				role = "master"
			}
			r.table(8)
			r.bulk("id", n.ID, port)
			r.number(n.Port)
			r.bulk("ip", n.IP, "endpoint", v.endpoint(n), "hostname", n.Name, "role", role, "replication-offset")
			r.number(0)
			r.bulk("health", "online")
		}
	}
}

func (v *view) nodes() string {
	var b strings.Builder
	for i, s := range v.Shards {
		for j, n := range s.Nodes {
			flags, of, slots := "master", "-", fmt.Sprintf(" %d-%d", s.First, s.Last)
			if j != s.Primary {
				flags, of, slots = "slave", s.Nodes[s.Primary].ID, ""
			}
			if i == v.shard && j == v.node {
				flags = "myself," + flags
			}
			fmt.Fprintf(&b, "%s %s:%d@%d,%s %s %s 0 0 %d connected%s\n", n.ID, n.IP, n.Port, n.Port+10000, n.Name, flags, of, i+1, slots)
		}
	}
	return b.String()
}

func (v *view) info() string {
	nodes := 0
	for _, s := range v.Shards {
		nodes += len(s.Nodes)
	}
	return fmt.Sprintf("cluster_state:ok\r\ncluster_slots_assigned:%d\r\ncluster_slots_ok:%d\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:0\r\n"+
		"cluster_known_nodes:%d\r\ncluster_size:%d\r\ncluster_current_epoch:%d\r\ncluster_my_epoch:%d\r\n",
		Slots, Slots, nodes, len(v.Shards), len(v.Shards), v.shard+1)
}

// Slot returns the slot of a key: that of what is between its first { and the } after it, if
// there is anything, and else of all of it.
func Slot(key []byte) int {
	if _, after, ok := bytes.Cut(key, []byte("{")); ok {
		if tag, _, ok := bytes.Cut(after, []byte("}")); ok && len(tag) > 0 {
			key = tag
		}
	}
	// CRC16 as XMODEM has it, which the specification of clusters names: 0x1021, from 0.
	crc := uint16(0)
	for _, b := range key {
		crc ^= uint16(b) << 8
		for range 8 {
			carry := crc&0x8000 != 0
			crc <<= 1
			if carry {
				crc ^= 0x1021
			}
		}
	}
	return int(crc) % Slots
}
