package topology

import (
	"errors"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/dns/arc"
	"github.com/roam-sessions/roam/internal/dns/route53"
)

// ofAWS wants the rooms that ask AWS to take what is published there.
func ofAWS(d Deployment, p Publish) error {
	if p.Kind == ARC {
		var off []string
		for _, r := range d.Names()[1:] {
			off = append(off, p.Switches.Controls[r])
		}
		var endpoints []arc.Endpoint
		for _, e := range p.Switches.Endpoints {
			endpoints = append(endpoints, arc.Endpoint{URL: e.URL, Region: e.Region})
		}
		_, err := arc.NewKeeper(nil, p.Switches.Controls[d.Names()[0]], off, arc.KeeperConfig{})
		_, err2 := arc.New(nil, endpoints, arc.Config{})
		return errors.Join(err, err2)
	}
	c := route53.Config{TTL: p.TTL}
	for i, s := range p.Hosted.Pair {
		c.Pair[i] = route53.Member{Set: s.Name, Target: s.Target, Health: s.HealthCheck}
	}
	_, err := route53.New(nil, p.Hosted.ZoneID, p.Name, c)
	return err
}

// aws is a file of a deployment whose names AWS keeps alone; it has no zone of its own.
const aws = `version: 1
name: shop
topology: active-passive
primary: us-west-1
regions:
  - {name: us-west-1, id: 1, engine: {valkey: {addrs: ["127.0.0.1:6379"]}}, endpoint: {target: Master.usw1.cache.amazonaws.com.}, node: {http: "127.0.0.1:1", control: "127.0.0.1:3", api: "127.0.0.1:4"}}
  - {name: us-west-2, id: 2, engine: {valkey: {addrs: ["Master.usw2.cache.amazonaws.com:6379"], tls: {}}}, node: {http: "127.0.0.1:2", control: "127.0.0.1:5", api: "127.0.0.1:6"}}
  - {name: east, id: 3, engine: {valkey: {addrs: ["127.0.0.1:6381"]}}, endpoint: {target: master.use1.cache.amazonaws.com}, node: {http: "127.0.0.1:7", control: "127.0.0.1:8", api: "127.0.0.1:9"}}
control:
  dns:
    metric: {global: sessions, aws_regions: {east: us-east-1}}
    publish:
      - {kind: route53, zone_id: Z0123456789, name: Read.session.internal, ttl: 20s}
      - kind: route53
        zone_id: Z0123456789
        name: write.session.internal
        variant: failover
        region: us-east-1
        pair:
          - {region: us-west-1, health_check: 11111111-aaaa}
          - {name: rest, regions: [us-west-2, east], target: rest.session.internal, health_check: 22222222-bbbb}
      - kind: route53
        zone_id: Z0123456789
        name: rest.session.internal
        variant: failover
        pair:
          - {region: us-west-2, health_check: 33333333-cccc}
          - {region: east, health_check: 44444444-dddd}
      - kind: arc
        controls:
          us-west-1: arn:aws:route53-recovery-control::123456789012:controlpanel/0f0f/routingcontrol/01
          us-west-2: arn:aws:route53-recovery-control::123456789012:controlpanel/0f0f/routingcontrol/02
          east: arn:aws:route53-recovery-control::123456789012:controlpanel/0f0f/routingcontrol/03
        endpoints:
          - {region: us-east-1, url: "https://1.route53-recovery-cluster.us-east-1.amazonaws.com/v1"}
          - {region: us-west-2, url: "https://1.route53-recovery-cluster.us-west-2.amazonaws.com/v1"}
          - {region: eu-west-1, url: "https://1.route53-recovery-cluster.eu-west-1.amazonaws.com/v1"}
          - {region: ap-northeast-1, url: "https://1.route53-recovery-cluster.ap-northeast-1.amazonaws.com/v1"}
          - {region: ap-southeast-2, url: "http://127.0.0.1:4705"}
`

func TestWhatAWSKeeps(t *testing.T) {
	d := parsed(t, aws)
	soundControl(t, d)
	z := d.Control.DNS
	if z.Zone != "" || len(z.Publish) != 4 {
		t.Fatalf("it says %+v", z)
	}
	for i, want := range []map[string]string{
		{"us-west-1": "master.usw1.cache.amazonaws.com", "us-west-2": "master.usw2.cache.amazonaws.com", "east": "master.use1.cache.amazonaws.com"},
		{"us-west-1": "master.usw1.cache.amazonaws.com", "us-west-2": "rest.session.internal", "east": "rest.session.internal"},
		{"us-west-2": "master.usw2.cache.amazonaws.com", "east": "master.use1.cache.amazonaws.com"},
		{},
	} {
		if got := d.Targets(z.Publish[i]); !maps.Equal(got, want) {
			t.Errorf("%s leads to %v, want %v", z.Publish[i].Label(), got, want)
		}
	}
	if p := z.Publish[0]; p.Name != "read.session.internal" || p.TTL != 20*time.Second || p.Hosted.Pair != nil {
		t.Errorf("the first is %+v", p)
	}
	if m := z.Metric; m.AWSRegion("east") != "us-east-1" || m.AWSRegion("us-west-1") != "us-west-1" || m.Global != "sessions" {
		t.Errorf("the metric is %+v", m)
	}
	if s := z.Publish[3].Switches; len(s.Controls) != 3 || len(s.Endpoints) != 5 {
		t.Errorf("the controls are %+v", s)
	}
}

// A zone is needed for whatever else there is, and by nodes that answer.
func TestZoneIsNeeded(t *testing.T) {
	for what, change := range map[string]func(string) string{
		"a name at a server": func(s string) string {
			return strings.Replace(s, "    publish:\n", "    publish:\n      - {server: \"ns:53\", zone: y, name: a.y}\n", 1)
		},
		"a failover": func(s string) string { return strings.Replace(s, "  dns:\n", "  dns:\n    failovers: []\n", 1) },
		"a node that answers": func(s string) string {
			return strings.Replace(s, `api: "127.0.0.1:4"`, `api: "127.0.0.1:4", dns: "127.0.0.1:53"`, 1)
		},
		"nothing else, at all": func(s string) string {
			before, _, _ := strings.Cut(s, "    metric:")
			return before + "    publish: []\n"
		},
	} {
		if _, err := Parse([]byte(change(aws))); err == nil || !strings.Contains(err.Error(), "control.dns.zone: is missing") {
			t.Errorf("%s: Parse = %v, want that a zone is missing", what, err)
		}
	}
}

// In active-active nobody holds a lease, so there is nothing to follow.
func TestNothingOfAWSInActiveActive(t *testing.T) {
	file := strings.Replace(strings.Replace(aws, "active-passive\nprimary: us-west-1", "active-active", 1), "valkey: {addrs: [\"127.0.0.1:6379\"]}", "memory: {}", 1)
	_, err := Parse([]byte(file))
	for _, path := range []string{"control.dns.metric", "control.dns.publish[0]", "control.dns.publish[3]"} {
		if err == nil || !strings.Contains(err.Error(), path+": follows who") && !strings.Contains(err.Error(), path+": tells who") {
			t.Errorf("Parse = %v, want a fault at %s", err, path)
		}
	}
}

// Where a name at Route 53 leads to is a name.
func TestTarget(t *testing.T) {
	at := func(addr string) Region { return Region{Engine: Engine{Valkey: &Valkey{Addrs: []string{addr}}}} }
	for _, c := range []struct {
		region Region
		want   string
	}{
		{Region{Endpoint: &Endpoint{Place: Place{Target: "a.example"}}, Engine: at("b.example:1").Engine}, "a.example"},
		{Region{Endpoint: &Endpoint{Place: Place{Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}}, Engine: at("b.example:1").Engine}, ""},
		{at("B.example.:6379"), "b.example"},
		{at("10.0.0.1:6379"), ""},
		{at("[2001:db8::1]:6379"), ""},
		{at("localhost:6379"), ""},
		{at("bad name.example:6379"), ""},
		{Region{Engine: Engine{Memory: &Memory{}}}, ""},
	} {
		if got := c.region.Target(); got != c.want {
			t.Errorf("Target of %+v = %q, want %q", c.region, got, c.want)
		}
	}
}
