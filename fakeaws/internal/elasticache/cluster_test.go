//go:build integration

package elasticache

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/fakeaws/internal/relay"
)

func clusterInput(id string) *elasticache.CreateReplicationGroupInput {
	in := primaryInput(id)
	in.NumNodeGroups, in.CacheParameterGroupName = aws.Int32(3), aws.String("default.valkey8.cluster.on")
	return in
}

// clusters makes a Global Datastore of three shards with a replica, session-usw1, and a secondary
// of it without, session-usw2.
func (w *world) clusters(t *testing.T) string {
	t.Helper()
	in := clusterInput("session-usw1")
	in.NotificationTopicArn = aws.String("arn:aws:sns:us-west-1:123456789012:t")
	return w.datastoreOf(t, in)
}

// connect returns a client of a cluster, which found its nodes by the configuration endpoint.
func (w *world) connect(t *testing.T, region, id string) valkey.Client {
	t.Helper()
	return w.connectTo(t, region, id, nil)
}

// connectTo returns one that reads what it is told to from replicas.
func (w *world) connectTo(t *testing.T, region, id string, replicas func(valkey.Completed) bool) valkey.Client {
	t.Helper()
	e := w.group(t, region, id).ConfigurationEndpoint
	addr, ok := w.Lookup(*e.Address)
	if !ok {
		t.Fatalf("no address of %s", *e.Address)
	}
	c, err := valkey.NewClient(valkey.ClientOption{
		InitAddress: []string{netip.AddrPortFrom(addr, uint16(*e.Port)).String()}, DisableCache: true, ConnWriteTimeout: 2 * time.Second, DisableRetry: true,
		SendToReplicas: replicas,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if c.Mode() != valkey.ClientModeCluster {
		t.Fatalf("a client of mode %v", c.Mode())
	}
	return c
}

// setMany writes keys of all shards.
func setMany(c valkey.Client, value string) (err error) {
	for i := range 20 {
		err = errors.Join(err, set(c, fmt.Sprintf("key-%d", i), value))
	}
	return err
}

// hasMany waits until all that setMany writes has a value.
func hasMany(t *testing.T, what string, c valkey.Client, value string) {
	t.Helper()
	soon(t, what, func() bool {
		for i := range 20 {
			if get(c, fmt.Sprintf("key-%d", i)) != value {
				return false
			}
		}
		return true
	})
}

// The whole life of a Global Datastore of clusters, as their clients and the API see it.
func TestClusters(t *testing.T) {
	w := begin(t, func(c *Config) { c.Times.Failover = 300 * time.Millisecond })
	id := w.clusters(t)
	tellsClusters(t, w, id)
	a, b := w.connect(t, west1, "session-usw1"), w.connect(t, west2, "session-usw2")
	if got := len(a.Nodes()) + len(b.Nodes()); got < 6+3 {
		t.Errorf("clients see %d nodes, want 9", got)
	}
	if err := setMany(a, "1"); err != nil {
		t.Fatal(err)
	}
	hasMany(t, "the secondary lacks keys", b, "1")
	for i := range 20 {
		if err := set(b, fmt.Sprintf("key-%d", i), "2"); err == nil || !strings.HasPrefix(err.Error(), "READONLY") {
			t.Fatalf("a write to the secondary: %v, want READONLY", err)
		}
	}
	if err := w.failover(t, id, west2, "session-usw2"); err != nil {
		t.Fatal(err)
	}
	refused := func(c valkey.Client) func() bool {
		return func() bool {
			for i := range 20 {
				if set(c, fmt.Sprintf("key-%d", i), "x") == nil {
					return false
				}
			}
			return true
		}
	}
	soon(t, "the old primary takes writes", refused(a))
	w.settled(t, id, "available")
	if err := setMany(b, "2"); err != nil {
		t.Errorf("the new primary: %v", err)
	}
	hasMany(t, "the old primary does not follow", a, "2")
	if !refused(a)() {
		t.Error("the old primary takes writes again")
	}
	if err := w.failover(t, id, west1, "session-usw1"); err != nil {
		t.Fatal(err)
	}
	w.settled(t, id, "available")
	if err := setMany(a, "3"); err != nil {
		t.Errorf("back at the first: %v", err)
	}
	if err := w.disassociate(t, id, west2, "session-usw2"); err != nil {
		t.Fatal(err)
	}
	w.settled(t, id, "primary-only")
	soon(t, "what was a secondary takes no writes", func() bool { return setMany(b, "4") == nil })
	hasMany(t, "the primary has what another group took", a, "3")
}

// tellsClusters looks at what the API tells of clusters.
func tellsClusters(t *testing.T, w *world, id string) {
	t.Helper()
	g := w.group(t, west1, "session-usw1")
	if !*g.ClusterEnabled || g.ClusterMode != types.ClusterModeEnabled || *g.ConfigurationEndpoint.Address != "session-usw1.fakeaw.clustercfg.usw1.cache.amazonaws.com" {
		t.Errorf("the group is %+v", g)
	}
	if len(g.MemberClusters) != 6 || g.MemberClusters[3] != "session-usw1-0002-002" {
		t.Errorf("its nodes are %v", g.MemberClusters)
	}
	want := []string{"0-5460", "5461-10921", "10922-16383"}
	tellsShards(t, g, want)
	gl := w.global(t, id)
	if !*gl.ClusterEnabled || len(gl.GlobalNodeGroups) != 3 || *gl.GlobalNodeGroups[1].GlobalNodeGroupId != id+"-0002" || *gl.GlobalNodeGroups[1].Slots != want[1] {
		t.Errorf("the global is %+v", gl)
	}
	if second := w.group(t, west2, "session-usw2"); len(second.NodeGroups) != 3 || len(second.MemberClusters) != 3 || !*second.ClusterEnabled {
		t.Errorf("the secondary is %+v", second)
	}
	out, err := w.clients[west1].DescribeCacheClusters(t.Context(), &elasticache.DescribeCacheClustersInput{CacheClusterId: aws.String("session-usw1-0003-001")})
	if err != nil || *out.CacheClusters[0].ReplicationGroupId != "session-usw1" {
		t.Errorf("a node: %+v, %v", out, err)
	}
}

func tellsShards(t *testing.T, g types.ReplicationGroup, want []string) {
	t.Helper()
	var slots []string
	for i, n := range g.NodeGroups {
		slots = append(slots, *n.Slots)
		if n.PrimaryEndpoint != nil || n.ReaderEndpoint != nil || *n.NodeGroupId != fmt.Sprintf("%04d", i+1) || len(n.NodeGroupMembers) != 2 || n.NodeGroupMembers[0].CurrentRole != nil {
			t.Errorf("node group %d is %+v", i, n)
		}
	}
	if !slices.Equal(slots, want) {
		t.Errorf("slots %v, want %v", slots, want)
	}
}

// primaries are what a node of a cluster says its primaries are, by their names.
func primaries(t *testing.T, c valkey.Client) (out string) {
	t.Helper()
	text, err := c.Do(t.Context(), c.B().ClusterNodes().Build()).ToString()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if strings.Contains(line, "master") {
			_, name, _ := strings.Cut(strings.Fields(line)[1], ",")
			name, _, _ = strings.Cut(name, ".")
			out += name + " "
		}
	}
	return out
}

// One shard fails over within a Region, in a primary as in a secondary; its clients are led on.
func TestFailoverOfAShard(t *testing.T) {
	w := begin(t, nil)
	id := w.clusters(t)
	a := w.connect(t, west1, "session-usw1")
	if err := setMany(a, "1"); err != nil {
		t.Fatal(err)
	}
	reader := w.connectTo(t, west1, "session-usw1", func(c valkey.Completed) bool { return c.IsReadOnly() })
	hasMany(t, "replicas lack keys", reader, "1")
	test := func(region, group, shard string) error {
		_, err := w.clients[region].TestFailover(t.Context(), &elasticache.TestFailoverInput{ReplicationGroupId: &group, NodeGroupId: &shard})
		return err
	}
	judge(t, []try{
		{"no such shard", test(west1, "session-usw1", "0004"), "NodeGroupNotFoundFault"},
		{"no replica", test(west2, "session-usw2", "0002"), "InvalidReplicationGroupState"},
	})
	if got := primaries(t, a); got != "session-usw1-0001-001 session-usw1-0002-001 session-usw1-0003-001 " {
		t.Errorf("at first primaries are %q", got)
	}
	if err := test(west1, "session-usw1", "0002"); err != nil {
		t.Fatal(err)
	}
	soon(t, "the failover does not end", func() bool { return *w.group(t, west1, "session-usw1").Status == "available" })
	if got := primaries(t, a); got != "session-usw1-0001-001 session-usw1-0002-002 session-usw1-0003-001 " {
		t.Errorf("then primaries are %q", got)
	}
	hasMany(t, "keys are lost", a, "1")
	if err := setMany(a, "2"); err != nil {
		t.Errorf("a client that is led on: %v", err)
	}
	hasMany(t, "the secondary does not follow the new primary", w.connect(t, west2, "session-usw2"), "2")
	soon(t, "not told", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return strings.HasSuffix(w.told[len(w.told)-1], `{"Cache Cluster ID":"session-usw1-0002-002","ElastiCache:FailoverComplete":"session-usw1","Replication Group ID":"session-usw1"}`)
	})
	// The Global Datastore moves whichever nodes are primaries.
	if err := w.failover(t, id, west2, "session-usw2"); err != nil {
		t.Fatal(err)
	}
	w.settled(t, id, "available")
	if err := setMany(w.connect(t, west2, "session-usw2"), "3"); err != nil {
		t.Error(err)
	}
	hasMany(t, "the old primary does not follow", a, "3")
}

// A dark Region's nodes fall silent, all of them, and links that are cut hold all shards up.
func TestClustersInTheDark(t *testing.T) {
	w := begin(t, func(c *Config) { c.DeadPrimary, c.PlainAddresses = Work, true })
	id := w.clusters(t)
	e := w.group(t, west2, "session-usw2").ConfigurationEndpoint
	if _, err := netip.ParseAddr(*e.Address); err != nil {
		t.Errorf("with plain addresses the endpoint is %s", *e.Address)
	}
	plain := func(region, group string) valkey.Client {
		e := w.group(t, region, group).ConfigurationEndpoint
		c, err := valkey.NewClient(valkey.ClientOption{
			InitAddress: []string{fmt.Sprintf("%s:%d", *e.Address, *e.Port)}, DisableCache: true, ConnWriteTimeout: 2 * time.Second, DisableRetry: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	a, b := plain(west1, "session-usw1"), plain(west2, "session-usw2")
	if err := setMany(a, "1"); err != nil {
		t.Fatal(err)
	}
	hasMany(t, "the secondary lacks keys", b, "1")
	w.SetLink(west1, west2, relay.Path{Silent: true})
	if err := setMany(a, "tail"); err != nil {
		t.Fatal(err)
	}
	w.SetDark(west1, true)
	if err := set(a, "key-1", "2"); err == nil {
		t.Error("a dark Region answers")
	}
	if err := w.failover(t, id, west2, "session-usw2"); err != nil {
		t.Fatal(err)
	}
	w.settled(t, id, "available")
	hasMany(t, "the tail is there", b, "1")
	if err := setMany(b, "3"); err != nil {
		t.Fatal(err)
	}
	w.SetDark(west1, false)
	hasMany(t, "the old primary does not follow", plain(west1, "session-usw1"), "3")
}

func TestErrorsOfClusters(t *testing.T) {
	w := begin(t, nil)
	type input = elasticache.CreateReplicationGroupInput
	create := func(region string, change func(in *input)) error {
		in := clusterInput("other")
		change(in)
		_, err := w.clients[region].CreateReplicationGroup(t.Context(), in)
		return err
	}
	own := func(name, value string) {
		_, err := w.clients[west1].CreateCacheParameterGroup(t.Context(), &elasticache.CreateCacheParameterGroupInput{
			CacheParameterGroupName: &name, CacheParameterGroupFamily: aws.String("valkey8"), Description: aws.String("x"),
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.clients[west1].ModifyCacheParameterGroup(t.Context(), &elasticache.ModifyCacheParameterGroupInput{
			CacheParameterGroupName: &name, ParameterNameValues: []types.ParameterNameValue{{ParameterName: aws.String("cluster-enabled"), ParameterValue: &value}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	own("on", "yes")
	own("off", "no")
	judge(t, []try{
		{"shards without the mode", create(west1, func(in *input) { in.CacheParameterGroupName = nil }), "InvalidParameterCombination"},
		{"a parameter group without it", create(west1, func(in *input) { in.CacheParameterGroupName = aws.String("off") }), "InvalidParameterCombination"},
		{"both on and off", create(west1, func(in *input) { in.ClusterMode = types.ClusterModeDisabled }), "InvalidParameterCombination"},
		{"a mode between them", create(west1, func(in *input) { in.ClusterMode = types.ClusterModeCompatible }), "InvalidParameterValue"},
		{"no automatic failover", create(west1, func(in *input) { in.AutomaticFailoverEnabled, in.MultiAZEnabled = nil, nil }), "InvalidParameterValue"},
		{"zones without replica", create(west1, func(in *input) { in.ReplicasPerNodeGroup = nil }), "InvalidParameterCombination"},
		{"no shard", create(west1, func(in *input) { in.NumNodeGroups = aws.Int32(0) }), "InvalidParameterValue"},
		{"too many shards", create(west1, func(in *input) { in.NumNodeGroups = aws.Int32(mostShards + 1) }), "NodeGroupsPerReplicationGroupQuotaExceeded"},
		{"too many nodes", create(west1, func(in *input) { in.NumNodeGroups, in.ReplicasPerNodeGroup = aws.Int32(8), aws.Int32(5) }), "NodeQuotaForCustomerExceeded"},
		{"shards of their own", create(west1, func(in *input) {
			in.NodeGroupConfiguration = []types.NodeGroupConfiguration{{Slots: aws.String("0-1")}}
		}), "InvalidParameterCombination"},
		{"one shard, no replica", create(west1, func(in *input) {
			in.NumNodeGroups, in.ReplicasPerNodeGroup, in.MultiAZEnabled = nil, nil, nil
		}), "<nil>"},
		{"by a group of one's own", create(west1, func(in *input) {
			in.ReplicationGroupId, in.CacheParameterGroupName, in.ReplicasPerNodeGroup, in.MultiAZEnabled = aws.String("own"), aws.String("on"), nil, nil
		}), "<nil>"},
		{"by its mode", create(west2, func(in *input) {
			in.CacheParameterGroupName, in.ClusterMode, in.ReplicasPerNodeGroup, in.MultiAZEnabled = nil, types.ClusterModeEnabled, nil, nil
		}), "<nil>"},
	})
	soon(t, "not created", func() bool { return *w.group(t, west1, "other").Status == "available" })
	_, err := w.clients[west1].ModifyReplicationGroup(t.Context(), &elasticache.ModifyReplicationGroupInput{ReplicationGroupId: aws.String("other"), AutomaticFailoverEnabled: aws.Bool(false)})
	judge(t, []try{{"failover turned off", err, "InvalidParameterCombination"}})
	if g := w.group(t, west1, "other"); !*g.ClusterEnabled || len(g.NodeGroups) != 1 {
		t.Errorf("the one shard is %+v", g)
	}
}
