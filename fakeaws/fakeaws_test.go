package fakeaws_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/roam-sessions/roam/fakeaws"
)

// bootstrapEnv makes this program a function, and lambdaEnv makes it Roam's own.
const bootstrapEnv, lambdaEnv = "FAKEAWS_TEST_RECONCILER", "FAKEAWS_TEST_LAMBDA"

func TestMain(m *testing.M) {
	if os.Getenv(bootstrapEnv) != "" {
		reconciler()
		return
	}
	if os.Getenv(lambdaEnv) != "" {
		roamLambda()
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valkey-io/valkey-go.(*call).DelayDo.func1"))
}

const (
	west1, west2, east1 = "us-west-1", "us-west-2", "us-east-1"
	account             = "123456789012"
)

// A cloud has clients besides.
type cloud struct {
	*fakeaws.Cloud
	http *http.Client
}

func start(t *testing.T, c fakeaws.Config) *cloud {
	t.Helper()
	fakes, err := fakeaws.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := fakes.Close(); err != nil {
			t.Error(err)
		}
	})
	return &cloud{fakes, &http.Client{Transport: transport}}
}

func (c *cloud) keys() aws.CredentialsProvider {
	key, secret := c.Credentials()
	return credentials.NewStaticCredentialsProvider(key, secret, "")
}

func (c *cloud) route53() *route53.Client {
	return route53.New(route53.Options{Region: east1, BaseEndpoint: aws.String(c.URL(fakeaws.Route53, east1)), Credentials: c.keys(), HTTPClient: c.http, RetryMaxAttempts: 1})
}

func (c *cloud) sns(region string) *sns.Client {
	return sns.New(sns.Options{Region: region, BaseEndpoint: aws.String(c.URL(fakeaws.SNS, region)), Credentials: c.keys(), HTTPClient: c.http, RetryMaxAttempts: 1})
}

func (c *cloud) elasticache(region string) *elasticache.Client {
	return elasticache.New(elasticache.Options{Region: region, BaseEndpoint: aws.String(c.URL(fakeaws.ElastiCache, region)), Credentials: c.keys(), HTTPClient: c.http, RetryMaxAttempts: 1})
}

// zone makes a private zone and returns its ID.
func (c *cloud) zone(t *testing.T) string {
	t.Helper()
	out, err := c.route53().CreateHostedZone(t.Context(), &route53.CreateHostedZoneInput{
		Name: aws.String("session.internal"), CallerReference: aws.String("1"), VPC: &types.VPC{VPCId: aws.String("vpc-1"), VPCRegion: "us-west-1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(*out.HostedZone.Id, "/hostedzone/")
}

func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

// ask asks the admin endpoint.
func (c *cloud) ask(t *testing.T, method, path, body string, change func(r *http.Request)) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, c.AdminURL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(text))
}

// One URL is all services of all Regions.
func TestFront(t *testing.T) {
	c := start(t, fakeaws.Config{})
	for _, region := range []string{west1, west2} {
		client := sns.New(sns.Options{Region: region, BaseEndpoint: aws.String(c.FrontURL()), Credentials: c.keys(), HTTPClient: c.http, RetryMaxAttempts: 1})
		out, err := client.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("t")})
		if err != nil || *out.TopicArn != "arn:aws:sns:"+region+":"+account+":t" {
			t.Errorf("%v, %v", out, err)
		}
	}
	// Route 53 is in us-east-1, and whoever is given another endpoint signs for her own Region.
	for url, want := range map[string]string{c.FrontURL(): "", c.URL(fakeaws.Route53, east1): "SignatureDoesNotMatch"} {
		client := route53.New(route53.Options{Region: west1, BaseEndpoint: &url, Credentials: c.keys(), HTTPClient: c.http, RetryMaxAttempts: 1})
		if _, err := client.ListHostedZones(t.Context(), &route53.ListHostedZonesInput{}); code(err) != want || want == "" && err != nil {
			t.Errorf("Route 53 at %s: %v, want %q", url, err, want)
		}
	}
	// An endpoint of its own takes nobody else's.
	client := sns.New(sns.Options{Region: west1, BaseEndpoint: aws.String(c.URL(fakeaws.SNS, west2)), Credentials: c.keys(), HTTPClient: c.http, RetryMaxAttempts: 1})
	if _, err := client.ListTopics(t.Context(), &sns.ListTopicsInput{}); code(err) != "SignatureDoesNotMatch" {
		t.Errorf("another Region's endpoint: %v", err)
	}
	calls := c.Calls()
	if len(calls) != 5 || calls[0].Action != "CreateTopic" || calls[0].Region != west1 || calls[4].Code != "SignatureDoesNotMatch" {
		t.Errorf("calls: %+v", calls)
	}
}

// With us-east-1 goes Route 53's API, and its name server goes on.
func TestControlPlaneIsDown(t *testing.T) {
	c := start(t, fakeaws.Config{Propagation: time.Millisecond})
	zone := c.zone(t)
	change := func(value string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := c.route53().ChangeResourceRecordSets(ctx, &route53.ChangeResourceRecordSetsInput{HostedZoneId: &zone, ChangeBatch: &types.ChangeBatch{Changes: []types.Change{{
			Action: types.ChangeActionUpsert, ResourceRecordSet: &types.ResourceRecordSet{
				Name: aws.String("write.session.internal"), Type: types.RRTypeA, TTL: aws.Int64(10), ResourceRecords: []types.ResourceRecord{{Value: &value}},
			},
		}}}})
		return err
	}
	for change("192.0.2.1") != nil { // slow machines
		if t.Context().Err() != nil {
			t.Fatal("not changed")
		}
	}
	resolve := func() string {
		addrs, err := c.Resolver().LookupHost(t.Context(), "write.session.internal")
		if err != nil {
			return err.Error()
		}
		return strings.Join(addrs, " ")
	}
	for resolve() != "192.0.2.1" {
		if t.Context().Err() != nil {
			t.Fatal("not in sync")
		}
	}
	if err := c.SetDark(east1, true); err != nil {
		t.Fatal(err)
	}
	if err := change("192.0.2.2"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the API, dark: %v, want silence", err)
	}
	if got := resolve(); got != "192.0.2.1" {
		t.Errorf("the name server, with the API dark: %s", got)
	}
	if err := c.SetDark(east1, false); err != nil || len(c.Rules()) != 0 {
		t.Errorf("%v, rules %v", err, c.Rules())
	}
	if _, err := c.route53().ListHostedZones(t.Context(), &route53.ListHostedZonesInput{}); err != nil {
		t.Errorf("the API, back: %v", err)
	}
	if err := c.SetDark("mars-1", true); !errors.Is(err, fakeaws.ErrRegion) {
		t.Errorf("a Region that is none: %v", err)
	}
}

// Knobs can be turned by HTTP, by programs and not by pages.
func TestAdmin(t *testing.T) {
	c := start(t, fakeaws.Config{})
	var about struct {
		Front, DNS string
		Endpoints  []fakeaws.Endpoint
	}
	if _, text := c.ask(t, "GET", "/", "", nil); json.Unmarshal([]byte(text), &about) != nil || about.Front != c.FrontURL() || about.DNS != c.DNSAddr() || len(about.Endpoints) != 21 {
		t.Errorf("about: %+v", about)
	}
	status, text := c.ask(t, "POST", "/rules", `{"service":"sns","effect":"throttle"}`, nil)
	if status != 200 || text != `{"id":"1"}` {
		t.Fatalf("%d %s", status, text)
	}
	if _, err := c.sns(west1).ListTopics(t.Context(), &sns.ListTopicsInput{}); code(err) != "Throttling" {
		t.Errorf("throttled: %v", err)
	}
	for _, q := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/rules", "", 200, `"effect":"throttle"`},
		{"DELETE", "/rules/1", "", 200, "ok"},
		{"DELETE", "/rules/1", "", 400, "no such rule"},
		{"POST", "/rules", `{"effect":"melt"}`, 400, "effect"},
		{"PUT", "/regions/us-west-1", `{"dark":true}`, 200, "ok"},
		{"PUT", "/regions/mars-1", `{"dark":true}`, 400, "no such Region"},
		{"PUT", "/links/us-west-1/us-west-2", `{"delay":"20ms"}`, 200, "ok"},
		{"PUT", "/links/us-west-1/us-west-2", `{"delay":"2h"}`, 400, "delay"},
		{"PUT", "/mail", `{"duplicate":0.5,"delay":"1s"}`, 200, "ok"},
		{"PUT", "/mail", `{"drop":2}`, 400, "likelihood"},
		{"PUT", "/health/x", `{"healthy":false}`, 400, "NoSuchHealthCheck"},
		{"POST", "/panels", `{"name":"p","controls":["a"]}`, 200, c.ControlARN("p", "a")},
		{"POST", "/panels", `{"name":"p","controls":["a"]}`, 400, "already"},
		{"POST", "/metrics", `{"region":"us-west-1","namespace":"AWS/ElastiCache","metric":"m","value":1,"dimensions":{"CacheClusterId":"x"}}`, 200, "ok"},
		{"POST", "/schedules", `{"function":"arn:x","every":"1m"}`, 400, "Function not found"},
		{"DELETE", "/rules", "", 200, "ok"},
		{"GET", "/rules", "", 200, "[]"},
		{"GET", "/dead", "", 200, ""},
		{"GET", "/ca.pem", "", 200, "BEGIN CERTIFICATE"},
		{"GET", "/sns/confirm?TopicArn=a&Token=b", "", 400, "Token"},
		{"POST", "/calls", "", 405, ""},
	} {
		if status, text := c.ask(t, q.method, q.path, q.body, nil); status != q.status || !strings.Contains(text, q.want) {
			t.Errorf("%s %s %s: %d %s, want %d %s", q.method, q.path, q.body, status, text, q.status, q.want)
		}
	}
	for what, change := range map[string]func(r *http.Request){
		"of a page":        func(r *http.Request) { r.Header.Set("Origin", "https://example.com") },
		"by another name":  func(r *http.Request) { r.Host = "example.com" },
		"by another name2": func(r *http.Request) { r.Host = "192.0.2.1:80" },
	} {
		if status, _ := c.ask(t, "GET", "/", "", change); status != http.StatusForbidden {
			t.Errorf("a request %s: %d, want it refused", what, status)
		}
	}
}

func TestConfigIsJudged(t *testing.T) {
	for what, c := range map[string]fakeaws.Config{
		"a Region":       {Regions: []string{"Mars"}},
		"a time":         {Propagation: -1},
		"a scale":        {RetryScale: -1},
		"a dead primary": {DeadPrimary: "dances"},
	} {
		if c, err := fakeaws.Start(t.Context(), c); !errors.Is(err, fakeaws.ErrConfig) {
			t.Errorf("%s: %v, want ErrConfig", what, err)
			if err == nil {
				_ = c.Close()
			}
		}
	}
	for what, c := range map[string]fakeaws.Config{
		"a principal": {Principals: []fakeaws.Principal{{Key: "k"}}},
		"a policy":    {Principals: []fakeaws.Principal{{Key: "k", Secret: "s", ARN: "a", Policy: "{}"}}},
		"a panel":     {Panels: []fakeaws.Panel{{Name: "p"}}},
	} {
		if c, err := fakeaws.Start(t.Context(), c); err == nil {
			t.Errorf("%s is taken", what)
			_ = c.Close()
		}
	}
}

// A port that is taken is an error, and leaves nothing behind.
func TestPortIsTaken(t *testing.T) {
	c := start(t, fakeaws.Config{})
	_, text, _ := strings.Cut(strings.TrimPrefix(c.AdminURL(), "http://"), ":")
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	if other, err := fakeaws.Start(t.Context(), fakeaws.Config{Port: port}); err == nil {
		t.Error("two at a port")
		_ = other.Close()
	}
}
