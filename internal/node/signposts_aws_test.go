//go:build integration

package node

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	sdk "github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/roam-sessions/roam/fakeaws"
	"github.com/roam-sessions/roam/internal/dns/arc"
	"github.com/roam-sessions/roam/internal/dns/primary"
	"github.com/roam-sessions/roam/internal/dns/route53"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// A sky is AWS as far as a land's nodes see it.
type sky struct {
	*fakeaws.Cloud
	t       *testing.T
	records *sdk.Client
	zone    string
	checks  map[string]string // of health, by Region
}

// regionOf is the Region of AWS of one of names.
func regionOf(name string) string {
	return map[string]string{"west": "us-west-1", "east": "us-west-2", "north": "us-east-1"}[name]
}

// The nodes' key may do what the policies say, and no more: a call outside of them is refused.
const nodeKey, nodeSecret = "AKIANODES", "nodes-secret"

// newSky starts the fakes, whose minute is a second, with a zone, alarms that ring where a
// Region is not the primary, and health checks that follow them.
func newSky(t *testing.T) *sky {
	t.Helper()
	panel := fakeaws.Panel{Name: "write", Controls: names(), Rules: []fakeaws.SafetyRule{{Name: "one", Asserted: names(), Type: "ATLEAST", Threshold: 1, Wait: 100 * time.Millisecond}}}
	c, err := fakeaws.Start(t.Context(), fakeaws.Config{
		Propagation: 200 * time.Millisecond, Minute: time.Second, Panels: []fakeaws.Panel{panel},
		Principals: []fakeaws.Principal{{Key: nodeKey, Secret: nodeSecret, ARN: "arn:aws:iam::123456789012:role/node", Policy: nodePolicy(t)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	s := &sky{Cloud: c, t: t, checks: map[string]string{}}
	key, secret := c.Credentials()
	own := credentials.NewStaticCredentialsProvider(key, secret, "")
	s.records = sdk.New(sdk.Options{Region: "us-east-1", BaseEndpoint: aws.String(c.URL(fakeaws.Route53, "us-east-1")), Credentials: own})
	made, err := s.records.CreateHostedZone(t.Context(), &sdk.CreateHostedZoneInput{
		Name: aws.String("session.internal"), CallerReference: aws.String("1"), VPC: &types.VPC{VPCId: aws.String("vpc-1"), VPCRegion: "us-west-1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.zone = strings.TrimPrefix(*made.HostedZone.Id, "/hostedzone/")
	var addrs []types.Change
	for i, name := range names() {
		watch := cloudwatch.New(cloudwatch.Options{Region: regionOf(name), BaseEndpoint: aws.String(c.URL(fakeaws.CloudWatch, regionOf(name))), Credentials: own})
		if _, err := watch.PutMetricAlarm(t.Context(), &cloudwatch.PutMetricAlarmInput{
			AlarmName: aws.String("not-primary"), Namespace: aws.String(primary.Namespace), MetricName: aws.String(primary.Metric), Statistic: cwtypes.StatisticMaximum,
			Dimensions: []cwtypes.Dimension{{Name: aws.String("Region"), Value: aws.String(regionOf(name))}},
			Period:     aws.Int32(60), EvaluationPeriods: aws.Int32(2), Threshold: aws.Float64(1), ComparisonOperator: cwtypes.ComparisonOperatorLessThanThreshold,
		}); err != nil {
			t.Fatal(err)
		}
		s.checks[name] = s.check(name, types.HealthCheckConfig{
			Type: types.HealthCheckTypeCloudwatchMetric, InsufficientDataHealthStatus: "Unhealthy",
			AlarmIdentifier: &types.AlarmIdentifier{Name: aws.String("not-primary"), Region: types.CloudWatchRegion(regionOf(name))},
		})
		addrs = append(addrs, types.Change{Action: types.ChangeActionCreate, ResourceRecordSet: &types.ResourceRecordSet{
			Name: aws.String(name + ".session.internal"), Type: types.RRTypeA, TTL: aws.Int64(10),
			ResourceRecords: []types.ResourceRecord{{Value: aws.String(fmt.Sprintf("192.0.2.%d", i+1))}},
		}})
	}
	s.checks["rest"] = s.check("rest", types.HealthCheckConfig{
		Type: types.HealthCheckTypeCalculated, HealthThreshold: aws.Int32(1), ChildHealthChecks: []string{s.checks["east"], s.checks["north"]},
	})
	if _, err := s.records.ChangeResourceRecordSets(t.Context(), &sdk.ChangeResourceRecordSetsInput{HostedZoneId: &s.zone, ChangeBatch: &types.ChangeBatch{Changes: addrs}}); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": nodeKey, "AWS_SECRET_ACCESS_KEY": nodeSecret, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": filepath.Join(t.TempDir(), "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(t.TempDir(), "none"),
	} {
		t.Setenv(name, value)
	}
	return s
}

// nodePolicy is what docs/dns.md has a node's role be given: the zone's ID is the first that
// the fakes make up, so it stands for any.
func nodePolicy(t *testing.T) string {
	t.Helper()
	type statements struct{ Statement []json.RawMessage }
	var all statements
	add := func(policy string) {
		var s statements
		if err := json.Unmarshal([]byte(policy), &s); err != nil {
			t.Fatal(err)
		}
		all.Statement = append(all.Statement, s.Statement...)
	}
	for _, name := range []string{"write", "auto", "rest"} {
		p, err := route53.New(nil, "ZONE", name+".session.internal", route53.Config{})
		if err != nil {
			t.Fatal(err)
		}
		add(strings.ReplaceAll(p.Policy("aws"), "hostedzone/ZONE", "hostedzone/*"))
	}
	controls, err := arc.Policy([]string{"arn:aws:route53-recovery-control::123456789012:controlpanel/*"})
	if err != nil {
		t.Fatal(err)
	}
	add(controls)
	add(primary.Policy(""))
	out, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": all.Statement})
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func (s *sky) check(name string, c types.HealthCheckConfig) string {
	s.t.Helper()
	out, err := s.records.CreateHealthCheck(s.t.Context(), &sdk.CreateHealthCheckInput{CallerReference: &name, HealthCheckConfig: &c})
	if err != nil {
		s.t.Fatal(err)
	}
	return *out.HealthCheck.Id
}

// section is what roam.yaml has of it.
func (s *sky) section() string {
	var endpoints, controls []string
	for _, e := range s.Endpoints() {
		if e.Service == fakeaws.ARC {
			endpoints = append(endpoints, fmt.Sprintf("{region: %s, url: %q}", e.Region, e.URL))
		}
	}
	for _, name := range names() {
		controls = append(controls, fmt.Sprintf("%s: %q", name, s.ControlARN("write", name)))
	}
	hosted := fmt.Sprintf("kind: route53, zone_id: %s, endpoint: %q", s.zone, s.URL(fakeaws.Route53, "us-east-1"))
	return fmt.Sprintf(`control:
  dir: "data/{region}"
  dns:
    metric: {endpoint: %q, aws_regions: {west: us-west-1, east: us-west-2, north: us-east-1}}
    publish:
      - {%[2]s, name: write.session.internal}
      - {%[2]s, name: auto.session.internal, variant: failover, pair: [{region: west, health_check: %[3]s},
          {name: rest, regions: [east, north], target: rest.session.internal, health_check: %[4]s}]}
      - {%[2]s, name: rest.session.internal, variant: failover, pair: [{region: east, health_check: %[5]s}, {region: north, health_check: %[6]s}]}
      - {kind: arc, controls: {%[7]s}, endpoints: [%[8]s]}
`, s.FrontURL(), hosted, s.checks["west"], s.checks["rest"], s.checks["east"], s.checks["north"], strings.Join(controls, ", "), strings.Join(endpoints, ", "))
}

// leads returns which Region a name leads to.
func (s *sky) leads(name string) string {
	host, err := s.Resolver().LookupCNAME(s.t.Context(), name+".session.internal.")
	if err != nil {
		return err.Error()
	}
	host, _, _ = strings.Cut(host, ".")
	return host
}

// on returns the Regions whose routing control is on, as an endpoint says.
func (s *sky) on(l *land) (out []string) {
	states, err := l.states(s)
	if err != nil {
		return []string{err.Error()}
	}
	for _, name := range names() {
		if states[s.ControlARN("write", name)] {
			out = append(out, name)
		}
	}
	return out
}

func (l *land) states(s *sky) (map[string]bool, error) {
	p := l.parts.Control.DNS.Publish[3]
	n := l.nodes["north"]
	cluster, _, _, err := n.names.cloud.Cluster(l.t.Context(), p, "")
	if err != nil {
		return nil, err
	}
	var all []string
	for _, name := range names() {
		all = append(all, s.ControlARN("write", name))
	}
	return cluster.States(l.t.Context(), all)
}

// named returns how something of a Region fares, as another Region's member knows.
func (l *land) named(by, region, name string) (state, why string) {
	for _, seen := range l.seat(by).Status().Members {
		if seen.Member != region {
			continue
		}
		for _, n := range seen.Names {
			if strings.HasPrefix(n.Name, name) {
				return n.State, n.Why
			}
		}
	}
	return "", ""
}

// startNamed starts three Regions whose names s keeps, and returns their servers.
func (s *sky) startNamed() (*land, map[string]*valkeytest.Server) {
	s.t.Helper()
	servers := map[string]*valkeytest.Server{}
	var engines []string
	for _, name := range names() {
		servers[name] = valkeytest.Start(s.t, "--repl-diskless-sync-delay", "0", "--appendonly", "yes", "--appendfsync", "always")
		engines = append(engines, on(servers[name]))
	}
	more := func(at []string) string { return fmt.Sprintf(", control: %q, api: %q", at[2], at[3]) }
	endpoint := func(i int) string { return "{target: " + names()[i] + ".session.internal}" }
	l := describeLand(s.t, "topology: active-passive\nprimary: west", more, endpoint, s.section(), engines...)
	for _, name := range names() {
		l.startAs(name, l.parts, Config{NamesEvery: 500 * time.Millisecond})
	}
	l.agreed("north", "west holds the lease", func(s ledger.State) bool { return s.Lease.Holder == "west" })
	return l, servers
}

// everywhere waits until all says that a Region is the writer, and all know.
func (s *sky) everywhere(l *land, region string) {
	s.t.Helper()
	for _, name := range []string{"write", "auto"} {
		eventually(s.t, name+" leads to "+region, func() bool { return s.leads(name) == region })
	}
	eventually(s.t, "the control of "+region+" alone is on", func() bool { return slices.Equal(s.on(l), []string{region}) })
	for _, name := range []string{"write", "routing", "IsGlobal"} {
		eventually(s.t, "all know that "+name+" is published", func() bool { state, _ := l.named("north", region, name); return state == published })
	}
}

// rule has something become of calls.
func (s *sky) rule(r fakeaws.Rule) (id string) {
	s.t.Helper()
	id, err := s.AddRule(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// stages tells how long things take.
func stages(t *testing.T) func(what string) {
	begun := time.Now()
	return func(what string) { t.Logf("%-60s %v", what, time.Since(begun).Round(10*time.Millisecond)) }
}

// What says outside of Roam where the writer is follows the lease, by calls that the policies
// allow; and while the control plane of Route 53 is away, a failover takes no longer, and
// routing controls and health checks move all the same.
func TestNamesFollowTheLease(t *testing.T) {
	s := newSky(t)
	l, servers := s.startNamed()
	stage := stages(t)
	s.everywhere(l, "west")
	stage("all lead to west")
	if state, _ := l.named("north", "east", "write"); state != idle {
		t.Errorf("at east the name is %q, want that it is left to west", state)
	}

	// Some changes are throttled.
	s.rule(fakeaws.Rule{Service: fakeaws.Route53, Action: "ChangeResourceRecordSets", Effect: "throttle", Count: 3})
	stage = stages(t)
	if _, err := l.seat("north").Propose(t.Context(), ledger.Command{Plan: &ledger.Plan{To: "east", By: "ann"}}); err != nil {
		t.Fatal(err)
	}
	l.agreed("north", "east holds the lease", func(s ledger.State) bool { return s.Handover.Step == ledger.Done })
	stage("a switchover is done")
	s.everywhere(l, "east")
	stage("all lead to east")
	l.agreed("north", "an event tells of it", func(s ledger.State) bool {
		return slices.ContainsFunc(s.Events, func(e ledger.Event) bool { return e.Kind == ledger.KindNames && e.Region == "east" && e.Epoch == 2 })
	})
	if _, text := get(t, l.nodes["east"].HTTP(), "/metrics"); !strings.Contains(text, `roam_names{kind="arc",name="routing controls",state="published"} 1`) {
		t.Errorf("the metrics do not say that the control is on:\n%s", text)
	}

	// The control plane of Route 53 is away, and so is the primary's Region.
	rule := s.rule(fakeaws.Rule{Service: fakeaws.Route53, Effect: "hang"})
	stage = stages(t)
	_ = l.nodes["east"].Close() // never fails
	servers["east"].Kill()
	next := l.agreed("north", "another Region holds the lease", func(s ledger.State) bool { return s.Lease.Holder != "east" }).Lease
	stage("a failover is granted to " + next.Holder)
	l.under(next.Holder, next.Epoch)
	stage("it takes writes")
	eventually(t, "its control alone is on", func() bool { return slices.Equal(s.on(l), []string{next.Holder}) })
	stage("routing controls say so")
	eventually(t, "health checks move the name", func() bool { return s.leads("auto") == next.Holder })
	stage("health checks say so")
	if got := s.leads("write"); got != "east" {
		t.Errorf("the record leads to %s while nobody can change it", got)
	}
	eventually(t, "it is told that the record waits", func() bool {
		state, why := l.named("north", next.Holder, "write")
		return state == pending && why != ""
	})

	if !s.RemoveRule(rule) {
		t.Fatal("the rule is gone")
	}
	stage = stages(t)
	eventually(t, "the record follows", func() bool { return s.leads("write") == next.Holder })
	stage("Route 53 is back, and the record says so")
	s.withinPolicies()
}

// withinPolicies wants nodes to have asked for what the policies list, and nothing else.
func (s *sky) withinPolicies() {
	s.t.Helper()
	actions, codes := map[string]bool{}, map[string]bool{}
	for _, c := range s.Calls() {
		codes[c.Code] = true // rules stop calls before it is known who asks
		if strings.HasSuffix(c.Caller, "role/node") {
			actions[c.Action] = true
			if strings.Contains(c.Code, "Denied") {
				s.t.Errorf("a call outside of the policies: %+v", c)
			}
		}
	}
	for _, want := range []string{"ListResourceRecordSets", "ChangeResourceRecordSets", "GetChange", "GetRoutingControlState", "UpdateRoutingControlStates", "PutMetricData"} {
		if !actions[want] {
			s.t.Errorf("nodes never asked for %s", want)
		}
		delete(actions, want)
	}
	if !codes["Throttling"] || !codes["PriorRequestNotComplete"] {
		s.t.Errorf("nothing was throttled, or no change waited for one before it: %v", codes)
	}
	if len(actions) > 0 {
		s.t.Errorf("nodes asked for %v, which no policy lists", actions)
	}
}
