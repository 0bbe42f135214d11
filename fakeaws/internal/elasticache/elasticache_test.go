//go:build integration

package elasticache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/aws/smithy-go"
	"github.com/valkey-io/valkey-go"
	"go.uber.org/goleak"

	"github.com/roam-sessions/roam/fakeaws/internal/clock"
	"github.com/roam-sessions/roam/fakeaws/internal/door"
	"github.com/roam-sessions/roam/fakeaws/internal/relay"
	"github.com/roam-sessions/roam/internal/valkeyserver"
)

func TestMain(m *testing.M) {
	// The client of a cluster asks who is there once more, within a second, though it is closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valkey-io/valkey-go.(*call).DelayDo.func1"))
}

const (
	west1, west2, east1 = "us-west-1", "us-west-2", "us-east-1"
	topicOf             = "arn:aws:sns:us-west-2:123456789012:t"
)

// A world is a fake and its clients, by Region.
type world struct {
	*Fake
	clients map[string]*elasticache.Client

	mu      sync.Mutex
	told    []string
	refuses error
}

func begin(t *testing.T, change func(c *Config)) *world {
	t.Helper()
	program, err := valkeyserver.Find(t.Context())
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("NOT TESTED on a real server: %v", err)
	}
	w := &world{clients: map[string]*elasticache.Client{}}
	c := Config{
		Clock: clock.Real{}, Account: "123456789012", Regions: []string{west1, west2, east1}, Program: program,
		Loopback: netip.MustParsePrefix(fmt.Sprintf("127.%d.0.0/16", 64+os.Getpid()%128)), Log: slog.New(slog.DiscardHandler),
		PromotedEvent: "ReplicationGroupPromotedAsPrimary",
		Publish: func(topic, subject, text string) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.told = append(w.told, topic+" "+subject+" "+text)
			return w.refuses
		},
	}
	if change != nil {
		change(&c)
	}
	w.Fake = New(t.Context(), c)
	keeper := door.NewKeeper(c.Clock, c.Account)
	keeper.Admit("AKID", door.Caller{Secret: "secret"})
	transport := &http.Transport{}
	var servers []*httptest.Server
	for _, region := range c.Regions {
		s := httptest.NewServer(keeper.Door(w.Service(), region))
		servers = append(servers, s)
		w.clients[region] = elasticache.New(elasticache.Options{
			Region: region, BaseEndpoint: &s.URL, Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
			HTTPClient: &http.Client{Transport: transport}, RetryMaxAttempts: 1,
		})
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		for _, s := range servers {
			s.Close()
		}
		w.Close()
	})
	return w
}

// code is an error's code on the wire.
func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return fmt.Sprint(err)
}

// soon waits for something for twenty seconds.
func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	for begun := time.Now(); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > 20*time.Second {
			t.Fatalf("after 20 s: %s", what)
		}
	}
}

func (w *world) group(t *testing.T, region, id string) types.ReplicationGroup {
	t.Helper()
	out, err := w.clients[region].DescribeReplicationGroups(t.Context(), &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &id})
	if err != nil {
		t.Fatal(err)
	}
	return out.ReplicationGroups[0]
}

func (w *world) global(t *testing.T, id string) types.GlobalReplicationGroup {
	t.Helper()
	out, err := w.clients[west2].DescribeGlobalReplicationGroups(t.Context(), &elasticache.DescribeGlobalReplicationGroupsInput{
		GlobalReplicationGroupId: &id, ShowMemberInfo: aws.Bool(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.GlobalReplicationGroups[0]
}

func (w *world) settled(t *testing.T, global, status string) {
	t.Helper()
	soon(t, "the global is not "+status, func() bool { return *w.global(t, global).Status == status })
}

func primaryInput(id string) *elasticache.CreateReplicationGroupInput {
	return &elasticache.CreateReplicationGroupInput{
		ReplicationGroupId: &id, ReplicationGroupDescription: aws.String("primary"), Engine: aws.String("valkey"), EngineVersion: aws.String("8.2"),
		CacheNodeType: aws.String("cache.r7g.large"), NumNodeGroups: aws.Int32(1), ReplicasPerNodeGroup: aws.Int32(1),
		AutomaticFailoverEnabled: aws.Bool(true), MultiAZEnabled: aws.Bool(true),
	}
}

func (w *world) secondary(t *testing.T, region, id, global string) {
	t.Helper()
	_, err := w.clients[region].CreateReplicationGroup(t.Context(), &elasticache.CreateReplicationGroupInput{
		ReplicationGroupId: &id, ReplicationGroupDescription: aws.String("secondary"), GlobalReplicationGroupId: &global,
		ReplicasPerNodeGroup: aws.Int32(0), NotificationTopicArn: aws.String(strings.Replace(topicOf, west2, region, 1)),
	})
	if err != nil {
		t.Fatal(err)
	}
}

// datastore makes a Global Datastore with a primary in us-west-1 and a secondary in
// us-west-2, and returns its ID.
func (w *world) datastore(t *testing.T) string {
	t.Helper()
	return w.datastoreOf(t, primaryInput("session-usw1"))
}

func (w *world) datastoreOf(t *testing.T, in *elasticache.CreateReplicationGroupInput) string {
	t.Helper()
	if _, err := w.clients[west1].CreateReplicationGroup(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	soon(t, "no primary", func() bool { return *w.group(t, west1, "session-usw1").Status == "available" })
	out, err := w.clients[west1].CreateGlobalReplicationGroup(t.Context(), &elasticache.CreateGlobalReplicationGroupInput{
		GlobalReplicationGroupIdSuffix: aws.String("sessions"), PrimaryReplicationGroupId: aws.String("session-usw1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	id := *out.GlobalReplicationGroup.GlobalReplicationGroupId
	w.settled(t, id, "primary-only")
	w.secondary(t, west2, "session-usw2", id)
	w.settled(t, id, "available")
	return id
}

// a client of a group's primary endpoint, found by its name.
func (w *world) dial(t *testing.T, region, id string, reader bool) valkey.Client {
	t.Helper()
	n := w.group(t, region, id).NodeGroups[0]
	e := n.PrimaryEndpoint
	if reader {
		e = n.ReaderEndpoint
	}
	addr, ok := w.Lookup(*e.Address + ".")
	if !ok {
		t.Fatalf("no address of %s", *e.Address)
	}
	c, err := valkey.NewClient(valkey.ClientOption{
		InitAddress: []string{netip.AddrPortFrom(addr, uint16(*e.Port)).String()}, DisableCache: true, ForceSingleClient: true,
		ConnWriteTimeout: 2 * time.Second, DisableRetry: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func set(c valkey.Client, key, value string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return c.Do(ctx, c.B().Set().Key(key).Value(value).Build()).Error()
}

func get(c valkey.Client, key string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	s, _ := c.Do(ctx, c.B().Get().Key(key).Build()).ToString()
	return s
}

// The whole life of a Global Datastore, as its clients and its API see it.
func TestFailover(t *testing.T) {
	w := begin(t, func(c *Config) { c.Times.Failover = 300 * time.Millisecond })
	id := w.datastore(t)
	if id != "virxk-sessions" {
		t.Errorf("the ID is %s", id)
	}
	a, b := w.dial(t, west1, "session-usw1", false), w.dial(t, west2, "session-usw2", false)
	if err := set(a, "k", "1"); err != nil {
		t.Fatal(err)
	}
	soon(t, "the secondary lacks the key", func() bool { return get(b, "k") == "1" })
	soon(t, "the reader lacks the key", func() bool { return get(w.dial(t, west1, "session-usw1", true), "k") == "1" })
	if err := set(b, "k", "2"); err == nil || !strings.HasPrefix(err.Error(), "READONLY") {
		t.Fatalf("a write to the secondary: %v, want READONLY", err)
	}
	g := w.group(t, west2, "session-usw2")
	if *g.GlobalReplicationGroupInfo.GlobalReplicationGroupMemberRole != "SECONDARY" || *g.NodeGroups[0].PrimaryEndpoint.Address != "session-usw2.fakeaw.ng.0001.usw2.cache.amazonaws.com" {
		t.Errorf("the secondary is %+v", g)
	}

	_, err := w.clients[west2].FailoverGlobalReplicationGroup(t.Context(), &elasticache.FailoverGlobalReplicationGroupInput{
		GlobalReplicationGroupId: &id, PrimaryRegion: aws.String(west2), PrimaryReplicationGroupId: aws.String("session-usw2"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := *w.global(t, id).Status; got != "modifying" {
		t.Errorf("during the failover it is %s", got)
	}
	soon(t, "the old primary takes writes", func() bool { err := set(a, "k2", "x"); return err != nil && strings.HasPrefix(err.Error(), "READONLY") })
	if err := set(b, "k", "2"); err == nil {
		t.Error("during the failover the secondary takes writes")
	}
	w.settled(t, id, "available")
	if err := set(b, "k", "2"); err != nil {
		t.Errorf("the new primary: %v", err)
	}
	soon(t, "the old primary does not follow", func() bool { return get(a, "k") == "2" })
	roles := map[string]string{}
	for _, m := range w.global(t, id).Members {
		roles[*m.ReplicationGroupRegion] = *m.Role + " " + *m.Status + " " + string(m.AutomaticFailover)
	}
	if roles[west1] != "SECONDARY associated enabled" || roles[west2] != "PRIMARY associated enabled" {
		t.Errorf("roles %v", roles)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := w.told[len(w.told)-1]; got != topicOf+` Amazon ElastiCache Notification {"ElastiCache:ReplicationGroupPromotedAsPrimary":"session-usw2"}` {
		t.Errorf("told %q", got)
	}
}

func TestDisassociateAndDelete(t *testing.T) {
	w := begin(t, nil)
	id := w.datastore(t)
	a, b := w.dial(t, west1, "session-usw1", false), w.dial(t, west2, "session-usw2", false)
	if err := set(a, "k", "1"); err != nil {
		t.Fatal(err)
	}
	soon(t, "the secondary lacks the key", func() bool { return get(b, "k") == "1" })
	_, err := w.clients[west2].DeleteGlobalReplicationGroup(t.Context(), &elasticache.DeleteGlobalReplicationGroupInput{GlobalReplicationGroupId: &id, RetainPrimaryReplicationGroup: aws.Bool(true)})
	if code(err) != "InvalidGlobalReplicationGroupState" {
		t.Errorf("deleted with a secondary: %v", err)
	}
	_, err = w.clients[west2].DeleteReplicationGroup(t.Context(), &elasticache.DeleteReplicationGroupInput{ReplicationGroupId: aws.String("session-usw2")})
	if code(err) != "InvalidReplicationGroupState" {
		t.Errorf("deleted a member: %v", err)
	}
	_, err = w.clients[west2].DisassociateGlobalReplicationGroup(t.Context(), &elasticache.DisassociateGlobalReplicationGroupInput{
		GlobalReplicationGroupId: &id, ReplicationGroupId: aws.String("session-usw2"), ReplicationGroupRegion: aws.String(west2),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.settled(t, id, "primary-only")
	soon(t, "it takes no writes", func() bool { return set(b, "k", "2") == nil })
	if err := set(a, "k", "3"); err != nil || get(b, "k") != "2" {
		t.Errorf("the two are %v and %q, want each its own", err, get(b, "k"))
	}
	if g := w.group(t, west2, "session-usw2"); g.GlobalReplicationGroupInfo != nil {
		t.Errorf("it is still in %+v", g.GlobalReplicationGroupInfo)
	}
	_, err = w.clients[west1].DeleteGlobalReplicationGroup(t.Context(), &elasticache.DeleteGlobalReplicationGroupInput{GlobalReplicationGroupId: &id, RetainPrimaryReplicationGroup: aws.Bool(false)})
	if err != nil {
		t.Fatal(err)
	}
	soon(t, "the primary is there", func() bool {
		_, err := w.clients[west1].DescribeReplicationGroups(t.Context(), &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: aws.String("session-usw1")})
		return code(err) == "ReplicationGroupNotFoundFault"
	})
	if err := set(a, "k", "4"); err == nil {
		t.Error("a deleted group takes writes")
	}
}

// Within a Region a replica takes over, behind the same name.
func TestFailoverInARegion(t *testing.T) {
	w := begin(t, nil)
	in := primaryInput("session-usw1")
	in.NotificationTopicArn = aws.String("arn:aws:sns:us-west-1:123456789012:t")
	if _, err := w.clients[west1].CreateReplicationGroup(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	soon(t, "not created", func() bool { return *w.group(t, west1, "session-usw1").Status == "available" })
	if err := set(w.dial(t, west1, "session-usw1", false), "k", "1"); err != nil {
		t.Fatal(err)
	}
	soon(t, "the reader lacks the key", func() bool { return get(w.dial(t, west1, "session-usw1", true), "k") == "1" })
	_, err := w.clients[west1].TestFailover(t.Context(), &elasticache.TestFailoverInput{ReplicationGroupId: aws.String("session-usw1"), NodeGroupId: aws.String("0001")})
	if err != nil {
		t.Fatal(err)
	}
	soon(t, "the failover does not end", func() bool { return *w.group(t, west1, "session-usw1").Status == "available" })
	g := w.group(t, west1, "session-usw1")
	if got := *g.NodeGroups[0].NodeGroupMembers[1].CurrentRole; got != "primary" {
		t.Errorf("the second node is %s", got)
	}
	c := w.dial(t, west1, "session-usw1", false)
	if err := set(c, "k", "2"); err != nil || get(c, "k") != "2" {
		t.Errorf("at the same name: %v", err)
	}
	soon(t, "not told", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return strings.HasSuffix(w.told[len(w.told)-1], `{"Cache Cluster ID":"session-usw1-002","ElastiCache:FailoverComplete":"session-usw1","Replication Group ID":"session-usw1"}`)
	})
	events, err := w.clients[west1].DescribeEvents(t.Context(), &elasticache.DescribeEventsInput{SourceType: types.SourceTypeReplicationGroup, SourceIdentifier: aws.String("session-usw1")})
	if err != nil || len(events.Events) != 2 || *events.Events[0].Message != "FailoverComplete" {
		t.Errorf("events: %+v, %v", events, err)
	}
}

// What becomes of a failover while the primary's Region is dark is as one says.
func TestDarkPrimary(t *testing.T) {
	for _, how := range []string{Refuse, Work, Stall} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			darkPrimary(t, how)
		})
	}
}

func darkPrimary(t *testing.T, how string) {
	w := begin(t, func(c *Config) { c.DeadPrimary = how })
	id := w.datastore(t)
	a, b := w.dial(t, west1, "session-usw1", false), w.dial(t, west2, "session-usw2", false)
	if err := set(a, "k", "1"); err != nil {
		t.Fatal(err)
	}
	soon(t, "the secondary lacks the key", func() bool { return get(b, "k") == "1" })
	w.SetDark(west1, true)
	if err := set(a, "k", "2"); err == nil {
		t.Error("a dark Region answers")
	}
	_, err := w.clients[west2].FailoverGlobalReplicationGroup(t.Context(), &elasticache.FailoverGlobalReplicationGroupInput{
		GlobalReplicationGroupId: &id, PrimaryRegion: aws.String(west2), PrimaryReplicationGroupId: aws.String("session-usw2"),
	})
	switch how {
	case Refuse:
		if code(err) != "InvalidGlobalReplicationGroupState" {
			t.Fatalf("failover: %v", err)
		}
		return
	case Work:
		if err != nil {
			t.Fatal(err)
		}
		w.settled(t, id, "available")
		soon(t, "the new primary takes no writes", func() bool { return set(b, "k", "3") == nil })
		w.SetDark(west1, false)
	case Stall:
		if err != nil {
			t.Fatal(err)
		}
		if err := set(b, "k", "3"); err == nil || *w.global(t, id).Status != "modifying" {
			t.Fatalf("stalled: %v, %s", err, *w.global(t, id).Status)
		}
		w.SetDark(west1, false)
		w.settled(t, id, "available")
		soon(t, "the new primary takes no writes", func() bool { return set(b, "k", "3") == nil })
	}
	soon(t, "the old primary does not follow", func() bool { return get(w.dial(t, west1, "session-usw1", false), "k") == "3" })
	if err := set(w.dial(t, west1, "session-usw1", false), "k", "4"); err == nil {
		t.Error("the old primary takes writes")
	}
}

// A link that is silent holds replication up, and what was not replicated is lost when
// the secondary is promoted.
func TestTailIsLost(t *testing.T) {
	w := begin(t, nil)
	id := w.datastore(t)
	a, b := w.dial(t, west1, "session-usw1", false), w.dial(t, west2, "session-usw2", false)
	w.SetLink(west1, west2, relay.Path{Silent: true})
	if err := set(a, "tail", "1"); err != nil {
		t.Fatal(err)
	}
	_, err := w.clients[west2].FailoverGlobalReplicationGroup(t.Context(), &elasticache.FailoverGlobalReplicationGroupInput{
		GlobalReplicationGroupId: &id, PrimaryRegion: aws.String(west2), PrimaryReplicationGroupId: aws.String("session-usw2"),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.settled(t, id, "available")
	soon(t, "it takes no writes", func() bool { return set(b, "k", "1") == nil })
	soon(t, "the old primary does not follow", func() bool { return get(a, "k") == "1" })
	if got := get(b, "tail") + get(a, "tail"); got != "" {
		t.Errorf("the tail is %q, want it lost", got)
	}
}

// A topic that does not let ElastiCache becomes inactive, until somebody says otherwise.
func TestTopicBecomesInactive(t *testing.T) {
	w := begin(t, nil)
	w.refuses = errors.New("AuthorizationError")
	in := primaryInput("session-usw1")
	in.NotificationTopicArn = aws.String("arn:aws:sns:us-west-1:123456789012:t")
	if _, err := w.clients[west1].CreateReplicationGroup(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	status := func() string {
		out, err := w.clients[west1].DescribeCacheClusters(t.Context(), &elasticache.DescribeCacheClustersInput{CacheClusterId: aws.String("session-usw1-001")})
		if err != nil {
			t.Fatal(err)
		}
		return *out.CacheClusters[0].NotificationConfiguration.TopicStatus
	}
	soon(t, "the topic is active", func() bool { return status() == "inactive" })
	soon(t, "not created", func() bool { return *w.group(t, west1, "session-usw1").Status == "available" })
	_, err := w.clients[west1].ModifyReplicationGroup(t.Context(), &elasticache.ModifyReplicationGroupInput{
		ReplicationGroupId: aws.String("session-usw1"), NotificationTopicStatus: aws.String("active"), ApplyImmediately: aws.Bool(true),
	})
	if err != nil || status() != "active" {
		t.Errorf("%v, %s", err, status())
	}
}

// With three members the third one follows whoever is primary.
func TestThreeMembers(t *testing.T) {
	w := begin(t, nil)
	id := w.datastore(t)
	w.secondary(t, east1, "session-use1", id)
	w.settled(t, id, "available")
	if err := w.failover(t, id, west2, "session-usw2"); err != nil {
		t.Fatal(err)
	}
	w.settled(t, id, "available")
	b, third := w.dial(t, west2, "session-usw2", false), w.dial(t, east1, "session-use1", false)
	soon(t, "the new primary takes no writes", func() bool { return set(b, "k", "1") == nil })
	soon(t, "the third does not follow it", func() bool { return get(third, "k") == "1" })
	if err := set(third, "k", "2"); err == nil {
		t.Error("the third takes writes")
	}
	in := &elasticache.CreateReplicationGroupInput{ReplicationGroupId: aws.String("fourth"), ReplicationGroupDescription: aws.String("x"), GlobalReplicationGroupId: &id}
	if _, err := w.clients[east1].CreateReplicationGroup(t.Context(), in); code(err) != "InvalidParameterValue" {
		t.Errorf("a fourth member: %v", err)
	}
}
