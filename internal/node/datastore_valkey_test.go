//go:build integration

package node

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/elasticache"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/fakeaws"
	"github.com/roam-sessions/roam/internal/ledger"
)

// awsOf returns the Region of AWS in which one of a land is.
func awsOf(name string) string {
	return map[string]string{"west": "us-west-1", "east": "us-west-2", "north": "us-east-1"}[name]
}

// A cloudLand is a land on a Global Datastore.
type cloudLand struct {
	*land
	cloud  *fakeaws.Cloud
	global string
	shards int32 // of a cluster; 0: cluster mode is disabled
}

// inBothModes does a test on a Global Datastore with cluster mode disabled, and on one of two
// shards.
func inBothModes(t *testing.T, test func(t *testing.T, shards int32)) {
	t.Helper()
	t.Run("one server", func(t *testing.T) { test(t, 0) })
	t.Run("two shards", func(t *testing.T) { test(t, 2) })
}

func (c *cloudLand) cache(name string) *sdk.Client {
	key, secret := c.cloud.Credentials()
	return sdk.New(sdk.Options{
		Region: awsOf(name), BaseEndpoint: aws.String(c.cloud.FrontURL()), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(key, secret, ""),
	})
}

// endpoint makes a group, the first one or a secondary of a Global Datastore, and returns where
// it takes writes.
func (c *cloudLand) endpoint(t *testing.T, name string) string {
	t.Helper()
	in := &sdk.CreateReplicationGroupInput{ReplicationGroupId: aws.String("session-" + name), ReplicationGroupDescription: aws.String("sessions")}
	if c.global == "" {
		in.CacheNodeType, in.ReplicasPerNodeGroup = aws.String("cache.r7g.large"), aws.Int32(1)
		in.AutomaticFailoverEnabled, in.MultiAZEnabled = aws.Bool(true), aws.Bool(true)
		if c.shards > 0 {
			in.NumNodeGroups, in.CacheParameterGroupName = &c.shards, aws.String("default.valkey8.cluster.on")
		}
	} else {
		in.GlobalReplicationGroupId = &c.global
	}
	if _, err := c.cache(name).CreateReplicationGroup(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	var at string
	eventually(t, "the group of "+name+" is there", func() bool {
		out, err := c.cache(name).DescribeReplicationGroups(t.Context(), &sdk.DescribeReplicationGroupsInput{ReplicationGroupId: in.ReplicationGroupId})
		if err != nil {
			t.Fatal(err)
		}
		g := out.ReplicationGroups[0]
		if *g.Status != "available" || len(g.NodeGroups) == 0 {
			return false
		}
		e := g.ConfigurationEndpoint
		if c.shards == 0 {
			e = g.NodeGroups[0].PrimaryEndpoint
		}
		at = net.JoinHostPort(*e.Address, strconv.Itoa(int(*e.Port)))
		return true
	})
	if c.global == "" {
		out, err := c.cache(name).CreateGlobalReplicationGroup(t.Context(), &sdk.CreateGlobalReplicationGroupInput{
			GlobalReplicationGroupIdSuffix: aws.String("sessions"), PrimaryReplicationGroupId: in.ReplicationGroupId,
		})
		if err != nil {
			t.Fatal(err)
		}
		c.global = *out.GlobalReplicationGroup.GlobalReplicationGroupId
		c.is(t, "primary-only")
	}
	return at
}

// is waits until the Global Datastore has a status.
func (c *cloudLand) is(t *testing.T, status string) {
	t.Helper()
	eventually(t, "the Global Datastore is "+status, func() bool {
		out, err := c.cache("east").DescribeGlobalReplicationGroups(t.Context(), &sdk.DescribeGlobalReplicationGroupsInput{GlobalReplicationGroupId: &c.global})
		if err != nil {
			t.Fatal(err)
		}
		return *out.GlobalReplicationGroups[0].Status == status
	})
}

// onDatastore is three Regions on a Global Datastore of some shards, which takes failover to move
// its primary, and may take promotion. Where a primary's Region is dead it does what dead says.
func onDatastore(t *testing.T, shards int32, failover, promotion time.Duration, dead string) *cloudLand {
	t.Helper()
	const soon = 50 * time.Millisecond
	node := fakeaws.Principal{Key: "AKIANODE", Secret: "a node's own", ARN: "arn:aws:iam::123456789012:role/node", Policy: documented(t)}
	cloud, err := fakeaws.Start(t.Context(), fakeaws.Config{
		PlainAddresses: true, DeadPrimary: dead, Principals: []fakeaws.Principal{node},
		Times: &fakeaws.Times{Create: soon, Join: soon, Failover: failover, Disassociate: soon, Modify: soon, Delete: soon},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cloud.Close(); err != nil {
			t.Error(err)
		}
	})
	c := &cloudLand{cloud: cloud, shards: shards}
	for name, value := range map[string]string{"AWS_ENDPOINT_URL": cloud.FrontURL(), "AWS_ACCESS_KEY_ID": node.Key, "AWS_SECRET_ACCESS_KEY": node.Secret} {
		t.Setenv(name, value)
	}
	var engines []string
	for _, name := range names() {
		engines = append(engines, fmt.Sprintf("{valkey: {addrs: [%q]}}\n    elasticache: {group: session-%s, region: %s}", c.endpoint(t, name), name, awsOf(name)))
	}
	c.is(t, "available")
	c.land = newCountry(t, "topology: active-passive\nprimary: west", fmt.Sprintf(", datastore: {id: %s, promotion: %v}, judge: {max_lag: 15s}", c.global, promotion), engines...)
	return c
}

// documented returns the policy that a node needs by its documentation, for the groups of a land.
func documented(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/aws/global-datastore.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "## What a node may do")
	_, rest, _ = strings.Cut(rest, "```json\n")
	policy, _, _ := strings.Cut(rest, "```")
	const group = `"arn:aws:elasticache:us-west-2:123456789012:replicationgroup:session-usw2"`
	if strings.Count(policy, group) != 1 {
		t.Fatalf("the documentation has the policy %q", policy)
	}
	var groups []string
	for _, name := range names() {
		groups = append(groups, fmt.Sprintf("%q", "arn:aws:elasticache:"+awsOf(name)+":123456789012:replicationgroup:session-"+name))
	}
	return strings.Replace(policy, group, strings.Join(groups, ", "), 1)
}

// A planned switchover on a Global Datastore waits for what is written, has ElastiCache move
// the primary, and loses nothing.
func TestSwitchoverOnDatastore(t *testing.T) { inBothModes(t, switchoverOnDatastore) }

func switchoverOnDatastore(t *testing.T, shards int32) {
	t.Helper()
	c := onDatastore(t, shards, 3*time.Second, 30*time.Second, fakeaws.DeadPrimaryRefuses)
	before := c.begun()
	if _, err := c.seat("north").Propose(t.Context(), ledger.Command{Plan: &ledger.Plan{To: "east", By: "ann"}}); err != nil {
		t.Fatal(err)
	}
	s := c.agreed("north", "all is done", func(s ledger.State) bool { return s.Handover.Step == ledger.Done })
	if s.Lease.Holder != "east" || s.Lease.Epoch != 2 || s.Lease.Unplanned || len(s.Receipts) > 0 {
		t.Errorf("the lease is %+v, with receipts %+v; want epoch 2 of east, planned, and none", s.Lease, s.Receipts)
	}
	after := c.under("east", 2)
	for _, k := range []crdt.Key{before, after} {
		for _, name := range names() {
			eventually(t, name+" has it", func() bool {
				r, err := c.engine(name).Read(t.Context(), k, crdt.Token{})
				return err == nil && !r.IsBottom()
			})
		}
	}
}

// begun starts all nodes, and returns a session that all Regions have.
func (c *cloudLand) begun() crdt.Key {
	c.t.Helper()
	for _, name := range names() {
		c.start(name)
	}
	c.agreed("north", "west holds the lease", func(s ledger.State) bool { return s.Lease.Holder == "west" })
	k := c.under("west", 1)
	c.has(k)
	eventually(c.t, "heartbeats come everywhere", func() bool {
		n := 0
		for _, m := range c.seat("north").Status().Members {
			if m.Server.Beat.Epoch == 1 {
				n++
			}
		}
		return n == len(names())
	})
	for _, name := range names() {
		c.says(name, "Global Datastore "+c.global+" is available: session-west in us-west-1 is its primary")
	}
	return k
}

// has waits until Regions have a session; all, if none is named.
func (c *cloudLand) has(k crdt.Key, in ...string) {
	c.t.Helper()
	if len(in) == 0 {
		in = names()
	}
	for _, name := range in {
		eventually(c.t, name+" has it", func() bool {
			r, err := c.engine(name).Read(c.t.Context(), k, crdt.Token{})
			return err == nil && !r.IsBottom()
		})
	}
}

// says waits until what ElastiCache says of a Region's group has a text in it.
func (c *cloudLand) says(name, text string) {
	c.t.Helper()
	said := ""
	defer func() {
		if c.t.Failed() {
			c.t.Logf("%s says %q, want %q", name, said, text)
		}
	}()
	eventually(c.t, name+" says it", func() bool {
		for _, m := range c.seat(name).Status().Members {
			if m.Member == name {
				said = m.Server.Service
			}
		}
		return strings.Contains(said, text)
	})
}

// tail has west take writes that no other Region gets, and returns one, and how often it tried: a
// write that nobody acknowledges in time may have been taken.
func (c *cloudLand) tail(writes int) (k crdt.Key, tries uint64) {
	c.t.Helper()
	for _, to := range []string{"east", "north"} {
		if err := c.cloud.SetLink(awsOf("west"), awsOf(to), fakeaws.Path{Silent: true}); err != nil {
			c.t.Fatal(err)
		}
	}
	for range writes {
		eventually(c.t, "west takes a write", func() (ok bool) {
			tries++
			k, ok = c.tryUnder("west", 1)
			return ok
		})
	}
	c.spooled("west")
	return k, tries
}

// dark takes west off the network, or puts it back.
func (c *cloudLand) dark(is bool) {
	c.t.Helper()
	if err := c.cloud.SetDark(awsOf("west"), is); err != nil {
		c.t.Fatal(err)
	}
	for _, to := range []string{"east", "north"} {
		if err := c.cloud.SetLink(awsOf("west"), awsOf(to), fakeaws.Path{}); err != nil {
			c.t.Fatal(err)
		}
	}
}

// The primary's Region is lost. ElastiCache promotes another group when it is asked there, and
// throws away what the old one had not passed on: the node has kept that, and brings it home.
func TestFailoverOnDatastore(t *testing.T) { inBothModes(t, failoverOnDatastore) }

func failoverOnDatastore(t *testing.T, shards int32) {
	t.Helper()
	c := onDatastore(t, shards, 2*time.Second, 30*time.Second, fakeaws.DeadPrimaryWorks)
	before := c.begun()
	only, tries := c.tail(5)
	c.dark(true)
	s := c.agreed("north", "another Region holds the lease", func(s ledger.State) bool { return s.Lease.Holder != "west" })
	after := c.under(s.Lease.Holder, s.Lease.Epoch)
	c.has(before, "east", "north")
	c.dark(false)
	s = c.agreed("north", "the receipt is closed", func(s ledger.State) bool { return len(s.Receipts) == 1 && !s.Receipts[0].Closed.IsZero() })
	// West's server is a primary still for a moment, until it is told whom to follow: the rare
	// look that is done with it by then is sure, any other has the spool alone to go by.
	r := s.Receipts[0]
	known := r.Note == "" || strings.Contains(r.Note, "may be known nowhere")
	if r.From != "west" || r.Counts[ledger.Recovered] < 5 || r.Counts[ledger.Recovered] > tries || r.Counts[ledger.Lost] != 0 || !known {
		t.Errorf("the receipt is %+v, want 5 to %d writes of west recovered, for sure or with a note that there may be more", r, tries)
	}
	c.has(only)
	c.has(after)
	if s.Lease.Epoch != 2 {
		t.Errorf("epoch %d has begun, want 2", s.Lease.Epoch)
	}
}

// Where ElastiCache refuses as the primary's Region is dead, an operator's word takes the next
// primary's group out of the Global Datastore; what the old primary has is brought home all
// the same when it is back.
func TestDetachOnDatastore(t *testing.T) { inBothModes(t, detachOnDatastore) }

func detachOnDatastore(t *testing.T, shards int32) {
	t.Helper()
	c := onDatastore(t, shards, time.Second, 30*time.Second, fakeaws.DeadPrimaryRefuses)
	c.begun()
	only, tries := c.tail(5)
	c.dark(true)
	s := c.agreed("north", "another Region holds the lease", func(s ledger.State) bool { return s.Lease.Holder != "west" })
	heir := s.Lease.Holder
	c.says(heir, "ElastiCache refuses")
	if _, err := c.seat("north").Propose(t.Context(), ledger.Command{Detach: &ledger.Detach{Epoch: s.Lease.Epoch, Region: heir, By: "ann"}}); err != nil {
		t.Fatal(err)
	}
	c.under(heir, s.Lease.Epoch)
	c.says(heir, "in no Global Datastore")
	c.dark(false)
	s = c.agreed("north", "the receipt is closed", func(s ledger.State) bool { return len(s.Receipts) == 1 && !s.Receipts[0].Closed.IsZero() })
	if r := s.Receipts[0]; r.From != "west" || r.Counts[ledger.Recovered] < 5 || r.Counts[ledger.Recovered] > tries || r.Counts[ledger.Lost] != 0 || r.Note != "" {
		t.Errorf("the receipt is %+v, want 5 to %d writes of west recovered, for sure", r, tries)
	}
	c.has(only, heir)
}

// ElastiCache does not do what it was asked for: the primary goes on, with nothing lost.
func TestSwitchoverThatElastiCacheRefuses(t *testing.T) {
	c := onDatastore(t, 0, time.Second, 2*time.Second, fakeaws.DeadPrimaryRefuses)
	before := c.begun()
	if _, err := c.cloud.AddRule(fakeaws.Rule{Service: fakeaws.ElastiCache, Action: "FailoverGlobalReplicationGroup", Effect: fakeaws.Outage}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.seat("north").Propose(t.Context(), ledger.Command{Plan: &ledger.Plan{To: "east", By: "ann"}}); err != nil {
		t.Fatal(err)
	}
	c.says("east", "ElastiCache refuses")
	s := c.agreed("north", "the switchover has failed", func(s ledger.State) bool { return s.Handover.Step == ledger.Failed })
	if s.Lease.Holder != "west" || s.Lease.Epoch != 3 {
		t.Errorf("the lease is %+v, want epoch 3 of west", s.Lease)
	}
	c.under("west", 3)
	c.has(before)
	// East might have begun without anybody being told.
	s = c.agreed("north", "the receipt is closed", func(s ledger.State) bool { return len(s.Receipts) == 1 && !s.Receipts[0].Closed.IsZero() })
	if r := s.Receipts[0]; r.From != "east" || len(r.Counts) > 0 {
		t.Errorf("the receipt is %+v, want one of nothing in east", r)
	}
}

// Somebody else has ElastiCache move the primary. That is how it is meant to be.
func TestPromotionBySomebodyElse(t *testing.T) {
	c := onDatastore(t, 0, time.Second, 30*time.Second, fakeaws.DeadPrimaryRefuses)
	before := c.begun()
	_, err := c.cache("east").FailoverGlobalReplicationGroup(t.Context(), &sdk.FailoverGlobalReplicationGroupInput{
		GlobalReplicationGroupId: &c.global, PrimaryRegion: aws.String(awsOf("east")), PrimaryReplicationGroupId: aws.String("session-east"),
	})
	if err != nil {
		t.Fatal(err)
	}
	s := c.agreed("north", "east holds the lease", func(s ledger.State) bool { return s.Lease.Holder == "east" })
	c.under("east", s.Lease.Epoch)
	c.agreed("north", "the receipt is closed", func(s ledger.State) bool { return len(s.Receipts) > 0 && !s.Receipts[0].Closed.IsZero() })
	c.has(before)
}

// Within the primary's Region another node takes the server's place, and its name. The Region
// keeps the lease, in an epoch of its own, and what the new node lacks is brought home.
func TestFailoverWithinRegionOnDatastore(t *testing.T) {
	inBothModes(t, failoverWithinRegionOnDatastore)
}

func failoverWithinRegionOnDatastore(t *testing.T, shards int32) {
	t.Helper()
	c := onDatastore(t, shards, time.Second, 30*time.Second, fakeaws.DeadPrimaryRefuses)
	before := c.begun()
	if _, err := c.cache("west").TestFailover(t.Context(), &sdk.TestFailoverInput{ReplicationGroupId: aws.String("session-west"), NodeGroupId: aws.String("0001")}); err != nil {
		t.Fatal(err)
	}
	var after crdt.Key
	c.agreed("north", "west takes a write in another epoch", func(s ledger.State) (ok bool) {
		if s.Lease.Epoch > 1 && s.Lease.Holder == "west" { // the second, or a later one if the name moved while that began
			after, ok = c.tryUnder("west", s.Lease.Epoch)
		}
		return ok
	})
	c.agreed("north", "receipts are closed", func(s ledger.State) bool {
		return len(s.Receipts) > 0 && !slices.ContainsFunc(s.Receipts, func(r ledger.Receipt) bool { return r.Closed.IsZero() })
	})
	c.has(before)
	c.has(after)
}
