package check

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/roam-sessions/roam/fakeaws"
	"github.com/roam-sessions/roam/internal/dns"
	"github.com/roam-sessions/roam/internal/dns/arc"
	"github.com/roam-sessions/roam/internal/dns/cloud"
	"github.com/roam-sessions/roam/internal/dns/route53"
	"github.com/roam-sessions/roam/internal/topology"
)

// signed returns a deployment whose names fakes of AWS keep.
func signed(t *testing.T) topology.Deployment {
	t.Helper()
	c, err := fakeaws.Start(t.Context(), fakeaws.Config{Propagation: 20 * time.Millisecond, Panels: []fakeaws.Panel{{Name: "write", Controls: []string{"west", "east"}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	key, secret := c.Credentials()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": filepath.Join(t.TempDir(), "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(t.TempDir(), "none"),
	} {
		t.Setenv(name, value)
	}
	client := sdk.New(sdk.Options{Region: "us-east-1", BaseEndpoint: aws.String(c.URL(fakeaws.Route53, "us-east-1")), Credentials: credentials.NewStaticCredentialsProvider(key, secret, "")})
	made, err := client.CreateHostedZone(t.Context(), &sdk.CreateHostedZoneInput{
		Name: aws.String("session.internal"), CallerReference: aws.String("1"), VPC: &types.VPC{VPCId: aws.String("vpc-1"), VPCRegion: "us-west-1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var endpoints []string
	for _, e := range c.Endpoints() {
		if e.Service == fakeaws.ARC {
			endpoints = append(endpoints, fmt.Sprintf("{region: %s, url: %q}", e.Region, e.URL))
		}
	}
	head, _, _ := strings.Cut(named, "    publish:")
	d, err := topology.Parse([]byte(head + fmt.Sprintf(`    publish:
      - {server: "127.0.0.1:1", zone: corp.example, name: write.corp.example}
      - {kind: route53, zone_id: %s, name: write.session.internal, endpoint: %q}
      - {kind: arc, controls: {west: %q, east: %q}, endpoints: [%s]}
`, strings.TrimPrefix(*made.HostedZone.Id, "/hostedzone/"), c.URL(fakeaws.Route53, "us-east-1"), c.ControlARN("write", "west"), c.ControlARN("write", "east"), strings.Join(endpoints, ", "))))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// What says where the writer is is asked itself; whom this machine may not ask is unknown.
func TestLookAtSigns(t *testing.T) {
	d := signed(t)
	put(t, d)
	look := func(i int) sign {
		l := looker{d: d, o: Options{Getenv: func(string) string { return "" }}}
		l.signpost(t.Context(), d.Control.DNS.Publish[i])
		return *l.sign
	}
	if s := look(0); s.asked || s.err == nil {
		t.Errorf("a server that is not there: %+v", s)
	}
	if s := look(1); !s.asked || s.target != "e.example" || !s.marked || s.epoch != 7 || len(s.records) != 1 {
		t.Errorf("a name at Route 53: %+v", s)
	}
	if s := look(2); !s.asked || !s.on["east"] || s.on["west"] {
		t.Errorf("routing controls: %+v", s)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "another")
	if s := look(1); s.asked || s.err == nil {
		t.Errorf("with a key that is wrong: %+v", s)
	}
}

// put has east be the writer of epoch 7, as its node would.
func put(t *testing.T, d topology.Deployment) {
	t.Helper()
	var own cloud.Cloud
	defer own.Close()
	p, err := own.Record(t.Context(), d.Control.DNS.Publish[1], route53.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w := dns.Publication{Epoch: 7, Target: "e.example"}
	if err := p.Publish(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	k, err := own.Keeper(t.Context(), d.Control.DNS.Publish[2], "east", arc.KeeperConfig{Tell: func(r dns.Report) {
		if r.Err != nil {
			t.Error(r.Err)
		}
		cancel()
	}})
	if err != nil {
		t.Fatal(err)
	}
	k.Keep(ctx, func() (dns.Publication, bool) { return w, true }, nil)
}
