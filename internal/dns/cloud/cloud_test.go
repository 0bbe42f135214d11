package cloud

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	"go.uber.org/goleak"

	"github.com/roam-sessions/roam/fakeaws"
	"github.com/roam-sessions/roam/internal/dns"
	"github.com/roam-sessions/roam/internal/dns/arc"
	"github.com/roam-sessions/roam/internal/dns/primary"
	"github.com/roam-sessions/roam/internal/dns/route53"
	"github.com/roam-sessions/roam/internal/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sky starts the fakes with a zone and two controls, and has the SDK find their key.
func sky(t *testing.T) (c *fakeaws.Cloud, zone string) {
	t.Helper()
	c, err := fakeaws.Start(t.Context(), fakeaws.Config{Propagation: 50 * time.Millisecond, Panels: []fakeaws.Panel{{Name: "write", Controls: []string{"west", "east"}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	key, secret := c.Credentials()
	var own Cloud
	t.Cleanup(own.Close)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": filepath.Join(t.TempDir(), "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(t.TempDir(), "none"),
	} {
		t.Setenv(name, value)
	}
	a, err := own.load(t.Context(), home)
	if err != nil {
		t.Fatal(err)
	}
	client := sdk.New(sdk.Options{
		Region: home, BaseEndpoint: aws.String(c.URL(fakeaws.Route53, home)), HTTPClient: a.HTTPClient, Credentials: credentials.NewStaticCredentialsProvider(key, secret, ""),
	})
	made, err := client.CreateHostedZone(t.Context(), &sdk.CreateHostedZoneInput{
		Name: aws.String("session.internal"), CallerReference: aws.String("1"), VPC: &types.VPC{VPCId: aws.String("vpc-1"), VPCRegion: "us-west-1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, strings.TrimPrefix(*made.HostedZone.Id, "/hostedzone/")
}

// A record is asked for in Route 53's home, with the TTL of the file.
func TestRecord(t *testing.T) {
	c, zone := sky(t)
	var own Cloud
	defer own.Close()
	record, err := own.Record(t.Context(), topology.Publish{
		Kind: topology.Route53, Name: "write.session.internal", TTL: 20 * time.Second, Hosted: &topology.Hosted{ZoneID: zone, Endpoint: c.URL(fakeaws.Route53, home)},
	}, route53.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := record.Publish(t.Context(), dns.Publication{Epoch: 7, Target: "w.example"}); err != nil {
		t.Errorf("Publish = %v", err)
	}
	if is, err := record.Look(t.Context()); err != nil || len(is) != 1 || is[0].TTL != 20 || is[0].Target != "w.example" {
		t.Errorf("Look = %+v, %v", is, err)
	}
	asked(t, c, "ChangeResourceRecordSets", home)
}

// asked wants something to have been asked for in a Region, and nothing to have failed.
func asked(t *testing.T, c *fakeaws.Cloud, action, region string) {
	t.Helper()
	times := 0
	for _, call := range c.Calls() {
		if call.Code != "" || call.Action == action && call.Region != region {
			t.Errorf("%+v, want it to go well, in %s", call, region)
		}
		if call.Action == action {
			times++
		}
	}
	if times == 0 {
		t.Errorf("nobody asked for %s", action)
	}
}

// Each endpoint is asked with a signature for its own Region: the others would refuse it.
func TestKeeper(t *testing.T) {
	c, _ := sky(t)
	var own Cloud
	defer own.Close()
	switches := &topology.Switches{Controls: map[string]string{"west": c.ControlARN("write", "west"), "east": c.ControlARN("write", "east")}}
	for _, e := range c.Endpoints() {
		if e.Service == fakeaws.ARC {
			switches.Endpoints = append(switches.Endpoints, topology.ClusterEndpoint{Region: e.Region, URL: e.URL})
		}
	}
	p := topology.Publish{Kind: topology.ARC, Switches: switches}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	keeper, err := own.Keeper(t.Context(), p, "east", arc.KeeperConfig{Tell: func(r dns.Report) {
		if r.Err != nil {
			t.Errorf("Keep told %v", r.Err)
		}
		cancel()
	}})
	if err != nil {
		t.Fatal(err)
	}
	keeper.Keep(ctx, func() (dns.Publication, bool) { return dns.Publication{Epoch: 7, Target: "east"}, true }, nil)
	cluster, on, off, err := own.Cluster(t.Context(), p, "east")
	if err != nil || on != c.ControlARN("write", "east") || len(off) != 1 || off[0] != c.ControlARN("write", "west") {
		t.Fatalf("Cluster = %q, %q, %v", on, off, err)
	}
	if states, err := cluster.States(t.Context(), append(off, on)); err != nil || !states[on] || states[off[0]] {
		t.Errorf("States = %v, %v, want that of east alone", states, err)
	}
}

// CloudWatch is told in the Region of AWS that a Region is in.
func TestTeller(t *testing.T) {
	c, _ := sky(t)
	var own Cloud
	defer own.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	m := topology.Metric{Endpoint: c.FrontURL(), AWS: map[string]string{"east": "us-west-2"}}
	teller, err := own.Teller(t.Context(), m, "shop", "east", primary.Config{Tell: func(r primary.Report) {
		if r.Err != nil {
			t.Errorf("the metric: %v", r.Err)
		}
		cancel()
	}})
	if err != nil {
		t.Fatal(err)
	}
	teller.Keep(ctx, func() (primary.Role, bool) { return primary.Role{Epoch: 7, Primary: true}, true }, nil)
	asked(t, c, "PutMetricData", "us-west-2")
}

func TestKindsAreNotMixed(t *testing.T) {
	var own Cloud
	defer own.Close()
	if _, err := own.Record(t.Context(), topology.Publish{Kind: topology.ARC}, route53.Config{}); !errors.Is(err, errKind) {
		t.Errorf("Record of routing controls = %v", err)
	}
	if _, err := own.Keeper(t.Context(), topology.Publish{Kind: topology.Route53, Name: "a.b"}, "west", arc.KeeperConfig{}); !errors.Is(err, errKind) {
		t.Errorf("Keeper of a name = %v", err)
	}
}

// Close ends connections that nobody uses.
func TestClose(t *testing.T) {
	ended := make(chan struct{}, 1)
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			ended <- struct{}{}
		}
	}
	server.Start()
	defer server.Close()
	var own Cloud
	a, err := own.load(t.Context(), home)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := a.HTTPClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	own.Close()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("the connection is kept")
	}
}
