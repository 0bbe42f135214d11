package route53

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/smithy-go"
	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/roam-sessions/roam/fakeaws/internal/clock"
	"github.com/roam-sessions/roam/fakeaws/internal/door"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	write = "write.session.internal."
	usw1  = "session-usw1.x.cache.amazonaws.com"
	usw2  = "session-usw2.x.cache.amazonaws.com"
)

// A world is a fake, a client, a clock that stands, and what is behind health checks.
type world struct {
	*Fake
	*route53.Client
	keeper   *door.Keeper
	clock    *clock.Manual
	zone     string
	alarms   map[string]string
	controls map[string]bool
}

func begin(t *testing.T, throttles bool) *world {
	t.Helper()
	w := &world{clock: clock.NewManual(time.Date(2026, 6, 1, 10, 0, 0, 0, time.UTC)), alarms: map[string]string{}, controls: map[string]bool{}}
	hosts := map[string]netip.Addr{usw1 + ".": netip.MustParseAddr("127.1.0.1"), usw2 + ".": netip.MustParseAddr("127.2.0.1")}
	w.Fake = New(t.Context(), Config{
		Clock: w.clock, Account: "123456789012", Propagation: 10 * time.Second, Busy: 3 * time.Second, Throttles: throttles,
		Lookup: func(name string) (netip.Addr, bool) { a, ok := hosts[name]; return a, ok },
		Alarm:  func(region, name string) string { return w.alarms[region+"/"+name] },
		Fits: func(region, name string) error {
			if w.alarms[region+"/"+name] == "" {
				return errors.New("no such alarm")
			}
			return nil
		},
		Control: func(arn string) (bool, bool) { on, there := w.controls[arn]; return on, there },
	})
	w.keeper = door.NewKeeper(w.clock, "123456789012")
	w.keeper.Admit("AKID", door.Caller{ARN: "arn:aws:iam::123456789012:role/dns", Secret: "secret"})
	server := httptest.NewServer(w.keeper.Door(w.Service(), Region))
	transport := &http.Transport{}
	w.Client = route53.New(route53.Options{
		Region: Region, BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
		HTTPClient: &http.Client{Transport: transport}, RetryMaxAttempts: 1,
	})
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		w.Close()
	})
	out, err := w.CreateHostedZone(t.Context(), &route53.CreateHostedZoneInput{
		Name: aws.String("Session.internal"), CallerReference: aws.String("1"),
		HostedZoneConfig: &types.HostedZoneConfig{PrivateZone: true, Comment: aws.String("c")},
		VPC:              &types.VPC{VPCId: aws.String("vpc-1"), VPCRegion: types.VPCRegionUsWest1},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.zone = strings.TrimPrefix(*out.HostedZone.Id, "/hostedzone/")
	return w
}

func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

func cname(name, target string) *types.ResourceRecordSet {
	return &types.ResourceRecordSet{Name: &name, Type: types.RRTypeCname, TTL: aws.Int64(10), ResourceRecords: []types.ResourceRecord{{Value: &target}}}
}

func failover(target string, role types.ResourceRecordSetFailover, check string) *types.ResourceRecordSet {
	r := cname(write, target)
	r.Failover, r.SetIdentifier = role, aws.String(string(role))
	if check != "" {
		r.HealthCheckId = &check
	}
	return r
}

func act(a types.ChangeAction, r *types.ResourceRecordSet) types.Change {
	return types.Change{Action: a, ResourceRecordSet: r}
}

// change asks for a batch and returns its ID.
func (w *world) change(t *testing.T, changes ...types.Change) (string, error) {
	t.Helper()
	out, err := w.ChangeResourceRecordSets(t.Context(), &route53.ChangeResourceRecordSetsInput{HostedZoneId: &w.zone, ChangeBatch: &types.ChangeBatch{Changes: changes}})
	if err != nil {
		return "", err
	}
	return *out.ChangeInfo.Id, nil
}

// must asks for a batch and lets the time pass until it is in sync.
func (w *world) must(t *testing.T, changes ...types.Change) {
	t.Helper()
	if _, err := w.change(t, changes...); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(10 * time.Second)
}

func (w *world) status(t *testing.T, id string) types.ChangeStatus {
	t.Helper()
	out, err := w.GetChange(t.Context(), &route53.GetChangeInput{Id: &id})
	if err != nil {
		t.Fatal(err)
	}
	return out.ChangeInfo.Status
}

// dig returns what a name is, in words.
func (w *world) dig(t *testing.T, name string, kind uint16) string {
	t.Helper()
	q := new(dns.Msg)
	q.SetQuestion(name, kind)
	wire, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	reply, err := w.Answer(wire)
	if err != nil {
		t.Fatal(err)
	}
	var m dns.Msg
	if err := m.Unpack(reply); err != nil {
		t.Fatal(err)
	}
	if m.Rcode != dns.RcodeSuccess {
		return dns.RcodeToString[m.Rcode]
	}
	var out []string
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.CNAME:
			out = append(out, rr.Target)
		case *dns.A:
			out = append(out, rr.A.String())
		default:
			out = append(out, rr.String())
		}
	}
	return strings.Join(out, " ")
}

// A change is seen by the API at once and by the name server once it is in sync.
func TestPendingThenInSync(t *testing.T) {
	w := begin(t, false)
	id, err := w.change(t, act("UPSERT", cname(write, usw1)))
	if err != nil {
		t.Fatal(err)
	}
	list, err := w.ListResourceRecordSets(t.Context(), &route53.ListResourceRecordSetsInput{
		HostedZoneId: &w.zone, StartRecordName: aws.String(write), StartRecordType: types.RRTypeCname, MaxItems: aws.Int32(1),
	})
	if err != nil || len(list.ResourceRecordSets) != 1 || *list.ResourceRecordSets[0].ResourceRecords[0].Value != usw1 || *list.ResourceRecordSets[0].TTL != 10 {
		t.Errorf("listed: %+v, %v", list, err)
	}
	if got := w.dig(t, write, dns.TypeA); got != "NXDOMAIN" || w.status(t, id) != types.ChangeStatusPending {
		t.Errorf("before: %s, %s", got, w.status(t, id))
	}
	if _, err := w.change(t, act("UPSERT", cname(write, usw2))); code(err) != "PriorRequestNotComplete" {
		t.Errorf("a change at once after it: %v, want PriorRequestNotComplete", err)
	}
	w.clock.Advance(3 * time.Second)
	second, err := w.change(t, act("UPSERT", cname(write, usw2)))
	if err != nil {
		t.Errorf("a change later: %v", err)
	}
	w.clock.Advance(7 * time.Second)
	if got := w.dig(t, write, dns.TypeA); got != usw1+". 127.1.0.1" || w.status(t, id) != types.ChangeStatusInsync || w.status(t, second) != types.ChangeStatusPending {
		t.Errorf("the first in sync: %s, %s, %s", got, w.status(t, id), w.status(t, second))
	}
	w.clock.Advance(3 * time.Second)
	if got := w.dig(t, write, dns.TypeA); got != usw2+". 127.2.0.1" {
		t.Errorf("the second in sync: %s", got)
	}
	if _, err := w.GetChange(t.Context(), &route53.GetChangeInput{Id: aws.String("C1")}); code(err) != "NoSuchChange" {
		t.Errorf("a change that is none: %v", err)
	}
}

func TestAnswers(t *testing.T) {
	w := begin(t, false)
	w.must(t, act("UPSERT", cname(write, usw2)))
	if got := w.dig(t, write, dns.TypeTXT); got != usw2+"." {
		t.Errorf("of another type: %q, want the alias and nothing more", got)
	}
	for name, want := range map[string]string{"session.internal.": "", "no.session.internal.": "NXDOMAIN", "example.com.": "REFUSED", usw1 + ".": "127.1.0.1"} {
		if got := w.dig(t, name, dns.TypeA); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// A batch is done whole or not at all, and what can't stand together is refused.
func TestBatches(t *testing.T) {
	w := begin(t, false)
	w.must(t, act("CREATE", cname(write, usw1)))
	txt := &types.ResourceRecordSet{Name: aws.String(write), Type: types.RRTypeTxt, TTL: aws.Int64(1), ResourceRecords: []types.ResourceRecord{{Value: aws.String(`"x"`)}}}
	other := cname("other.session.internal", usw1)
	alias := cname("a.session.internal", usw1)
	alias.Weight, alias.SetIdentifier = aws.Int64(1), aws.String("x")
	long := cname("long.session.internal", usw1)
	long.TTL = nil
	bad := cname("bad.session.internal", "a..b")
	two := cname("two.session.internal", usw1)
	two.ResourceRecords = append(two.ResourceRecords, types.ResourceRecord{Value: aws.String(usw2)})
	for what, c := range map[string]struct {
		changes []types.Change
		want    string
	}{
		"created again":     {[]types.Change{act("CREATE", other), act("CREATE", cname(write, usw2))}, "but it already exists"},
		"deleted, is not":   {[]types.Change{act("CREATE", other), act("DELETE", cname("x.session.internal", usw1))}, "but it was not found"},
		"deleted, is other": {[]types.Change{act("CREATE", other), act("DELETE", cname(write, usw2))}, "do not match the current values"},
		"beside a CNAME":    {[]types.Change{act("CREATE", other), act("CREATE", txt)}, "conflicts with other records"},
		"simple, failover":  {[]types.Change{act("CREATE", other), act("CREATE", failover(usw1, "PRIMARY", ""))}, "cannot be created as other RRSets exist"},
		"at the apex":       {[]types.Change{act("CREATE", other), act("CREATE", cname("session.internal", usw1))}, "at apex"},
		"another zone":      {[]types.Change{act("CREATE", other), act("CREATE", cname("write.example.com", usw1))}, "is not permitted in zone"},
		"weighted":          {[]types.Change{act("CREATE", other), act("CREATE", alias)}, "simple records and failover records alone"},
		"without TTL":       {[]types.Change{act("CREATE", other), act("CREATE", long)}, "Invalid TTL"},
		"no name":           {[]types.Change{act("CREATE", other), act("CREATE", bad)}, "Invalid Resource Record"},
		"two aliases":       {[]types.Change{act("CREATE", other), act("CREATE", two)}, "more than one value"},
		"an unknown action": {[]types.Change{act("CREATE", other), act("MERGE", other)}, "Invalid action"},
		"two primaries": {[]types.Change{
			act("DELETE", cname(write, usw1)), act("CREATE", failover(usw1, "PRIMARY", "")),
			act("CREATE", func() *types.ResourceRecordSet {
				r := failover(usw2, "PRIMARY", "")
				r.SetIdentifier = aws.String("b")
				return r
			}()),
		}, "another PRIMARY exists"},
	} {
		_, err := w.change(t, c.changes...)
		e, ok := errors.AsType[*types.InvalidChangeBatch](err)
		if !ok || !strings.Contains(*e.Message, c.want) {
			t.Errorf("%s: %v, want InvalidChangeBatch: %s", what, err, c.want)
		}
	}
	w.clock.Advance(time.Minute)
	if got := w.dig(t, "other.session.internal.", dns.TypeA) + " " + w.dig(t, write, dns.TypeCNAME); got != "NXDOMAIN "+usw1+"." {
		t.Errorf("after all these: %s, want nothing of them", got)
	}
	big := make([]types.Change, 501)
	for i := range big {
		big[i] = act("UPSERT", cname(strings.Repeat("a", i%50+1)+strings.Repeat("b", i/50+1)+".session.internal", usw1))
	}
	if _, err := w.change(t, big...); code(err) != "InvalidChangeBatch" {
		t.Errorf("501 UPSERTs: %v, want InvalidChangeBatch, as each counts twice", err)
	}
	if _, err := w.change(t, big[:300]...); err != nil {
		t.Errorf("300 UPSERTs: %v", err)
	}
}

// From a simple record to failover records in one batch, then by the health of a control
// and of an alarm, to which the truth table of Route 53 applies.
func TestFailoverRecords(t *testing.T) {
	w := begin(t, false)
	w.controls["arn:a"], w.controls["arn:b"] = true, false
	create := func(config *types.HealthCheckConfig) string {
		t.Helper()
		out, err := w.CreateHealthCheck(t.Context(), &route53.CreateHealthCheckInput{CallerReference: aws.String(string(config.Type) + aws.ToString(config.RoutingControlArn)), HealthCheckConfig: config})
		if err != nil {
			t.Fatal(err)
		}
		return *out.HealthCheck.Id
	}
	a := create(&types.HealthCheckConfig{Type: types.HealthCheckTypeRecoveryControl, RoutingControlArn: aws.String("arn:a")})
	b := create(&types.HealthCheckConfig{Type: types.HealthCheckTypeRecoveryControl, RoutingControlArn: aws.String("arn:b")})
	w.must(t, act("CREATE", cname(write, usw1)))
	w.must(t, act("DELETE", cname(write, usw1)), act("CREATE", failover(usw1, "PRIMARY", a)), act("CREATE", failover(usw2, "SECONDARY", b)))
	for _, c := range []struct {
		a, b bool
		want string
	}{{true, false, usw1}, {true, true, usw1}, {false, true, usw2}, {false, false, usw1}} {
		w.controls["arn:a"], w.controls["arn:b"] = c.a, c.b
		if got := w.dig(t, write, dns.TypeCNAME); got != c.want+"." {
			t.Errorf("primary %v, secondary %v: %s, want %s", c.a, c.b, got, c.want)
		}
	}
	w.must(t, act("UPSERT", failover(usw2, "SECONDARY", "")))
	if got := w.dig(t, write, dns.TypeCNAME); got != usw2+"." {
		t.Errorf("a secondary without a check, and the primary down: %s, want it", got)
	}
	if _, err := w.change(t, act("UPSERT", failover(usw2, "SECONDARY", "none"))); code(err) != "NoSuchHealthCheck" {
		t.Errorf("a check that is none: %v", err)
	}

	w.alarms["us-west-1/primary"] = "OK"
	alarm := create(&types.HealthCheckConfig{
		Type: types.HealthCheckTypeCloudwatchMetric, InsufficientDataHealthStatus: types.InsufficientDataHealthStatusLastKnownStatus,
		AlarmIdentifier: &types.AlarmIdentifier{Name: aws.String("primary"), Region: types.CloudWatchRegionUsWest1},
	})
	w.must(t, act("UPSERT", failover(usw1, "PRIMARY", alarm)))
	for _, c := range []struct{ state, want string }{{"OK", usw1}, {"INSUFFICIENT_DATA", usw1}, {"ALARM", usw2}, {"INSUFFICIENT_DATA", usw2}} {
		w.alarms["us-west-1/primary"] = c.state
		if got := w.dig(t, write, dns.TypeCNAME); got != c.want+"." {
			t.Errorf("the alarm is %s: %s, want %s", c.state, got, c.want)
		}
	}
	if _, err := w.UpdateHealthCheck(t.Context(), &route53.UpdateHealthCheckInput{HealthCheckId: &alarm, Inverted: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	if got := w.dig(t, write, dns.TypeCNAME); got != usw1+"." {
		t.Errorf("inverted: %s, want %s", got, usw1)
	}
	_, err := w.UpdateHealthCheck(t.Context(), &route53.UpdateHealthCheckInput{HealthCheckId: &alarm, HealthCheckVersion: aws.Int64(1), Disabled: aws.Bool(true)})
	if code(err) != "HealthCheckVersionMismatch" {
		t.Errorf("an old version: %v", err)
	}
}

func TestEndpointsAndCalculated(t *testing.T) {
	w := begin(t, false)
	tcp, err := w.CreateHealthCheck(t.Context(), &route53.CreateHealthCheckInput{CallerReference: aws.String("1"), HealthCheckConfig: &types.HealthCheckConfig{
		Type: types.HealthCheckTypeTcp, IPAddress: aws.String("192.0.2.1"), Port: aws.Int32(80), RequestInterval: aws.Int32(10),
	}})
	if err != nil {
		t.Fatal(err)
	}
	both, err := w.CreateHealthCheck(t.Context(), &route53.CreateHealthCheckInput{CallerReference: aws.String("2"), HealthCheckConfig: &types.HealthCheckConfig{
		Type: types.HealthCheckTypeCalculated, HealthThreshold: aws.Int32(1), ChildHealthChecks: []string{*tcp.HealthCheck.Id},
	}})
	if err != nil {
		t.Fatal(err)
	}
	status := func(id *string) string {
		out, err := w.GetHealthCheckStatus(t.Context(), &route53.GetHealthCheckStatusInput{HealthCheckId: id})
		if err != nil {
			t.Fatal(err)
		}
		s, _, _ := strings.Cut(*out.HealthCheckObservations[0].StatusReport.Status, ":")
		return s
	}
	if got := status(tcp.HealthCheck.Id) + status(both.HealthCheck.Id); got != "SuccessSuccess" {
		t.Errorf("at first: %s", got)
	}
	if err := w.SetHealth(*tcp.HealthCheck.Id, false); err != nil {
		t.Fatal(err)
	}
	if got := status(tcp.HealthCheck.Id) + status(both.HealthCheck.Id); got != "FailureFailure" {
		t.Errorf("down: %s", got)
	}
	if err := w.SetHealth(*both.HealthCheck.Id, false); err == nil {
		t.Error("the health of a calculation can be set")
	}
	again, err := w.CreateHealthCheck(t.Context(), &route53.CreateHealthCheckInput{CallerReference: aws.String("1"), HealthCheckConfig: tcp.HealthCheck.HealthCheckConfig})
	if err != nil || *again.HealthCheck.Id != *tcp.HealthCheck.Id {
		t.Errorf("made again: %v", err)
	}
	if _, err := w.DeleteHealthCheck(t.Context(), &route53.DeleteHealthCheckInput{HealthCheckId: tcp.HealthCheck.Id}); err != nil {
		t.Error(err)
	}
	if _, err := w.GetHealthCheck(t.Context(), &route53.GetHealthCheckInput{HealthCheckId: tcp.HealthCheck.Id}); code(err) != "NoSuchHealthCheck" {
		t.Errorf("deleted: %v", err)
	}
}

func TestHealthChecksAreJudged(t *testing.T) {
	w := begin(t, false)
	_, err := w.CreateHealthCheck(t.Context(), &route53.CreateHealthCheckInput{CallerReference: aws.String("1"), HealthCheckConfig: &types.HealthCheckConfig{Type: "TCP", IPAddress: aws.String("192.0.2.1")}})
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		reference string
		config    types.HealthCheckConfig
		want      string
	}{
		"another of a reference":   {"1", types.HealthCheckConfig{Type: "TCP", IPAddress: aws.String("192.0.2.2")}, "HealthCheckAlreadyExists"},
		"an interval of 20 s":      {"3", types.HealthCheckConfig{Type: "TCP", IPAddress: aws.String("192.0.2.2"), RequestInterval: aws.Int32(20)}, "InvalidInput"},
		"a control with an option": {"3", types.HealthCheckConfig{Type: "RECOVERY_CONTROL", RoutingControlArn: aws.String("arn:a"), FailureThreshold: aws.Int32(1)}, "InvalidInput"},
		"an alarm that is none":    {"3", types.HealthCheckConfig{Type: "CLOUDWATCH_METRIC", InsufficientDataHealthStatus: "Healthy", AlarmIdentifier: &types.AlarmIdentifier{Name: aws.String("x"), Region: "us-west-1"}}, "InvalidInput"},
		"a threshold of 11":        {"3", types.HealthCheckConfig{Type: "TCP", IPAddress: aws.String("192.0.2.2"), FailureThreshold: aws.Int32(11)}, "InvalidInput"},
		"a child that is none":     {"3", types.HealthCheckConfig{Type: "CALCULATED", HealthThreshold: aws.Int32(1), ChildHealthChecks: []string{"x"}}, "InvalidInput"},
	} {
		_, err := w.CreateHealthCheck(t.Context(), &route53.CreateHealthCheckInput{CallerReference: &c.reference, HealthCheckConfig: &c.config})
		if code(err) != c.want {
			t.Errorf("%s: %v, want %s", what, err, c.want)
		}
	}
}

// The name server answers by UDP and by TCP.
func TestServe(t *testing.T) {
	w := begin(t, false)
	w.must(t, act("UPSERT", cname(write, usw1)))
	s, err := w.Serve(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"udp", "tcp"} {
		q := new(dns.Msg)
		q.SetQuestion(write, dns.TypeA)
		m, _, err := (&dns.Client{Net: network}).ExchangeContext(context.Background(), q, s.Addr())
		if err != nil || len(m.Answer) != 2 || !m.Authoritative || m.Answer[0].Header().Ttl != 10 {
			t.Errorf("%s: %v, %v", network, m, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
