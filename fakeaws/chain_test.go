//go:build integration

package fakeaws_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/aws-sdk-go-v2/service/route53recoverycluster"
	arctypes "github.com/aws/aws-sdk-go-v2/service/route53recoverycluster/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/fakeaws"
	"github.com/roam-sessions/roam/internal/valkeyserver"
)

const write = "write.session.internal"

// soon waits for something for thirty seconds.
func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	for begun := time.Now(); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > 30*time.Second {
			t.Fatalf("after 30 s: %s", what)
		}
	}
}

// datastore makes a Global Datastore of session-usw1 and session-usw2, with topics.
func (c *cloud) datastore(t *testing.T, secure bool) (id string, topics map[string]string) {
	t.Helper()
	return c.datastoreOf(t, secure, func(*elasticache.CreateReplicationGroupInput) {})
}

// datastoreOf makes one whose primary is changed before.
func (c *cloud) datastoreOf(t *testing.T, secure bool, change func(*elasticache.CreateReplicationGroupInput)) (id string, topics map[string]string) {
	t.Helper()
	topics = map[string]string{}
	for _, region := range []string{west1, west2} {
		out, err := c.sns(region).CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("events")})
		if err != nil {
			t.Fatal(err)
		}
		topics[region] = *out.TopicArn
	}
	in := &elasticache.CreateReplicationGroupInput{
		ReplicationGroupId: aws.String("session-usw1"), ReplicationGroupDescription: aws.String("p"), CacheNodeType: aws.String("cache.r7g.large"),
		ReplicasPerNodeGroup: aws.Int32(1), AutomaticFailoverEnabled: aws.Bool(true), MultiAZEnabled: aws.Bool(true), NotificationTopicArn: aws.String(topics[west1]),
	}
	second := &elasticache.CreateReplicationGroupInput{
		ReplicationGroupId: aws.String("session-usw2"), ReplicationGroupDescription: aws.String("s"), NotificationTopicArn: aws.String(topics[west2]),
	}
	if secure {
		in.TransitEncryptionEnabled, in.AuthToken = aws.Bool(true), aws.String("correct-horse-battery")
		second.AuthToken = in.AuthToken
	}
	change(in)
	if _, err := c.elasticache(west1).CreateReplicationGroup(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	soon(t, "no primary", func() bool { g := c.group(t, west1, "session-usw1"); return *g == "available" })
	made, err := c.elasticache(west1).CreateGlobalReplicationGroup(t.Context(), &elasticache.CreateGlobalReplicationGroupInput{
		GlobalReplicationGroupIdSuffix: aws.String("sessions"), PrimaryReplicationGroupId: aws.String("session-usw1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	id = *made.GlobalReplicationGroup.GlobalReplicationGroupId
	c.settled(t, id, "primary-only")
	second.GlobalReplicationGroupId = &id
	if _, err := c.elasticache(west2).CreateReplicationGroup(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	c.settled(t, id, "available")
	return id, topics
}

func (c *cloud) group(t *testing.T, region, id string) *string {
	t.Helper()
	out, err := c.elasticache(region).DescribeReplicationGroups(t.Context(), &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &id})
	if err != nil {
		t.Fatal(err)
	}
	return out.ReplicationGroups[0].Status
}

func (c *cloud) settled(t *testing.T, id, status string) {
	t.Helper()
	soon(t, "the global is not "+status, func() bool {
		out, err := c.elasticache(west2).DescribeGlobalReplicationGroups(t.Context(), &elasticache.DescribeGlobalReplicationGroupsInput{GlobalReplicationGroupId: &id})
		if err != nil {
			t.Fatal(err)
		}
		return *out.GlobalReplicationGroups[0].Status == status
	})
}

func (c *cloud) failover(t *testing.T, id string) {
	t.Helper()
	_, err := c.elasticache(west2).FailoverGlobalReplicationGroup(t.Context(), &elasticache.FailoverGlobalReplicationGroupInput{
		GlobalReplicationGroupId: &id, PrimaryRegion: aws.String(west2), PrimaryReplicationGroupId: aws.String("session-usw2"),
	})
	if err != nil {
		t.Fatal(err)
	}
}

// set writes through the name that applications write to.
func (c *cloud) set(t *testing.T, key, value string) error {
	t.Helper()
	client, err := valkey.NewClient(valkey.ClientOption{
		InitAddress: []string{write + ":6379"}, DisableCache: true, ForceSingleClient: true, DisableRetry: true,
		DialCtxFn: func(ctx context.Context, addr string, _ *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return c.DialContext(ctx, "tcp", addr)
		},
	})
	if err != nil {
		return err
	}
	defer client.Close()
	return client.Do(t.Context(), client.B().Set().Key(key).Value(value).Build()).Error()
}

// follow has each Region's topic invoke a function of this program, which has an environment of
// its group's, and returns their ARNs.
func (c *cloud) follow(t *testing.T, topics map[string]string, env func(group string) map[string]string) map[string]string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	functions := map[string]string{}
	for region, group := range map[string]string{west1: "session-usw1", west2: "session-usw2"} {
		functions[region], err = c.PutFunction(fakeaws.Function{
			Name: "dns", Region: region, Bootstrap: self, Timeout: 30 * time.Second, Invokers: []string{"sns.amazonaws.com", "events.amazonaws.com"}, Env: env(group),
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err := c.sns(region).Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: aws.String(topics[region]), Protocol: aws.String("lambda"), Endpoint: aws.String(functions[region])})
		if err != nil {
			t.Fatal(err)
		}
	}
	return functions
}

// The post, end to end: a failover publishes an event, the event invokes the function of the
// promoted Region, the function moves the record, and who writes to the name writes there.
func TestFailoverMovesTheRecord(t *testing.T) {
	c := start(t, fakeaws.Config{Propagation: 50 * time.Millisecond})
	if missing(t) {
		return
	}
	id, topics := c.datastore(t, false)
	zone := c.zone(t)
	functions := c.follow(t, topics, func(group string) map[string]string {
		return map[string]string{bootstrapEnv: "1", "ZONE": zone, "NAME": write, "GROUP": group}
	})
	if err := c.Schedule(functions[west1], time.Second); err != nil {
		t.Fatal(err)
	}
	soon(t, "the name leads nowhere", func() bool { return c.set(t, "k", "1") == nil })
	begun := time.Now()
	c.failover(t, id)
	stage := func(name string) { t.Logf("%-28s %v", name, time.Since(begun).Round(time.Millisecond)) }
	soon(t, "writes are still taken", func() bool { return c.set(t, "k", "2") != nil })
	stage("the old primary refuses")
	c.settled(t, id, "available")
	stage("promoted")
	soon(t, "the record does not move", func() bool {
		name, err := c.Resolver().LookupCNAME(t.Context(), write)
		return err == nil && strings.HasPrefix(name, "session-usw2.")
	})
	stage("the name leads there")
	soon(t, "no writes at the name", func() bool { return c.set(t, "k", "3") == nil })
	stage("written there")
	if dead := c.DeadLetters(); len(dead) != 0 {
		t.Errorf("dead letters: %+v", dead)
	}
}

// toggle turns one routing control on and another one off, at the endpoint in a Region.
func (c *cloud) toggle(t *testing.T, at, on, off string) {
	t.Helper()
	client := route53recoverycluster.New(route53recoverycluster.Options{Region: at, BaseEndpoint: aws.String(c.URL(fakeaws.ARC, at)), Credentials: c.keys(), HTTPClient: c.http, RetryMaxAttempts: 1})
	_, err := client.UpdateRoutingControlStates(t.Context(), &route53recoverycluster.UpdateRoutingControlStatesInput{UpdateRoutingControlStateEntries: []arctypes.UpdateRoutingControlStateEntry{
		{RoutingControlArn: aws.String(c.ControlARN("write", on)), RoutingControlState: arctypes.RoutingControlStateOn},
		{RoutingControlArn: aws.String(c.ControlARN("write", off)), RoutingControlState: arctypes.RoutingControlStateOff},
	}})
	if err != nil {
		t.Fatal(err)
	}
}

// pair makes failover records of a name, of which the primary goes by a health check.
func (c *cloud) pair(t *testing.T, name string, config types.HealthCheckConfig) (changes []types.Change) {
	t.Helper()
	out, err := c.route53().CreateHealthCheck(t.Context(), &route53.CreateHealthCheckInput{CallerReference: &name, HealthCheckConfig: &config})
	if err != nil {
		t.Fatal(err)
	}
	for role, value := range map[types.ResourceRecordSetFailover]string{"PRIMARY": "192.0.2.1", "SECONDARY": "192.0.2.2"} {
		r := &types.ResourceRecordSet{
			Name: aws.String(name + ".session.internal"), Type: types.RRTypeA, TTL: aws.Int64(10), Failover: role, SetIdentifier: aws.String(string(role)),
			ResourceRecords: []types.ResourceRecord{{Value: &value}},
		}
		if role == "PRIMARY" {
			r.HealthCheckId = out.HealthCheck.Id
		}
		changes = append(changes, types.Change{Action: types.ChangeActionCreate, ResourceRecordSet: r})
	}
	return changes
}

// alarm makes an alarm that rings when us-west-1 is no longer the primary.
func (c *cloud) alarm(t *testing.T) {
	t.Helper()
	metrics := cloudwatch.New(cloudwatch.Options{Region: west1, BaseEndpoint: aws.String(c.URL(fakeaws.CloudWatch, west1)), Credentials: c.keys(), HTTPClient: c.http})
	_, err := metrics.PutMetricAlarm(t.Context(), &cloudwatch.PutMetricAlarmInput{
		AlarmName: aws.String("not-primary"), Namespace: aws.String("Roam"), MetricName: aws.String("IsGlobalPrimary"), Statistic: cwtypes.StatisticMaximum,
		Period: aws.Int32(60), EvaluationPeriods: aws.Int32(2), Threshold: aws.Float64(1), ComparisonOperator: cwtypes.ComparisonOperatorLessThanThreshold, TreatMissingData: aws.String("breaching"),
	})
	if err != nil {
		t.Fatal(err)
	}
}

// With the API of Route 53 dark, failover records still move: by a routing control, and by
// an alarm on a metric.
func TestRecordsMoveWithoutTheAPI(t *testing.T) {
	c := start(t, fakeaws.Config{
		Propagation: 20 * time.Millisecond, Minute: 50 * time.Millisecond,
		Panels: []fakeaws.Panel{{Name: "write", Controls: []string{west1, west2}, Rules: []fakeaws.SafetyRule{{Name: "one", Asserted: []string{west1, west2}, Type: "ATLEAST", Threshold: 1, Wait: -1}}}},
	})
	zone := c.zone(t)
	c.toggle(t, "eu-west-1", west1, west2)
	c.alarm(t)
	changes := append(
		c.pair(t, "arc", types.HealthCheckConfig{Type: types.HealthCheckTypeRecoveryControl, RoutingControlArn: aws.String(c.ControlARN("write", west1))}),
		c.pair(t, "alarm", types.HealthCheckConfig{
			Type: types.HealthCheckTypeCloudwatchMetric, InsufficientDataHealthStatus: "Unhealthy",
			AlarmIdentifier: &types.AlarmIdentifier{Name: aws.String("not-primary"), Region: "us-west-1"},
		})...)
	if _, err := c.route53().ChangeResourceRecordSets(t.Context(), &route53.ChangeResourceRecordSetsInput{HostedZoneId: &zone, ChangeBatch: &types.ChangeBatch{Changes: changes}}); err != nil {
		t.Fatal(err)
	}
	is := func(name, want string) func() bool {
		return func() bool {
			if want == "192.0.2.1" {
				_ = c.PutMetric(west1, "Roam", "IsGlobalPrimary", 1) // as long as it is
			}
			got, err := c.Resolver().LookupHost(t.Context(), name+".session.internal")
			return err == nil && got[0] == want
		}
	}
	soon(t, "arc: not the primary", is("arc", "192.0.2.1"))
	soon(t, "alarm: not the primary", is("alarm", "192.0.2.1"))
	if err := c.SetDark(east1, true); err != nil {
		t.Fatal(err)
	}
	c.toggle(t, "ap-northeast-1", west2, west1)
	soon(t, "arc: not the secondary", is("arc", "192.0.2.2"))
	soon(t, "alarm: not the secondary", is("alarm", "192.0.2.2"))
}

// Endpoints with TLS have the certificates of their own names, and want the token.
func TestTLS(t *testing.T) {
	c := start(t, fakeaws.Config{})
	if missing(t) {
		return
	}
	c.datastore(t, true)
	out, err := c.elasticache(west1).DescribeReplicationGroups(t.Context(), &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: aws.String("session-usw1")})
	if err != nil {
		t.Fatal(err)
	}
	host := *out.ReplicationGroups[0].NodeGroups[0].PrimaryEndpoint.Address
	if !strings.HasPrefix(host, "master.session-usw1.") {
		t.Errorf("the endpoint is %s", host)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(bytes.TrimSpace(c.CA())) {
		t.Fatal("no certificate")
	}
	dial := func(name, token string) error {
		client, err := valkey.NewClient(valkey.ClientOption{
			InitAddress: []string{host + ":6379"}, DisableCache: true, ForceSingleClient: true, DisableRetry: true, Password: token,
			TLSConfig: &tls.Config{RootCAs: pool, ServerName: name, MinVersion: tls.VersionTLS12},
			DialCtxFn: func(ctx context.Context, addr string, _ *net.Dialer, config *tls.Config) (net.Conn, error) {
				raw, err := c.DialContext(ctx, "tcp", addr)
				if err != nil {
					return nil, err
				}
				return tls.Client(raw, config), nil
			},
		})
		if err != nil {
			return err
		}
		defer client.Close()
		return client.Do(t.Context(), client.B().Set().Key("k").Value("v").Build()).Error()
	}
	if err := dial(host, "correct-horse-battery"); err != nil {
		t.Errorf("with its name and token: %v", err)
	}
	if err := dial(write, "correct-horse-battery"); err == nil || !strings.Contains(err.Error(), "certificate is valid for") {
		t.Errorf("by an alias: %v, want that it does not verify", err)
	}
	if err := dial(host, "another-token-of-mine"); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("with another token: %v", err)
	}
}

// What SNS can't hand to Lambda it hands over later, as often as it takes.
func TestLambdaIsAway(t *testing.T) {
	c := start(t, fakeaws.Config{RetryScale: 0.001})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	function, err := c.PutFunction(fakeaws.Function{
		Name: "f", Region: west2, Bootstrap: self, Timeout: time.Minute, Retries: -1, Queue: "arn:aws:sqs:us-west-2:123456789012:dead",
		Invokers: []string{"sns.amazonaws.com"}, Env: map[string]string{bootstrapEnv: "1", "GROUP": "none"},
	})
	if err != nil {
		t.Fatal(err)
	}
	topic, err := c.sns(west2).CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("t")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.sns(west2).Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: aws.String("lambda"), Endpoint: &function}); err != nil {
		t.Fatal(err)
	}
	rule, err := c.AddRule(fakeaws.Rule{Service: fakeaws.Lambda, Region: west2, Effect: fakeaws.Outage})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.sns(west2).Publish(t.Context(), &sns.PublishInput{TopicArn: topic.TopicArn, Message: aws.String("m")}); err != nil {
		t.Fatal(err)
	}
	// Each of these calls takes a millisecond or so; a program starts in some 50.
	for range 200 {
		if _, err := c.sns(west2).ListTopics(t.Context(), &sns.ListTopicsInput{}); err != nil {
			t.Fatal(err)
		}
	}
	if log, dead := c.FunctionLog(function), c.DeadLetters(); len(log)+len(dead) != 0 {
		t.Errorf("with Lambda away it was invoked: %q, %v", log, dead)
	}
	c.RemoveRule(rule)
	// The function fails, as there is no such group, and has no retries.
	soon(t, "never delivered", func() bool { return len(c.DeadLetters()) > 0 })
	if l := c.DeadLetters()[0]; l.Queue != "arn:aws:sqs:us-west-2:123456789012:dead" || l.From != function || !strings.Contains(l.Body, "ReplicationGroupNotFoundFault") {
		t.Errorf("the letter is %+v", l)
	}
}

// missing skips a test that needs Valkey where there is none; in CI it fails.
func missing(t *testing.T) bool {
	t.Helper()
	_, err := valkeyserver.Find(t.Context())
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skipf("NOT TESTED on a real server: %v", err)
	}
	return false
}
