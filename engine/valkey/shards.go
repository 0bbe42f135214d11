package valkey

import (
	"context"
	"fmt"
	"maps"
	"math/bits"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// A shard is a part of a cluster: the primary and the replicas of some slots.
type shard struct {
	primary    string // its address
	replicas   []string
	partitions uint64 // a bit for each whose slot it has
}

// everything is all partitions.
const everything = ^uint64(0)

// shards returns the parts of a cluster that have partitions, as a node of it sees
// them.
func (e *Engine) shards(ctx context.Context) ([]shard, error) {
	reply, err := e.askShards(ctx)
	if err != nil {
		return nil, e.failed(ctx, err)
	}
	host, _, _ := net.SplitHostPort(e.config.Addrs[0]) // it was connected to
	all, err := parseShards(reply, host, e.config.TLS != nil, e.slots())
	if err != nil {
		return nil, err
	}
	return all, nil
}

const (
	// shardsSoon is for how long one node is waited for that is asked which shards there are,
	// shardsTime for how long any.
	shardsSoon = 200 * time.Millisecond
	shardsTime = time.Second
)

// askShards asks some node of a cluster, and all others at once if it fails or is slow: it
// may have died, and each of them knows.
func (e *Engine) askShards(ctx context.Context) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, shardsTime)
	defer cancel()
	others := slices.Collect(maps.Values(e.byAddress()))
	answers, asked := make(chan valkey.ValkeyResult, 1+len(others)), 0
	ask := func(nodes ...valkey.Client) {
		for _, node := range nodes {
			if e.aside(func() { answers <- node.Do(ctx, node.B().ClusterShards().Build()) }) {
				asked++
			}
		}
	}
	ask(e.client())
	soon := time.NewTimer(shardsSoon)
	defer soon.Stop()
	for failed := valkey.ErrClosing; ; {
		select {
		case answer := <-answers:
			reply, err := answer.ToAny()
			if err == nil {
				return reply, nil
			}
			failed, asked = err, asked-1
		case <-soon.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		ask(others...)
		if others = nil; asked == 0 {
			return nil, failed
		}
	}
}

// whole returns the parts of a cluster as shards does, and fails where a partition has no
// primary: for what counts only if it is of all of them.
func (e *Engine) whole(ctx context.Context) ([]shard, error) {
	all, err := e.shards(ctx)
	if err != nil {
		return nil, err
	}
	var have uint64
	for _, s := range all {
		have |= s.partitions
	}
	if have != everything {
		return nil, fmt.Errorf("%w: %d of %d partitions have no primary in its cluster", engine.ErrUnreachable,
			crdt.Partitions-bits.OnesCount64(have), crdt.Partitions)
	}
	return all, nil
}

// slots returns the slot of each partition.
func (e *Engine) slots() (out [crdt.Partitions]int64) {
	for p := range uint16(crdt.Partitions) {
		c := e.client().B().Get().Key(partitionKey(metaKeys, p)).Build()
		out[p] = int64(c.Slot())
	}
	return out
}

// parseShards reads a reply to CLUSTER SHARDS. A node that does not say where it is, is
// at host. What is no shard is passed over, and an error if there is nothing else: a
// later server may tell more.
func parseShards(reply any, host string, overTLS bool, slots [crdt.Partitions]int64) ([]shard, error) {
	list, _ := reply.([]any)
	var out []shard
	for _, one := range list {
		of := pairs(one)
		s := shard{partitions: partitionsIn(of["slots"], slots)}
		nodes, _ := of["nodes"].([]any)
		for _, node := range nodes {
			n := pairs(node)
			addr := nodeAddress(n, host, overTLS)
			switch {
			case n["health"] != "online" || addr == "":
			case n["role"] == "master":
				s.primary = addr
			default:
				s.replicas = append(s.replicas, addr)
			}
		}
		if s.partitions != 0 && s.primary != "" {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: its cluster has no shard with a primary", engine.ErrUnavailable)
	}
	return out, nil
}

// partitionsIn returns the partitions whose slots are in a list of first and last ones.
func partitionsIn(ranges any, slots [crdt.Partitions]int64) (mask uint64) {
	list, _ := ranges.([]any)
	for ; len(list) >= 2; list = list[2:] {
		first, ok := list[0].(int64)
		last, also := list[1].(int64)
		for p, slot := range slots {
			if ok && also && first <= slot && slot <= last {
				mask |= 1 << p
			}
		}
	}
	return mask
}

// nodeAddress returns where a node of a cluster is; empty if that can't be known.
func nodeAddress(n map[string]any, host string, overTLS bool) string {
	port, ok := n["port"].(int64)
	if tls, also := n["tls-port"].(int64); overTLS && also && tls > 0 {
		port, ok = tls, true
	}
	for _, key := range []string{"ip", "endpoint"} {
		if name, is := n[key].(string); is && name != "" && name != "?" {
			host = name
		}
	}
	if !ok || port <= 0 || host == "" {
		return ""
	}
	return net.JoinHostPort(host, strconv.FormatInt(port, 10))
}

// pairs returns a list of names and values, or a map, as a map.
func pairs(x any) map[string]any {
	if m, ok := x.(map[string]any); ok {
		return m
	}
	list, _ := x.([]any)
	out := make(map[string]any, len(list)/2)
	for ; len(list) >= 2; list = list[2:] {
		if name, ok := list[0].(string); ok {
			out[name] = list[1]
		}
	}
	return out
}

// Cluster reports whether the engine is on a cluster.
func (e *Engine) Cluster() bool { return e.client().Mode() == valkey.ClientModeCluster }

// primaries returns a client for each primary that there is of a cluster, and the one there
// is otherwise, by its address.
func (e *Engine) primaries(ctx context.Context) (map[string]valkey.Client, error) {
	return e.primariesOf(ctx, e.shards)
}

// allPrimaries is primaries that fails where a partition has none.
func (e *Engine) allPrimaries(ctx context.Context) (map[string]valkey.Client, error) {
	return e.primariesOf(ctx, e.whole)
}

func (e *Engine) primariesOf(ctx context.Context, shards func(context.Context) ([]shard, error)) (map[string]valkey.Client, error) {
	nodes := e.byAddress()
	if !e.Cluster() {
		return nodes, nil
	}
	all, err := shards(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[string]valkey.Client, len(all))
	for _, s := range all {
		node := nodes[s.primary]
		if node == nil {
			return nil, fmt.Errorf("%w: the primary %s is not connected to yet", engine.ErrUnreachable, s.primary)
		}
		out[s.primary] = node
	}
	return out, nil
}
