package topology

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/judge/alarm"
	"github.com/roam-sessions/roam/internal/judge/routing"
	"github.com/roam-sessions/roam/internal/lease"
)

// everything has every key of a control plane.
const everything = `
version: 1
name: shop-1
topology: active-passive
primary: west
regions:
  - name: west
    id: 1
    engine: {valkey: {addrs: ["db.west:6379"], tls: {}}}
    replicate: "10.0.0.1:6380"
    node: {control: "0.0.0.0:7102", control_advertise: "node.west:7102", api: "0.0.0.0:7103", api_advertise: "api.west:7103", dns: "10.0.0.2:53"}
    endpoint: {addrs: [10.0.0.1, "2001:db8::1"], port: 6379}
  - name: east
    id: 2
    engine: {valkey: {addrs: ["db.east:6379"], tls: {}}}
    node: {control: "10.1.0.2:7102", api: "10.1.0.2:7103"}
    endpoint: {target: DB.east.}
links: {tls: {ca: c, cert: "{region}.pem", key: "{region}.key"}}
control:
  witnesses:
    - {name: w-1, id: 31, control: "0.0.0.0:7102", advertise: "w.north:7102", api: "0.0.0.0:7103", api_advertise: "w.north:7104"}
  dir: "state/{region}/x"
  lease: {ttl: 6s, guard: 2s, renew: 1500ms, answer: 900ms, max_step: 100ms, mode: strict}
  judge:
    {mode: advise, barred: [east], max_lag: 2s, max_clock: 3s, stale: 4s, slow_writes: 5ms, failed_share: 0.25, lost_share: 0.75, min_writes: 100,
     cooldown: 6m, max_failovers: 7, window: 8h, attempt: 9s, max_flaps: 10, flap_window: 11m}
  alarms:
    - {name: slow, metric: write-p99, region: west, from: east, comparison: GreaterThanThreshold, threshold: 250.5, period: 10s, periods: 5, to_alarm: 3, missing: breaching, feed: fail-over}
    - {name: far, metric: lag, region: east, threshold: 0, periods: 1}
  routing:
    controls:
      - {name: write-west, region: west, writer: true}
      - {name: users-west, region: west}
      - {name: users-east, region: east, writer: false}
    rules:
      - {name: some, controls: [users-west, users-east], type: ATLEAST, threshold: 1}
      - {name: gate, controls: [users-west], gates: [users-east], type: OR, inverted: true, wait: 0s}
      - {name: slow, controls: [users-east], type: AND, wait: 9s}
  webhooks:
    - {name: pager, url: "https://hooks.example:8443/x?y=z", secret_file: hook, kinds: [promoted, alarm]}
    - {name: topic, url: "http://127.0.0.1:9000/", secret_env: HOOK, sns: true, topic_arn: "arn:aws:sns:us-west-1:1:roam"}
  tokens:
    - {name: look, role: viewer, sha256_file: look}
    - {name: do, role: operator, sha256_env: DO}
  dns:
    zone: Session.Internal.
    nameservers: [{name: ns1.session.internal, addrs: [10.0.0.2]}, {name: ns.corp.example}]
    failovers:
      - {name: shop, primary: {region: west}, secondary: {target: sorry.example}, ttl: 20s}
      - {name: "@", primary: {addrs: [10.0.0.8]}, secondary: {addrs: [10.0.0.9]}}
    names:
      - {name: api, addrs: [10.0.0.7], services: [{priority: 1, weight: 2, port: 443, target: west.session.internal}], ttl: 30s}
      - {name: www.shop, target: shop.session.internal}
    secondaries:
      - {addr: "10.0.0.53:53", key_name: transfer, algorithm: hmac-sha512, secret_file: tsig}
      - {addr: "[2001:db8::53]:5353"}
    publish:
      - {server: "ns.corp.example:53", zone: corp.example, name: write.corp.example, key_name: Roam., secret_env: TSIG, ttl: 5s}
    rate: 500
`

func parsed(t *testing.T, file string) Deployment {
	t.Helper()
	d, err := Parse([]byte(file))
	if err != nil {
		t.Fatalf("Parse = %v, want nil", err)
	}
	return d
}

func dnsOfEverything() *DNS {
	addr := netip.MustParseAddr
	return &DNS{
		Zone:        "session.internal",
		Nameservers: []Nameserver{{Name: "ns1.session.internal", Addrs: []netip.Addr{addr("10.0.0.2")}}, {Name: "ns.corp.example"}},
		Failovers: []Failover{
			{Name: "shop", Primary: Leg{Region: "west"}, Secondary: Leg{Place: Place{Target: "sorry.example"}}, TTL: 20 * time.Second},
			{Name: "@", Primary: Leg{Place: Place{Addrs: []netip.Addr{addr("10.0.0.8")}}}, Secondary: Leg{Place: Place{Addrs: []netip.Addr{addr("10.0.0.9")}}}},
		},
		Names: []Name{
			{
				Name: "api", Place: Place{Addrs: []netip.Addr{addr("10.0.0.7")}}, TTL: 30 * time.Second,
				Services: []Service{{Priority: 1, Weight: 2, Port: 443, Target: "west.session.internal"}},
			},
			{Name: "www.shop", Place: Place{Target: "shop.session.internal"}},
		},
		Secondaries: []Secondary{
			{Addr: netip.MustParseAddrPort("10.0.0.53:53"), Key: &Key{Name: "transfer", Algorithm: "hmac-sha512", Secret: Source{File: "/etc/roam/tsig"}}},
			{Addr: netip.MustParseAddrPort("[2001:db8::53]:5353")},
		},
		Publish: []Publish{{
			Kind:   RFC2136,
			Server: "ns.corp.example:53", Zone: "corp.example", Name: "write.corp.example", TTL: 5 * time.Second,
			Key: &Key{Name: "roam", Algorithm: "hmac-sha256", Secret: Source{Env: "TSIG"}},
		}},
		Rate: 500,
	}
}

// controlOfEverything is what everything says, below the folder /etc/roam.
func controlOfEverything() *Control {
	return &Control{
		Witnesses: []Witness{{Name: "w-1", ID: 31, Control: "0.0.0.0:7102", Advertise: "w.north:7102", API: "0.0.0.0:7103", APIAdvertise: "w.north:7104"}},
		Dir:       "/etc/roam/state/{region}/x",
		Lease:     lease.Config{TTL: 6 * time.Second, Guard: 2 * time.Second, Renew: 1500 * time.Millisecond, Answer: 900 * time.Millisecond, MaxStep: 100 * time.Millisecond, Strict: true},
		Judge: judge.Config{
			Regions: []string{"west", "east"}, Witnesses: []string{"w-1"}, Barred: []string{"east"}, Mode: judge.Advise,
			MaxLag: 2 * time.Second, MaxClock: 3 * time.Second, Stale: 4 * time.Second, SlowWrites: 5 * time.Millisecond,
			FailedShare: 0.25, LostShare: 0.75, MinWrites: 100, Cooldown: 6 * time.Minute, MaxFailovers: 7, Window: 8 * time.Hour,
			Attempt: 9 * time.Second, MaxFlaps: 10, FlapWindow: 11 * time.Minute,
		},
		Alarms: []alarm.Alarm{
			{
				Name: "slow", Metric: alarm.WriteP99, Region: "west", From: "east", Comparison: alarm.Greater, Threshold: 250.5,
				Period: 10 * time.Second, Periods: 5, ToAlarm: 3, Missing: alarm.Breaching, Feed: alarm.FeedFailOver,
			},
			{Name: "far", Metric: alarm.Lag, Region: "east", Periods: 1},
		},
		Controls: []routing.Control{
			{Name: "write-west", Region: "west", Writer: true}, {Name: "users-west", Region: "west"}, {Name: "users-east", Region: "east"},
		},
		Rules: []routing.Rule{
			{Name: "some", Controls: []string{"users-west", "users-east"}, Type: routing.AtLeast, Threshold: 1},
			{Name: "gate", Controls: []string{"users-west"}, Gates: []string{"users-east"}, Type: routing.Or, Inverted: true, Wait: -1},
			{Name: "slow", Controls: []string{"users-east"}, Type: routing.And, Wait: 9 * time.Second},
		},
		Webhooks: []Webhook{
			{Name: "pager", URL: "https://hooks.example:8443/x?y=z", Secret: Source{File: "/etc/roam/hook"}, Kinds: []string{"promoted", "alarm"}},
			{Name: "topic", URL: "http://127.0.0.1:9000/", Secret: Source{Env: "HOOK"}, SNS: true, TopicARN: "arn:aws:sns:us-west-1:1:roam"},
		},
		Tokens: []Token{
			{Name: "look", Role: Viewer, SHA256: Source{File: "/etc/roam/look"}}, {Name: "do", Role: Operator, SHA256: Source{Env: "DO"}},
		},
		DNS: dnsOfEverything(),
	}
}

func TestParseReadsEveryKeyOfControl(t *testing.T) {
	want := controlOfEverything()
	d := parsed(t, everything)
	before := fmt.Sprintf("%+v %+v", *d.Control, *d.Control.DNS.Secondaries[0].Key)
	under := d.Under("/etc/roam")
	if diff := cmp.Diff(want, under.Control, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})); diff != "" {
		t.Errorf("Parse(everything).Control (-want +got):\n%s", diff)
	}
	if after := fmt.Sprintf("%+v %+v", *d.Control, *d.Control.DNS.Secondaries[0].Key); before != after {
		t.Errorf("Under changed the Deployment it was called on:\n%s\n%s", before, after)
	}
	if got := d.Control.DirOf("w-1"); got != "state/w-1/x" {
		t.Errorf("DirOf(w-1) = %q", got)
	}
	if w, ok := d.Witness("w-1"); !ok || w.ID != 31 {
		t.Errorf("Witness(w-1) = %+v, %t", w, ok)
	}
}

func TestParseReadsEveryKeyOfARegion(t *testing.T) {
	addr := netip.MustParseAddr
	d := parsed(t, everything)
	west, east := d.Regions[0], d.Regions[1]
	if got, want := west.Node, (Node{
		HTTP: "127.0.0.1:7101", Control: "0.0.0.0:7102", ControlAdvertise: "node.west:7102",
		API: "0.0.0.0:7103", APIAdvertise: "api.west:7103", DNS: "10.0.0.2:53",
	}); got != want {
		t.Errorf("the node of west = %+v, want %+v", got, want)
	}
	if !reflect.DeepEqual(west.Endpoint, &Endpoint{Place: Place{Addrs: []netip.Addr{addr("10.0.0.1"), addr("2001:db8::1")}}, Port: 6379}) ||
		!reflect.DeepEqual(east.Endpoint, &Endpoint{Place: Place{Target: "db.east"}}) {
		t.Errorf("endpoints %+v and %+v", west.Endpoint, east.Endpoint)
	}
	if west.Replicate != "10.0.0.1:6380" || east.Replicate != "db.east:6379" {
		t.Errorf("servers are followed at %q and %q", west.Replicate, east.Replicate)
	}
}

func TestVoters(t *testing.T) {
	d := parsed(t, everything)
	want := []Member{
		{Name: "west", ID: 1, Control: "node.west:7102", API: "api.west:7103"},
		{Name: "east", ID: 2, Control: "10.1.0.2:7102", API: "10.1.0.2:7103"},
		{Name: "w-1", ID: 31, Control: "w.north:7102", API: "w.north:7104", Witness: true},
	}
	if diff := cmp.Diff(want, d.Voters()); diff != "" {
		t.Errorf("Voters (-want +got):\n%s", diff)
	}
	if d.Name != "shop-1" || !d.Leases() {
		t.Errorf("name %q, leases %t; want shop-1, true", d.Name, d.Leases())
	}
	d = parsed(t, full)
	if d.Name != "roam" || len(d.Voters()) > 0 || d.Leases() || d.Control != nil {
		t.Errorf("without control: name %q, voters %v, leases %t; want roam and none", d.Name, d.Voters(), d.Leases())
	}
	if _, ok := d.Witness("w-1"); ok {
		t.Error("without control: there is a witness")
	}
}

// What is left out has defaults, and one Region alone is a majority.
func TestControlOfOneRegion(t *testing.T) {
	const one = "version: 1\ntopology: active-active\nregions: [{name: a, id: 1, engine: {memory: {}}, node: {control: \"127.0.0.1:2\", api: \"127.0.0.1:3\"}}]\n"
	for _, section := range []string{"control:\n", "control: {}\n"} {
		d := parsed(t, one+section)
		want := &Control{Dir: "data/{region}", Judge: judge.Config{Regions: []string{"a"}}}
		if diff := cmp.Diff(want, d.Control); diff != "" || d.Leases() || len(d.Voters()) != 1 {
			t.Errorf("%q (-want +got):\n%s\nleases %t, voters %v", section, diff, d.Leases(), d.Voters())
		}
	}
}

// What looks like a fault and is none.
func TestControlThatIsGood(t *testing.T) {
	tls := "links: {tls: {ca: c, cert: c, key: k}}\n"
	for name, file := range map[string]string{
		"servers of one machine follow each other there": `topology: active-passive
primary: a
regions:
  - {name: a, id: 1, engine: {valkey: {addrs: ["127.0.0.1:1"]}}, node: {http: "127.0.0.1:2", control: "127.0.0.1:3", api: "127.0.0.1:4"}}
  - {name: b, id: 2, engine: {valkey: {addrs: ["127.0.0.1:5"]}}, node: {http: "127.0.0.1:6", control: "127.0.0.1:7", api: "127.0.0.1:8"}}
  - {name: c, id: 3, engine: {valkey: {addrs: ["127.0.0.1:9"]}}, node: {http: "127.0.0.1:10", control: "127.0.0.1:11", api: "127.0.0.1:12"}}
control: {lease: {mode: strict}}
`,
		"nobody follows the server of one Region": `topology: active-passive
primary: a
regions: [{name: a, id: 1, engine: {valkey: {addrs: ["127.0.0.1:1"]}}, node: {control: "10.0.0.1:1", api: "10.0.0.1:2"}}]
control: {dir: /x}
` + tls,
		"in active-active nodes push, not servers; one member is on loopback": `topology: active-active
regions:
  - {name: a, id: 1, engine: {valkey: {addrs: ["127.0.0.1:1"]}}, node: {links: "10.0.0.1:3", control: "10.0.0.1:1", api: "10.0.0.1:2"}}
  - {name: b, id: 2, engine: {valkey: {addrs: ["127.0.0.1:1"]}}, node: {links: "10.0.0.2:3", control: "127.0.0.1:1", api: "10.0.0.2:2"}}
control: {dir: /x, witnesses: [{name: w, id: 16, control: "10.0.0.3:1", api: "10.0.0.3:2"}]}
` + tls,
	} {
		d, err := Parse([]byte("version: 1\n" + file))
		if err != nil {
			t.Errorf("%s: Parse = %v, want nil", name, err)
			continue
		}
		if d.Leases() != (d.Topology == ActivePassive) {
			t.Errorf("%s: leases %t", name, d.Leases())
		}
	}
}

// The number of members is odd, however it comes about.
func TestVotersAreOdd(t *testing.T) {
	for regions := 1; regions <= maxRegions; regions++ {
		for witnesses := 0; witnesses <= maxWitnesses; witnesses++ {
			file := "version: 1\ntopology: active-active\nregions:\n"
			port := 10000
			for i := range regions {
				port += 10
				file += fmt.Sprintf("  - {name: r%d, id: %d, engine: {memory: {}}, node: {links: \"127.0.0.1:%d\", http: \"127.0.0.1:%d\", control: \"127.0.0.1:%d\", api: \"127.0.0.1:%d\"}}\n",
					i, i+1, port, port+1, port+2, port+3)
			}
			file += "control:\n  witnesses:\n"
			if witnesses == 0 {
				file = strings.TrimSuffix(file, "  witnesses:\n")
			}
			for i := range witnesses {
				port += 10
				file += fmt.Sprintf("    - {name: w%d, id: %d, control: \"127.0.0.1:%d\", api: \"127.0.0.1:%d\"}\n", i, 16+i, port, port+1)
			}
			_, err := Parse([]byte(file))
			if odd := (regions+witnesses)%2 == 1; (err == nil) != odd {
				t.Errorf("%d Regions and %d witnesses: Parse = %v, want good: %t", regions, witnesses, err, odd)
			}
			if err != nil && strings.Contains(err.Error(), "add a witness") != (witnesses < maxWitnesses) {
				t.Errorf("%d Regions and %d witnesses: %v; want what can be done", regions, witnesses, err)
			}
		}
	}
}

func TestControlExampleIsGood(t *testing.T) {
	d := parsed(t, ControlExample())
	if len(d.Voters()) != 3 || !d.Leases() || d.Control.DNS == nil {
		t.Errorf("the example has voters %v, leases %t, DNS %v", d.Voters(), d.Leases(), d.Control.DNS)
	}
	var out []string
	for line := range strings.SplitSeq(Example(), "\n") {
		if trimmed := strings.TrimLeft(line, " "); strings.HasPrefix(trimmed, "# control: 127") || strings.HasPrefix(trimmed, "# api: 127") {
			line = strings.Replace(line, "# ", "", 1)
		}
		out = append(out, line)
	}
	head, section, ok := strings.Cut(strings.Join(out, "\n"), "# control:\n")
	if !ok {
		t.Fatal("the example has no section control:")
	}
	section = strings.ReplaceAll("\n"+section, "\n# ", "\n")
	d = parsed(t, head+"control:"+section)
	if len(d.Voters()) != 3 || len(d.Control.Alarms) != 1 || len(d.Control.Tokens) != 1 || d.Leases() {
		t.Errorf("the example with its control plane uncommented: %+v", d.Control)
	}
}
