package awsdrill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	watch "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/roam-sessions/roam/fakeaws"
	"github.com/roam-sessions/roam/internal/awslambda"
)

const (
	west1, west2 = "us-west-1", "us-west-2"
	// global is the Region of Route 53's control plane.
	global  = "us-east-1"
	account = "123456789012"
	domain  = "session.internal"
	panel   = "write"
	// namespace is that of the functions' metrics.
	namespace = "SessionStore"
	// setUpTime bounds each step of making a World.
	setUpTime = 30 * time.Second
	pollEvery = 20 * time.Millisecond
)

func regions() []string { return []string{west1, west2} }

// The names that lead to the primary.
const (
	byRecord  = "write." + domain
	byControl = "arc." + domain
	byHealth  = "health." + domain
)

func names() []string { return []string{byRecord, byControl, byHealth} }

// ways says what moves each name.
func ways() map[string]string {
	return map[string]string{byRecord: "a record", byControl: "a routing control", byHealth: "a health check"}
}

// A Config is what a drill may be told.
type Config struct {
	// Promotion is how long ElastiCache takes to promote a group: up to a minute.
	Promotion time.Duration
	// Propagation is how long a change of a record takes until names lead elsewhere: up to a minute.
	Propagation time.Duration
	// Minute is how long a minute of alarms and schedules is: a second to a minute.
	Minute time.Duration
	// Shards is how many a Region's cache has, up to 8; more than one: cluster mode is enabled.
	Shards int
	// Bootstrap is the program of the Lambda function; empty: it is built.
	Bootstrap string
	// Talk is told what goes on.
	Talk io.Writer
}

// A world is AWS, with all that the post's architecture has in it.
type world struct {
	config    Config
	cloud     *fakeaws.Cloud
	dir       string
	store     string            // the Global Datastore's ID
	groups    map[string]string // endpoints that take writes, by Region
	readers   map[string]string // host:port of endpoints that are read from; of clusters there are none
	topics    map[string]string
	zone      string
	functions map[string]string      // ARNs
	promoters map[string]string      // theirs
	dark      atomic.Pointer[string] // the Region that is off the network; nil: none is
	stands    []*stand
	began     time.Time
	undo      func() // has names be asked for as before
}

func (w *world) say(format string, args ...any) {
	_, _ = fmt.Fprintf(w.config.Talk, "%8.2fs  %s\n", time.Since(w.began).Seconds(), fmt.Sprintf(format, args...))
}

// newWorld makes a world. Close it, also if that fails.
func newWorld(ctx context.Context, c Config) (*world, error) {
	w := &world{
		config: c, groups: map[string]string{}, readers: map[string]string{}, topics: map[string]string{}, functions: map[string]string{}, promoters: map[string]string{}, began: time.Now(),
	}
	var err error
	if w.dir, err = os.MkdirTemp("", "roam-awsdrill-"); err != nil {
		return w, err
	}
	if c.Bootstrap == "" {
		w.say("the Lambda function is built")
		w.config.Bootstrap = filepath.Join(w.dir, "bootstrap")
		build := exec.CommandContext(ctx, "go", "build", "-tags", "lambda.norpc", "-o", w.config.Bootstrap, "github.com/roam-sessions/roam/cmd/roam-lambda")
		if out, err := build.CombinedOutput(); err != nil {
			return w, fmt.Errorf("build the Lambda function: %w: %s", err, out)
		}
	}
	w.say("AWS begins")
	const soon = 200 * time.Millisecond
	w.cloud, err = fakeaws.Start(ctx, fakeaws.Config{
		Regions: []string{west1, west2, global}, DeadPrimary: fakeaws.DeadPrimaryWorks, Propagation: c.Propagation, Minute: c.Minute, RetryScale: c.Minute.Seconds() / 60,
		Times:  &fakeaws.Times{Create: soon, Join: soon, Failover: c.Promotion, Disassociate: soon, Modify: soon, Delete: soon},
		Panels: []fakeaws.Panel{{Name: panel, Controls: regions(), Rules: []fakeaws.SafetyRule{{Name: "one", Asserted: regions(), Type: "ATLEAST", Threshold: 1}}}},
	})
	if err != nil {
		return w, err
	}
	w.undo = resolving(w.cloud.Resolver())
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"a Global Datastore of two Regions", w.makeStore},
		{"a zone, alarms and failover records", w.makeNames},
		{"a function in each Region, told by topics and a schedule", w.makeFunctions},
		{"a shop in each Region, at each name", w.makeShops},
	} {
		w.say("%s", step.what)
		limit, cancel := context.WithTimeout(ctx, setUpTime)
		err := step.do(limit)
		cancel()
		if err != nil {
			return w, fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return w, nil
}

// close ends all of it.
func (w *world) close() error {
	for _, s := range w.stands {
		s.close()
	}
	if w.undo != nil {
		w.undo()
	}
	var err error
	if w.cloud != nil {
		err = w.cloud.Close()
	}
	if w.dir != "" {
		err = errors.Join(err, os.RemoveAll(w.dir))
	}
	return err
}

func (w *world) keys() aws.CredentialsProvider {
	key, secret := w.cloud.Credentials()
	return credentials.NewStaticCredentialsProvider(key, secret, "")
}

func (w *world) cache(region string) *elasticache.Client {
	return elasticache.New(elasticache.Options{Region: region, BaseEndpoint: aws.String(w.cloud.FrontURL()), Credentials: w.keys(), RetryMaxAttempts: 1})
}

func (w *world) records() *route53.Client {
	return route53.New(route53.Options{Region: global, BaseEndpoint: aws.String(w.cloud.FrontURL()), Credentials: w.keys(), RetryMaxAttempts: 1})
}

// until waits for something, as long as ctx lasts.
func until(ctx context.Context, is func() (bool, error)) error {
	ticks := time.NewTicker(pollEvery)
	defer ticks.Stop()
	for {
		done, err := is()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticks.C:
		}
	}
}

func groupOf(region string) string { return "session-" + strings.ReplaceAll(region, "-", "") }

// makeStore makes a Global Datastore whose primary is in us-west-1, with a topic in each Region.
func (w *world) makeStore(ctx context.Context) error {
	for _, region := range regions() {
		client := sns.New(sns.Options{Region: region, BaseEndpoint: aws.String(w.cloud.FrontURL()), Credentials: w.keys(), RetryMaxAttempts: 1})
		out, err := client.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("session-events")})
		if err != nil {
			return err
		}
		w.topics[region] = *out.TopicArn
		if err := w.makeGroup(ctx, region); err != nil {
			return err
		}
		if w.store != "" {
			continue
		}
		made, err := w.cache(region).CreateGlobalReplicationGroup(ctx, &elasticache.CreateGlobalReplicationGroupInput{
			GlobalReplicationGroupIdSuffix: aws.String("sessions"), PrimaryReplicationGroupId: aws.String(groupOf(region)),
		})
		if err != nil {
			return err
		}
		w.store = *made.GlobalReplicationGroup.GlobalReplicationGroupId
		if err := until(ctx, func() (bool, error) { return w.is(ctx, "primary-only", "") }); err != nil {
			return err
		}
	}
	return until(ctx, func() (bool, error) { return w.is(ctx, "available", west1) })
}

// makeGroup makes a Region's group, and learns its endpoints.
func (w *world) makeGroup(ctx context.Context, region string) error {
	in := &elasticache.CreateReplicationGroupInput{
		ReplicationGroupId: aws.String(groupOf(region)), ReplicationGroupDescription: aws.String("sessions"), NotificationTopicArn: aws.String(w.topics[region]),
		ReplicasPerNodeGroup: aws.Int32(1),
	}
	if w.store == "" {
		in.CacheNodeType, in.AutomaticFailoverEnabled, in.MultiAZEnabled = aws.String("cache.r7g.large"), aws.Bool(true), aws.Bool(true)
		if w.config.Shards > 1 {
			in.NumNodeGroups, in.CacheParameterGroupName = aws.Int32(int32(w.config.Shards)), aws.String("default.valkey8.cluster.on") //nolint:gosec // a few
		}
	} else {
		in.GlobalReplicationGroupId = &w.store
	}
	if _, err := w.cache(region).CreateReplicationGroup(ctx, in); err != nil {
		return err
	}
	return until(ctx, func() (bool, error) {
		out, err := w.cache(region).DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: in.ReplicationGroupId})
		if err != nil || *out.ReplicationGroups[0].Status != "available" {
			return false, err
		}
		if e := out.ReplicationGroups[0].ConfigurationEndpoint; e != nil {
			w.groups[region] = *e.Address
			return true, nil
		}
		n := out.ReplicationGroups[0].NodeGroups[0]
		w.groups[region] = *n.PrimaryEndpoint.Address
		w.readers[region] = net.JoinHostPort(*n.ReaderEndpoint.Address, strconv.Itoa(int(*n.ReaderEndpoint.Port)))
		return true, nil
	})
}

// is reports whether the Global Datastore has a status, and a Region as its primary, if one is named.
func (w *world) is(ctx context.Context, status, primary string) (bool, error) {
	asked := west2
	if dark := w.dark.Load(); dark != nil && *dark == asked {
		asked = west1
	}
	out, err := w.cache(asked).DescribeGlobalReplicationGroups(ctx, &elasticache.DescribeGlobalReplicationGroupsInput{
		GlobalReplicationGroupId: &w.store, ShowMemberInfo: aws.Bool(true),
	})
	if err != nil {
		return false, err
	}
	g := out.GlobalReplicationGroups[0]
	for _, m := range g.Members {
		if *m.ReplicationGroupRegion == primary && *m.Role != "PRIMARY" {
			return false, nil
		}
	}
	return *g.Status == status, nil
}

// makeNames makes the zone, with failover records by routing controls and by alarms on who is the
// primary. The plain record is for the functions to make.
func (w *world) makeNames(ctx context.Context) error {
	made, err := w.records().CreateHostedZone(ctx, &route53.CreateHostedZoneInput{
		Name: aws.String(domain), CallerReference: aws.String("drill"), VPC: &types.VPC{VPCId: aws.String("vpc-1"), VPCRegion: types.VPCRegionUsWest1},
	})
	if err != nil {
		return err
	}
	w.zone = strings.TrimPrefix(*made.HostedZone.Id, "/hostedzone/")
	// A Region that is gone says no 0. Of the record that is answered first silence is bad, as the other one may be
	// the primary; of the other it says nothing new, or a metric that fails would lead writes away from it.
	silent := []types.InsufficientDataHealthStatus{types.InsufficientDataHealthStatusUnhealthy, types.InsufficientDataHealthStatusLastKnownStatus}
	var changes []types.Change
	for i, region := range regions() {
		if err := w.makeAlarm(ctx, region); err != nil {
			return err
		}
		for name, check := range map[string]types.HealthCheckConfig{
			byControl: {Type: types.HealthCheckTypeRecoveryControl, RoutingControlArn: aws.String(w.cloud.ControlARN(panel, region))},
			byHealth: {
				Type: types.HealthCheckTypeCloudwatchMetric, InsufficientDataHealthStatus: silent[i],
				AlarmIdentifier: &types.AlarmIdentifier{Name: aws.String("not-primary"), Region: types.CloudWatchRegion(region)},
			},
		} {
			out, err := w.records().CreateHealthCheck(ctx, &route53.CreateHealthCheckInput{CallerReference: aws.String(name + region), HealthCheckConfig: &check})
			if err != nil {
				return err
			}
			changes = append(changes, types.Change{Action: types.ChangeActionCreate, ResourceRecordSet: &types.ResourceRecordSet{
				Name: aws.String(name), Type: types.RRTypeCname, TTL: aws.Int64(10), SetIdentifier: aws.String(region), HealthCheckId: out.HealthCheck.Id,
				Failover:        []types.ResourceRecordSetFailover{types.ResourceRecordSetFailoverPrimary, types.ResourceRecordSetFailoverSecondary}[i],
				ResourceRecords: []types.ResourceRecord{{Value: aws.String(w.groups[region])}},
			}})
		}
	}
	_, err = w.records().ChangeResourceRecordSets(ctx, &route53.ChangeResourceRecordSetsInput{HostedZoneId: &w.zone, ChangeBatch: &types.ChangeBatch{Changes: changes}})
	return err
}

// makeAlarm makes the alarm of a Region that is not the primary.
func (w *world) makeAlarm(ctx context.Context, region string) error {
	client := cloudwatch.New(cloudwatch.Options{Region: region, BaseEndpoint: aws.String(w.cloud.FrontURL()), Credentials: w.keys(), RetryMaxAttempts: 1})
	_, err := client.PutMetricAlarm(ctx, &cloudwatch.PutMetricAlarmInput{
		AlarmName: aws.String("not-primary"), Namespace: aws.String(namespace), MetricName: aws.String("IsGlobalPrimary"), Statistic: watch.StatisticMaximum,
		Dimensions: []watch.Dimension{{Name: aws.String("Region"), Value: &region}}, Period: aws.Int32(60), EvaluationPeriods: aws.Int32(2),
		Threshold: aws.Float64(1), ComparisonOperator: watch.ComparisonOperatorLessThanThreshold, TreatMissingData: aws.String("missing"),
	})
	return err
}

// makeFunctions puts the function into each Region, under its own policy.
func (w *world) makeFunctions(ctx context.Context) error {
	var endpoints []string
	for _, e := range w.cloud.Endpoints() {
		if e.Service == fakeaws.ARC {
			endpoints = append(endpoints, e.Region+"="+e.URL)
		}
	}
	for i, region := range regions() {
		arn, err := w.install(region, "reconcile", map[string]string{
			"ROAM_DRIVE": "record,control,metric", "ROAM_ZONE": w.zone, "ROAM_NAME": byRecord, "ROAM_CONTROL": w.cloud.ControlARN(panel, region),
			"ROAM_CONTROLS_OFF": w.cloud.ControlARN(panel, regions()[1-i]), "ROAM_ENDPOINTS": strings.Join(endpoints, ","),
		})
		if err != nil {
			return err
		}
		w.functions[region] = arn
		client := sns.New(sns.Options{Region: region, BaseEndpoint: aws.String(w.cloud.FrontURL()), Credentials: w.keys(), RetryMaxAttempts: 1})
		_, err = client.Subscribe(ctx, &sns.SubscribeInput{TopicArn: aws.String(w.topics[region]), Protocol: aws.String("lambda"), Endpoint: aws.String(w.functions[region])})
		if err != nil {
			return err
		}
		if err := w.cloud.Schedule(w.functions[region], w.config.Minute); err != nil {
			return err
		}
	}
	return nil
}

// install puts a function into a Region, under its own policy, and returns its ARN.
func (w *world) install(region, name string, env map[string]string) (string, error) {
	env["ROAM_GROUP"], env["ROAM_GLOBAL"], env["ROAM_NAMESPACE"] = groupOf(region), w.store, namespace
	read, err := awslambda.ReadConfig(func(name string) string {
		if name == "AWS_REGION" { // Lambda's own
			return region
		}
		return env[name]
	})
	if err != nil {
		return "", err
	}
	policy, err := awslambda.Policy(read, awslambda.Account{ID: account, Partition: "aws", Function: name})
	if err != nil {
		return "", err
	}
	role := fakeaws.Principal{Key: "AKIA" + name + region, Secret: name + " of " + region, ARN: "arn:aws:iam::" + account + ":role/" + name + "-" + region, Policy: string(policy)}
	if err := w.cloud.Admit(role); err != nil {
		return "", err
	}
	return w.cloud.PutFunction(fakeaws.Function{
		Name: name, Region: region, Role: role.ARN, Bootstrap: w.config.Bootstrap, Timeout: awslambda.Timeout, Concurrent: 1, Env: env,
		Invokers: []string{"sns.amazonaws.com", "events.amazonaws.com"},
	})
}

// makeShops waits until all names lead to the primary, and opens the shops.
func (w *world) makeShops(ctx context.Context) error {
	for _, name := range names() {
		if err := until(ctx, func() (bool, error) { return w.leads(ctx, name, west1), nil }); err != nil {
			return fmt.Errorf("%s leads nowhere: %w", name, err)
		}
		for _, region := range regions() {
			s, err := openStand(ctx, name, region, w.readers[region])
			if err != nil {
				return err
			}
			w.stands = append(w.stands, s)
		}
	}
	return nil
}

// leads reports whether a name leads to a Region.
func (w *world) leads(ctx context.Context, name, region string) bool {
	target, err := w.cloud.Resolver().LookupCNAME(ctx, name)
	return err == nil && strings.TrimSuffix(target, ".") == w.groups[region]
}
