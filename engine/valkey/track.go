package valkey

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/engine"
)

// beatEvery is how often it is tried whether changes are still heard of.
const beatEvery = nearBound / 4

// A tracker hears of changes. Each server tells, on a connection of the tracker's
// own, which records it changed, whoever had it do so: a client, a script, or its
// own primary by replication. The answer to a question on that connection comes
// after word of all that had changed before, so that it says how new what is kept
// is. Were the connection to one server and the engine's to another, as when a name
// moves, word would come from the wrong one: both must be the same by what they say.
type tracker struct {
	e       *Engine
	servers map[string]tracked // by address
	as      string             // what all servers said they are when word of them began
}

type tracked struct {
	client valkey.Client
	lost   *atomic.Bool // its connection ended: another one has to prove itself
}

// track tries again and again whether changes are heard of, until ctx ends.
func (e *Engine) track(ctx context.Context) {
	t := &tracker{e: e, servers: map[string]tracked{}}
	defer t.close()
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	failed := false
	for {
		begun := time.Now()
		beat, cancel := context.WithTimeout(ctx, nearBound)
		err := t.beat(beat)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			e.near.trust(begun)
			if failed {
				e.config.Log.Info("near-cache: changes are heard of again")
			}
		case !failed:
			e.config.Log.Warn("near-cache: changes are not heard of", "err", err)
		}
		failed = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// beat asks all servers on both ways what they are. It fails where one does not
// answer; what is kept then is trusted for as long as it is, and no longer.
func (t *tracker) beat(ctx context.Context) error {
	nodes, err := t.e.primaries(ctx)
	if err != nil {
		return err
	}
	if !slices.Equal(slices.Sorted(maps.Keys(nodes)), slices.Sorted(maps.Keys(t.servers))) {
		if err := t.connect(ctx, nodes); err != nil {
			return err
		}
	}
	var as strings.Builder
	for _, addr := range slices.Sorted(maps.Keys(nodes)) {
		lost := t.servers[addr].lost.Swap(false)
		told, err := t.identity(ctx, t.servers[addr].client)
		if err != nil {
			return err
		}
		asked, err := t.identity(ctx, nodes[addr])
		if err != nil {
			return err
		}
		if told != asked { // the name has moved, and that connection has not
			t.close()
			return fmt.Errorf("%w: they come from another server", engine.ErrUnreachable)
		}
		if lost {
			t.as = "" // what changed in between nobody told
		}
		as.WriteString(asked + "\n")
	}
	if t.as != as.String() {
		t.e.near.flush()
		t.as = as.String()
	}
	return nil
}

// byAddress returns a client for each node of a cluster, and the one there is
// otherwise, by its address.
func (e *Engine) byAddress() map[string]valkey.Client {
	if !e.Cluster() {
		return map[string]valkey.Client{e.config.Addrs[0]: e.client()}
	}
	return e.client().Nodes()
}

// connect connects anew to all servers that there are.
func (t *tracker) connect(ctx context.Context, nodes map[string]valkey.Client) error {
	t.close()
	for addr := range nodes {
		lost := new(atomic.Bool)
		o := t.e.option()
		o.InitAddress, o.ForceSingleClient, o.PipelineMultiplex = []string{addr}, true, -1 // one connection
		o.DisableCache, o.AlwaysRESP2, o.DisableRetry, o.Dialer.Timeout = false, false, true, nearBound
		o.ClientTrackingOptions = []string{"BCAST", "PREFIX", string(sessionKeys) + "{", "PREFIX", string(userKeys) + "{"}
		o.OnInvalidations = func(keys []valkey.ValkeyMessage) {
			if keys == nil { // all keys are gone, or the connection
				lost.Store(true)
				t.e.near.flush()
				return
			}
			t.e.near.changedKeys(keys)
		}
		client, err := valkey.NewClient(o)
		if err != nil {
			return t.e.failed(ctx, err)
		}
		t.servers[addr] = tracked{client, lost}
	}
	return nil
}

// changedKeys begins another round for what a server says has changed.
func (n *near) changedKeys(keys []valkey.ValkeyMessage) {
	for _, m := range keys {
		if key, err := m.ToString(); err == nil && len(key) > recordPrefix {
			n.changed([]byte(key[recordPrefix:]))
		}
	}
}

// identity returns what a server says it is: the replication that it is part of and
// its role there, and the epoch of its cluster, in which slots may have moved.
func (t *tracker) identity(ctx context.Context, client valkey.Client) (string, error) {
	cmds := valkey.Commands{client.B().Info().Section("replication").Build()}
	if t.e.client().Mode() == valkey.ClientModeCluster {
		cmds = append(cmds, client.B().ClusterInfo().Build())
	}
	var out strings.Builder
	for _, res := range client.DoMulti(ctx, cmds...) {
		text, err := res.ToString()
		if err != nil {
			return "", t.e.failed(ctx, err)
		}
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			switch name {
			case "role", "master_replid", "cluster_current_epoch":
				out.WriteString(value + " ")
			}
		}
	}
	return out.String(), nil
}

// close lets go of all connections. What is kept is not shown any more.
func (t *tracker) close() {
	t.e.near.until.Store(0)
	for _, s := range t.servers {
		s.client.Close()
	}
	t.servers, t.as = map[string]tracked{}, ""
}
