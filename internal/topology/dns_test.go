package topology

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/roam-sessions/roam/internal/dns"
	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/judge/alarm"
	"github.com/roam-sessions/roam/internal/judge/routing"
)

// soundControl wants what the rooms that go by a Control rely on.
func soundControl(t testing.TB, d Deployment) {
	t.Helper()
	voters := soundVoters(t, d)
	c := d.Control
	if c == nil {
		return
	}
	if len(voters)%2 == 0 || !isName(d.Name) || c.Dir == "" || d.Topology == ActivePassive && !d.Leases() {
		t.Fatalf("Parse took %+v with voters %v", c, voters)
	}
	_, judged := judge.New(c.Judge)
	_, alarms := alarm.New(c.Alarms)
	_, rules := routing.New(c.Controls, c.Rules)
	if err := errors.Join(c.Lease.WithDefaults().Check(), judged, alarms, rules); err != nil {
		t.Fatalf("Parse took what others refuse: %v", err)
	}
	for _, a := range c.Alarms {
		if _, ok := d.Region(a.Region); !ok {
			t.Fatalf("Parse took an alarm of Region %q", a.Region)
		}
	}
	if c.DNS != nil {
		if err := zones(d); c.DNS.Zone != "" && err != nil {
			t.Fatalf("Parse took a zone: %v", err)
		}
		publishers(t, d)
	}
}

func soundVoters(t testing.TB, d Deployment) []Member {
	t.Helper()
	voters := d.Voters()
	seen := map[any]bool{}
	for _, v := range voters {
		if v.ID == 0 || v.ID > mostWitness || v.Witness != (v.ID >= leastWitness) || !isName(v.Name) || v.Control == "" || v.API == "" ||
			seen[v.ID] || seen[v.Name] || wildcard(v.Control) || wildcard(v.API) {
			t.Fatalf("Parse took voters %+v", voters)
		}
		if d.Links.TLS == nil && (!loopback(v.Control) || !loopback(v.API)) {
			t.Fatalf("Parse took members without TLS: %+v", voters)
		}
		seen[v.ID], seen[v.Name] = true, true
	}
	return voters
}

// endpointOf is a Place as package dns has it.
func endpointOf(p Place) dns.Endpoint { return dns.Endpoint{Addrs: p.Addrs, Target: p.Target} }

// zones makes the zone with each writer, and with each Region unhealthy or not; with many
// of them, with each one alone unhealthy, and with all but it.
func zones(d Deployment) error {
	n := d.Control.DNS
	v := dns.View{}
	for _, s := range n.Nameservers {
		v.Nameservers = append(v.Nameservers, dns.Nameserver{Name: s.Name, Addrs: s.Addrs})
	}
	for _, r := range d.Regions {
		if r.Endpoint == nil {
			return fmt.Errorf("%s has no endpoint", r.Name)
		}
		v.Regions = append(v.Regions, dns.Region{Name: r.Name, Endpoint: endpointOf(r.Endpoint.Place), Port: r.Endpoint.Port})
	}
	for _, f := range n.Failovers {
		v.Failovers = append(v.Failovers, dns.Failover{
			Name: f.Name, TTL: f.TTL,
			Primary:   dns.Leg{Region: f.Primary.Region, Endpoint: endpointOf(f.Primary.Place)},
			Secondary: dns.Leg{Region: f.Secondary.Region, Endpoint: endpointOf(f.Secondary.Place)},
		})
	}
	for _, name := range n.Names {
		out := dns.Name{Name: name.Name, Endpoint: endpointOf(name.Place), TTL: name.TTL}
		for _, s := range name.Services {
			out.Services = append(out.Services, dns.Service(s))
		}
		v.Names = append(v.Names, out)
	}
	for writer := -1; writer < len(d.Regions); writer++ {
		if v.Writer = ""; writer >= 0 {
			v.Writer = d.Regions[writer].Name
		}
		all := 1 << len(d.Regions)
		for unhealthy := range all {
			if one := bits.OnesCount(uint(unhealthy)); len(d.Regions) > 3 && one > 1 && one < len(d.Regions)-1 {
				continue
			}
			for i := range v.Regions {
				if v.Regions[i].Health = dns.Healthy; unhealthy>>i&1 == 1 {
					v.Regions[i].Health = dns.Unhealthy
				}
			}
			if _, err := dns.NewZone(n.Zone, v, time.Unix(1, 0), dns.ZoneConfig{}); err != nil {
				return fmt.Errorf("writer %q, unhealthy %b: %w", v.Writer, unhealthy, err)
			}
		}
	}
	return nil
}

// publishers wants package dns to take all that is published, and the keys.
func publishers(t testing.TB, d Deployment) {
	t.Helper()
	n := *d.Control.DNS
	secret := make([]byte, 16)
	keyOf := func(k *Key) *dns.Key {
		if k == nil {
			return nil
		}
		if (k.Secret.File == "") == (k.Secret.Env == "") {
			t.Fatalf("Parse took a key with the secret %+v", k.Secret)
		}
		return &dns.Key{Name: k.Name, Algorithm: k.Algorithm, Secret: secret}
	}
	for _, p := range n.Publish {
		if p.Kind != RFC2136 {
			if err := ofAWS(d, p); err != nil {
				t.Fatalf("Parse took %+v: %v", p, err)
			}
			continue
		}
		if n.Zone == "" {
			t.Fatalf("Parse took %+v without a zone", p)
		}
		if _, err := dns.NewPublisher(p.Server, p.Zone, p.Name, dns.PublisherConfig{Key: keyOf(p.Key), TTL: p.TTL}); err != nil {
			t.Fatalf("Parse took %+v: %v", p, err)
		}
	}
	for _, s := range n.Secondaries {
		if !s.Addr.IsValid() || s.Addr.Port() == 0 {
			t.Fatalf("Parse took the secondary %+v", s)
		}
		if k := keyOf(s.Key); k != nil {
			if _, err := dns.NewPublisher("ns:53", "z", "a.z", dns.PublisherConfig{Key: k}); err != nil {
				t.Fatalf("Parse took the key %+v: %v", k, err)
			}
		}
	}
}

// drawZone writes a file with a zone of a few names that lead to each other.
func drawZone(t *rapid.T) string {
	word := rapid.SampledFrom([]string{"a", "b", "c", "d", "write", "west", "east", "x.a", "_tcp.write", "ns"})
	target := rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom([]string{"a.z", "b.z", "c.z", "d.z", "x.a.z", "west.z", "east.z", "write.z", "ns.z", "z", "elsewhere.example", "none.z", "_tcp.write.z"}).Draw(t, "target")
	})
	address := rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2", `"2001:db8::1"`})
	place := rapid.Custom(func(t *rapid.T) string {
		if rapid.IntRange(0, 2).Draw(t, "kind") == 0 {
			return "target: " + target.Draw(t, "to")
		}
		return "addrs: [" + address.Draw(t, "address") + "]"
	})
	leg := rapid.Custom(func(t *rapid.T) string {
		if rapid.Bool().Draw(t, "region") {
			return "{region: " + rapid.SampledFrom([]string{"west", "east"}).Draw(t, "of") + "}"
		}
		return "{" + place.Draw(t, "place") + "}"
	})
	var b strings.Builder
	b.WriteString("version: 1\ntopology: active-active\nregions:\n")
	for i, name := range []string{"west", "east"} {
		port := ""
		if rapid.Bool().Draw(t, "port") {
			port = ", port: 1"
		}
		fmt.Fprintf(&b, "  - {name: %s, id: %d, engine: {memory: {}}, node: {links: \"127.0.0.1:1%d\", http: \"127.0.0.1:2%d\", control: \"127.0.0.1:3%d\", api: \"127.0.0.1:4%d\", dns: \"127.0.0.1:5%d\"}, endpoint: {%s%s}}\n",
			name, i+1, i, i, i, i, i, place.Draw(t, "endpoint"), port)
	}
	b.WriteString("control:\n  witnesses: [{name: w, id: 16, control: \"127.0.0.1:60\", api: \"127.0.0.1:61\"}]\n  dns:\n    zone: z\n")
	fmt.Fprintf(&b, "    nameservers: [{name: %s}, {name: ns.z, addrs: [10.0.0.3]}]\n", rapid.SampledFrom([]string{"ns.example", "other.example"}).Draw(t, "ns"))
	b.WriteString("    failovers: [")
	for range rapid.IntRange(0, 2).Draw(t, "failovers") {
		fmt.Fprintf(&b, "{name: %s, primary: %s, secondary: %s}, ", word.Draw(t, "name"), leg.Draw(t, "primary"), leg.Draw(t, "secondary"))
	}
	b.WriteString("]\n    names: [")
	for range rapid.IntRange(0, 5).Draw(t, "names") {
		name := rapid.OneOf(word, rapid.Just(`"@"`)).Draw(t, "name")
		service := fmt.Sprintf("services: [{port: 1, target: %s}]", target.Draw(t, "at"))
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			fmt.Fprintf(&b, "{name: %s, %s}, ", name, service)
		case 1:
			fmt.Fprintf(&b, "{name: %s, addrs: [10.0.0.4], %s}, ", name, service)
		default:
			fmt.Fprintf(&b, "{name: %s, %s}, ", name, place.Draw(t, "place"))
		}
	}
	b.WriteString("]\n")
	return b.String()
}

// What Parse takes of names, package dns takes, whoever the writer is and however the
// Regions are. What Parse refuses, that does too, but for names that a failover makes lead
// elsewhere in no way that can come about.
func TestZonesAreThoseOfPackageDNS(t *testing.T) {
	taken, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		file := drawZone(t)
		d, err := Parse([]byte(file))
		if err == nil {
			taken++
			if err := zones(d); err != nil {
				t.Fatalf("Parse took it, package dns did not: %v\n%s", err, file)
			}
			return
		}
		refused++
		if strings.Contains(file, "failovers: []") {
			d = unjudged(t, file)
			if zones(d) == nil {
				t.Fatalf("package dns would take it: %v\n%s", err, file)
			}
		}
	})
	if taken == 0 || refused == 0 {
		t.Errorf("%d zones were taken and %d refused; want some of each", taken, refused)
	}
}

// unjudged returns what a file says, whatever is wrong with it.
func unjudged(t *rapid.T, file string) Deployment {
	p := &parser{}
	root := p.root([]byte(file))
	if root == nil {
		t.Fatalf("no YAML: %v", p.faults)
	}
	return p.deployment(cursor{p: p, node: root})
}

// Names that fill their bounds make no zone that package dns refuses.
func TestTheLargestZone(t *testing.T) {
	var addrs []string
	for i := range maxPlace {
		addrs = append(addrs, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}).String())
	}
	all := "addrs: [" + strings.Join(addrs, ", ") + "]"
	var b strings.Builder
	b.WriteString("version: 1\ntopology: active-active\nregions:\n")
	for i := range maxRegions {
		fmt.Fprintf(&b, "  - {name: r%d, id: %d, engine: {memory: {}}, node: {links: \"127.0.0.1:1%d\", http: \"127.0.0.1:2%d\", control: \"127.0.0.1:3%d\", api: \"127.0.0.1:4%d\", dns: \"127.0.0.1:5%d\"}, endpoint: {%s, port: 1}}\n",
			i, i+1, i, i, i, i, i, all)
	}
	zone := strings.Repeat(strings.Repeat("z", 49)+".", 4)
	fmt.Fprintf(&b, "control:\n  dns:\n    zone: %s\n    nameservers:\n", zone)
	for i := range maxNameservers {
		fmt.Fprintf(&b, "      - {name: ns%d.%s, %s}\n", i, zone, all)
	}
	b.WriteString("    failovers:\n")
	for i := range maxFailovers {
		fmt.Fprintf(&b, "      - {name: f%d, primary: {%s}, secondary: {region: r0}}\n", i, all)
	}
	b.WriteString("    names:\n")
	for i := range maxNames {
		fmt.Fprintf(&b, "      - {name: n%d, %s, services: [", i, all)
		for j := range maxServices {
			fmt.Fprintf(&b, "{port: %d, target: r0.%s}, ", j+1, zone)
		}
		b.WriteString("]}\n")
	}
	d := parsed(t, b.String())
	d.Regions = d.Regions[:1] // who the writer is makes no difference to the size
	if err := zones(d); err != nil {
		t.Errorf("package dns refuses it: %v", err)
	}
	if _, err := Parse([]byte(strings.Replace(b.String(), zone, "zz"+zone, 1))); err == nil || !strings.Contains(err.Error(), "at most 200") {
		t.Errorf("a zone of 201 characters: %v, want a fault that says what may be", err)
	}
}

// zoned is a file with one Region, whose endpoint leads to a target, and some names.
func withZone(zone, endpoint, names string) string {
	return fmt.Sprintf(`version: 1
topology: active-active
regions: [{name: west, id: 1, engine: {memory: {}}, node: {control: "127.0.0.1:3", api: "127.0.0.1:4", dns: "127.0.0.1:53"}, endpoint: {target: %s}}]
control: {dns: {zone: %s, nameservers: [{name: ns.example}], names: [%s]}}
`, endpoint, zone, names)
}

// A name stands for eight others in turn, and not for nine; those that lead to the writer
// too.
func TestChains(t *testing.T) {
	for _, long := range []int{7, 8} {
		var names strings.Builder
		for i := range long {
			to := "elsewhere.example"
			if i < long-1 {
				to = fmt.Sprintf("c%d.z", i+1)
			}
			fmt.Fprintf(&names, "{name: c%d, target: %s}, ", i, to)
		}
		d, err := Parse([]byte(withZone("z", "c0.z", names.String())))
		if (err == nil) != (long == 7) {
			t.Errorf("a Region whose name stands for %d others in turn: Parse = %v", long+1, err)
		}
		if err == nil {
			err = zones(d)
			if err != nil {
				t.Errorf("package dns refuses %d: %v", long+1, err)
			}
		}
	}
}

// Names have bounds, and so do those that are made of them.
func TestLongNames(t *testing.T) {
	label := strings.Repeat("x", 63)
	zone := strings.TrimSuffix(strings.Repeat(label[:49]+".", 4), ".") // 199 characters
	publish := func(name string) string {
		return strings.Replace(withZone("z", "a.example", ""), "names: []", "publish: [{server: \"ns:53\", zone: x, name: "+name+"}]", 1)
	}
	below := func(n int) string { // a name of n characters below x
		s := strings.Repeat(label+".", 4)
		return "a." + s[len(s)-(n-len("a.x")):] + "x"
	}
	for _, c := range []struct {
		file string
		good bool
	}{
		{withZone(zone, "a.example", "{name: "+label[:53]+", target: a.example}"), true}, // 253 with its dot
		{withZone(zone, "a.example", "{name: "+label[:54]+", target: a.example}"), false},
		{withZone("z", strings.Repeat("abc.", 63)+"a", ""), true},
		{withZone("z", strings.Repeat("abc.", 63)+"ab", ""), false},
		{publish(below(247)), true},
		{publish(below(248)), false},
	} {
		d, err := Parse([]byte(c.file))
		if (err == nil) != c.good {
			t.Errorf("Parse = %v, want good: %t\n%s", err, c.good, c.file)
		}
		if err == nil {
			soundControl(t, d)
		}
	}
}

func TestNamesLeadSomewhere(t *testing.T) {
	soundControl(t, parsed(t, everything))
	soundControl(t, parsed(t, ControlExample()))
}
