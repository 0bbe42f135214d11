package topology

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Bounds that keep a zone below the 4,096 records that package dns takes, and
// secondaries and updates at what it has queues for.
const (
	maxNameservers = 16
	maxFailovers   = 64
	maxNames       = 128
	maxPlace       = 8 // addresses of a name
	maxServices    = 8
	maxSecondaries = 16
	maxPublish     = 16
	// maxTTL is what package dns takes.
	maxTTL = 24 * time.Hour
	// maxDomain is of RFC 1035, 2.3.4, without the last dot; maxZone leaves room for
	// the names that every zone has.
	maxDomain = 253
	maxZone   = 200
)

func (p *parser) dns(c cursor, d *Deployment) *DNS {
	f := c.fields("zone", "nameservers", "failovers", "names", "secondaries", "publish", "metric", "rate")
	out := &DNS{Rate: f["rate"].number(1, 1_000_000)}
	if zoned(c, d) && f["zone"].want("write zone: session.internal") != "" {
		if out.Zone = f["zone"].domain(); len(out.Zone) > maxZone {
			f["zone"].fault("make it shorter", "is %d characters long, and at most %d may be", len(out.Zone), maxZone)
			out.Zone = ""
		}
	}
	for _, item := range f["nameservers"].items(maxNameservers) {
		g := item.fields("name", "addrs")
		n := Nameserver{Addrs: g["addrs"].ips()}
		if g["name"].want("write name: ns1.session.internal") != "" {
			n.Name = g["name"].domain()
		}
		out.Nameservers = append(out.Nameservers, n)
	}
	for _, item := range f["failovers"].items(maxFailovers) {
		g := item.fields("name", "primary", "secondary", "ttl")
		out.Failovers = append(out.Failovers, Failover{
			Name: g["name"].relative(), Primary: g["primary"].leg(d), Secondary: g["secondary"].leg(d), TTL: g["ttl"].ttl(),
		})
	}
	for _, item := range f["names"].items(maxNames) {
		out.Names = append(out.Names, item.entry())
	}
	p.others(f, out, d)
	return out
}

// zoned reports whether a section needs a zone: all of it does but what AWS keeps.
func zoned(c cursor, d *Deployment) bool {
	for _, key := range []string{"zone", "nameservers", "failovers", "names", "secondaries", "rate"} {
		if c.find(key).there() {
			return true
		}
	}
	list := c.find("publish")
	foreign := list.there() && list.node.Kind == yaml.SequenceNode && len(list.node.Content) > 0 || c.find("metric").there()
	for i := 0; foreign && list.there() && i < len(list.node.Content); i++ {
		kind := list.item(i).find("kind")
		if !kind.there() || kind.node.Value == RFC2136 {
			return true
		}
	}
	return !foreign || slices.ContainsFunc(d.Regions, func(r Region) bool { return r.Node.DNS != "" })
}

// others reads which other servers there are.
func (p *parser) others(f map[string]cursor, out *DNS, d *Deployment) {
	seen := unique{}
	for _, item := range f["secondaries"].items(maxSecondaries) {
		g := item.fields("addr", "key_name", "algorithm", "secret_file", "secret_env")
		var s Secondary
		if addr := g["addr"].want("write addr: 10.0.0.53:53"); addr != "" {
			var err error
			if s.Addr, err = netip.ParseAddrPort(addr); err != nil || s.Addr.Port() == 0 || !leads(s.Addr.Addr()) {
				g["addr"].fault("write an IP address and a port, such as 10.0.0.53:53", "%q is not", printable(addr))
				s.Addr = netip.AddrPort{}
			} else {
				seen.once(g["addr"], "secondary ", s.Addr.String(), fmt.Sprintf("address %q", s.Addr), "name each secondary once")
			}
		}
		s.Key = key(g)
		seen.key(g["key_name"], s.Key)
		out.Secondaries = append(out.Secondaries, s)
	}
	for _, item := range f["publish"].items(maxPublish) {
		out.Publish = append(out.Publish, item.publish(d, seen))
	}
	if f["metric"].there() {
		out.Metric = f["metric"].metric(d)
	}
}

// key is what signs, if anything does.
func key(f map[string]cursor) *Key {
	if !f["key_name"].there() {
		for _, other := range []string{"algorithm", "secret_file", "secret_env"} {
			if f[other].there() {
				f[other].fault("write key_name: beside it, as the other end calls the key", "is of a key that has no name")
				break
			}
		}
		return nil
	}
	k := &Key{Name: f["key_name"].domain(), Algorithm: "hmac-sha256", Secret: source(f["secret_file"], f["secret_env"])}
	if f["algorithm"].there() {
		k.Algorithm = f["algorithm"].oneOf("hmac-sha256", "hmac-sha384", "hmac-sha512")
	}
	return k
}

// key reports one that has the name of another: secondaries tell keys by their names.
func (u unique) key(at cursor, k *Key) {
	if k == nil || k.Name == "" {
		return
	}
	is := k.Algorithm + " " + k.Secret.File + " " + k.Secret.Env
	if before, ok := u["key "+k.Name]; ok && before != is {
		at.fault("give it another name, or the same algorithm and place", "another secondary has a key of that name, with another secret")
	}
	u["key "+k.Name] = is
}

func (c cursor) entry() Name {
	f := c.fields("name", "addrs", "target", "services", "ttl")
	n := Name{Name: f["name"].relative(), Place: place(f), TTL: f["ttl"].ttl()}
	seen := unique{}
	for _, item := range f["services"].items(maxServices) {
		g := item.fields("priority", "weight", "port", "target")
		s := Service{Priority: g["priority"].small(0), Weight: g["weight"].small(0)}
		if g["port"].want("write port: and a number") != "" {
			s.Port = g["port"].small(1)
		}
		if g["target"].want("write target: and the name of a host") != "" {
			s.Target = g["target"].host()
		}
		seen.once(item, "", fmt.Sprint(s), "service", "name it once")
		n.Services = append(n.Services, s)
	}
	switch {
	case f["services"].there() && f["target"].there():
		f["target"].fault("keep one of them", "a name that stands for another has no services")
	case len(n.Services) == 0:
		c.somewhere(f)
	}
	return n
}

func (c cursor) leg(d *Deployment) Leg {
	if !c.there() {
		c.fault("write "+last(c.path)+": {region: and the name of one}", "is missing")
		return Leg{}
	}
	f := c.fields("region", "addrs", "target")
	if f["region"].there() {
		for _, other := range []string{"addrs", "target"} {
			if f[other].there() {
				f[other].fault("keep one of them", "a Region is where its endpoint is")
			}
		}
		return Leg{Region: f["region"].member("Regions", d.Names())}
	}
	c.somewhere(f)
	return Leg{Place: place(f)}
}

func (c cursor) endpoint() *Endpoint {
	f := c.fields("addrs", "target", "port")
	c.somewhere(f)
	return &Endpoint{Place: place(f), Port: f["port"].small(1)}
}

// somewhere wants what leads to addresses or to a target, and to one of both.
func (c cursor) somewhere(f map[string]cursor) {
	switch {
	case f["addrs"].there() && f["target"].there():
		f["target"].fault("keep one of them", "there are addresses, and a target too")
	case !f["addrs"].there() && !f["target"].there():
		c.fault("write addrs: [10.0.0.1] or target: and a name", "leads nowhere")
	}
}

func place(f map[string]cursor) Place {
	out := Place{Addrs: f["addrs"].ips()}
	if f["target"].there() {
		out.Target = f["target"].host()
	}
	return out
}

// ips are IP addresses, at least one if the list is there.
func (c cursor) ips() (out []netip.Addr) {
	seen := unique{}
	items := c.items(maxPlace)
	if c.there() && len(items) == 0 {
		c.fault("write an IP address, or take it away", "has no address")
	}
	for _, item := range items {
		s := item.text()
		if s == "" {
			continue
		}
		a, err := netip.ParseAddr(s)
		if a = a.Unmap(); err != nil || !leads(a) {
			item.fault("write an IP address of a host, such as 10.0.0.1", "%q is none", printable(s))
			continue
		}
		seen.once(item, "", a.String(), fmt.Sprintf("address %q", a), "name it once")
		out = append(out, a)
	}
	return out
}

// leads reports whether an address is one of a host.
func leads(a netip.Addr) bool {
	return a.IsValid() && a.Zone() == "" && !a.IsUnspecified() && !a.IsMulticast()
}

// small is a number of 16 bits.
func (c cursor) small(least int) uint16 {
	return uint16(c.number(least, 1<<16-1)) //nolint:gosec // within bounds
}

// ttl is how long resolvers may keep a name: whole seconds.
func (c cursor) ttl() time.Duration {
	d := c.duration(time.Second, maxTTL)
	if d%time.Second != 0 {
		c.fault("write whole seconds, such as 10s", "%v has a fraction of one", d)
		return 0
	}
	return d
}

// relative is a name in the zone.
func (c cursor) relative() string {
	s := c.want("write name: and one without the zone's, such as shop")
	if s == "" || s == "@" {
		return s
	}
	return c.labels(s)
}

// domain is an absolute name, in lower case and without its last dot.
func (c cursor) domain() string {
	s := c.text()
	if s == "" {
		return ""
	}
	return c.labels(strings.TrimSuffix(s, "."))
}

// host is a domain that is no address.
func (c cursor) host() string {
	s := c.domain()
	if _, err := netip.ParseAddr(s); err == nil {
		c.fault("write addrs: for addresses", "%q is an address, and a target is a name", s)
		return ""
	}
	return s
}

func (c cursor) labels(s string) string {
	s = strings.ToLower(s)
	if err := checkDomain(s); err != nil {
		c.fault("write labels of a to z, 0 to 9, _ and dashes within, at most 63 characters each", "%q is no name: %v", printable(s), err)
		return ""
	}
	return s
}

// checkDomain says what is wrong with a name in lower case, as package dns would.
func checkDomain(s string) error {
	if len(s) > maxDomain {
		return fmt.Errorf("it has %d characters, at most %d", len(s), maxDomain)
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" {
			return errors.New("a label is empty")
		}
		if !isName(strings.ReplaceAll(label, "_", "x")) {
			return errors.New("a label has other characters, too many of them, or a dash at an end")
		}
	}
	return nil
}

// within reports whether a name is another one or below it.
func within(name, zone string) bool { return name == zone || strings.HasSuffix(name, "."+zone) }
