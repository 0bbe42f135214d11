package dns

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	wire "github.com/miekg/dns"
)

const (
	// maxRecords bounds a zone; a View that makes more is refused. A transfer of so many
	// has about 400 KB.
	maxRecords = 4096
	// maxChain is how many names one may stand for another in turn. Resolvers give up at
	// 8 to 16.
	maxChain = 8
	// maxTTL is of what is answered; maxExpire, of what secondaries keep without us.
	maxTTL    = 24 * time.Hour
	maxExpire = 60 * 24 * time.Hour
	// serviceOf is put before the writer's name for its service record.
	serviceOf = "_roam._tcp."
)

// A builder gathers the records of a zone and the faults of its View.
type builder struct {
	origin  string
	sets    map[string]sets
	records []wire.RR
	owners  map[string]string // what a name was first said to be
	faults  []error
}

// build makes a zone that has no serial yet.
func build(origin string, v View, c ZoneConfig) (*Zone, error) {
	c = c.withDefaults()
	b := builder{sets: map[string]sets{}, owners: map[string]string{}}
	var err error
	if b.origin, err = parseName(origin); err != nil {
		return nil, fmt.Errorf("origin %q: %w", origin, err)
	}
	z := &Zone{Origin: b.origin, Epoch: v.Epoch, writer: v.Writer, config: c}
	b.times(c)
	b.nameservers(v.Nameservers, c)
	for _, r := range v.Regions {
		b.endpoint(b.claim(r.Name, "Region "+r.Name), r.Endpoint, whole(c.TTL))
	}
	b.writer(v, c)
	for _, f := range v.Failovers {
		b.failover(f, v, c)
	}
	for _, n := range v.Names {
		b.name(n, c)
	}
	if z.soa = b.authority(v, c); z.soa != nil {
		b.set(b.origin)[wire.TypeSOA] = []wire.RR{z.soa}
	}
	b.aliases()
	b.targets()
	if len(b.records) > maxRecords {
		b.fault("the zone has %d records, at most %d", len(b.records), maxRecords)
	}
	slices.SortFunc(b.records, func(a, b wire.RR) int {
		return cmp.Or(cmp.Compare(a.Header().Name, b.Header().Name), cmp.Compare(a.String(), b.String()))
	})
	for i := 1; i < len(b.records); i++ {
		if b.records[i].String() == b.records[i-1].String() {
			b.fault("the record %s is there twice", b.records[i])
		}
	}
	if len(b.faults) > 0 {
		return nil, fmt.Errorf("zone %s: %w", b.origin, errors.Join(b.faults...))
	}
	z.sets, z.records = b.sets, b.records
	return z, nil
}

func (b *builder) fault(format string, args ...any) {
	b.faults = append(b.faults, fmt.Errorf(format, args...))
}

// claim returns the absolute form of a relative name. Nothing else may be said of it.
func (b *builder) claim(name, what string) string {
	if name == "@" {
		return b.own(b.origin, what)
	}
	full, err := parseName(name + "." + b.origin)
	if name == "" {
		err = errNoName
	}
	if err != nil {
		b.fault("%s: name %q: %w", what, name, err)
		return ""
	}
	return b.own(full, what)
}

func (b *builder) own(full, what string) string {
	if other, taken := b.owners[full]; taken {
		b.fault("%s: %s is the name of %s too", what, full, other)
		return ""
	}
	b.owners[full] = what
	return full
}

// target returns the absolute form of an absolute name.
func (b *builder) target(owner, target string) string {
	full, err := parseName(target)
	if err != nil {
		b.fault("%s: target %q: %w", owner, target, err)
	}
	return full
}

// times looks at those of the configuration, used or not.
func (b *builder) times(c ZoneConfig) {
	b.ttl("WriterTTL", c.WriterTTL)
	b.ttl("FailoverTTL", c.FailoverTTL)
	b.ttl("NegativeTTL", c.NegativeTTL)
	b.ttl("TTL", c.TTL)
	b.ttl("Refresh", c.Refresh)
	b.ttl("Retry", c.Retry)
	if _, err := seconds(c.Expire, maxExpire); err != nil {
		b.fault("Expire: %w", err)
	}
}

func (b *builder) ttl(what string, d time.Duration) uint32 {
	s, err := seconds(d, maxTTL)
	if err != nil {
		b.fault("%s: %w", what, err)
	}
	return s
}

// set returns the records of a name. The names above it are there from now on as well: they
// have no records, but they are not missing (RFC 8020).
func (b *builder) set(name string) sets {
	if s, ok := b.sets[name]; ok {
		return s
	}
	s := sets{}
	b.sets[name] = s
	if _, above, ok := strings.Cut(name, "."); ok && name != b.origin {
		b.set(above)
	}
	return s
}

func (b *builder) add(rr wire.RR) {
	h := rr.Header()
	s := b.set(h.Name)
	s[h.Rrtype] = append(s[h.Rrtype], rr)
	b.records = append(b.records, rr)
}

func header(name string, rrtype uint16, ttl uint32) wire.RR_Header {
	return wire.RR_Header{Name: name, Rrtype: rrtype, Class: wire.ClassINET, Ttl: ttl}
}

// addresses adds the addresses of a name.
func (b *builder) addresses(name string, addrs []netip.Addr, ttl uint32) {
	seen := map[netip.Addr]bool{}
	for _, a := range addrs {
		a = a.Unmap()
		if !a.IsValid() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() || seen[a] {
			b.fault("%s: the address %v leads nowhere, or is there twice", name, a)
			continue
		}
		seen[a] = true
		if a.Is4() {
			b.add(&wire.A{Hdr: header(name, wire.TypeA, ttl), A: a.AsSlice()})
		} else {
			b.add(&wire.AAAA{Hdr: header(name, wire.TypeAAAA, ttl), AAAA: a.AsSlice()})
		}
	}
}

// endpoint adds where a name leads to. An empty name was reported already.
func (b *builder) endpoint(name string, e Endpoint, ttl uint32) {
	switch {
	case name == "":
	case (len(e.Addrs) == 0) == (e.Target == ""):
		b.fault("%s: it leads to addresses or to a target, and to one of both", name)
	case e.Target != "":
		b.add(&wire.CNAME{Hdr: header(name, wire.TypeCNAME, ttl), Target: b.target(name, e.Target)})
	default:
		b.addresses(name, e.Addrs, ttl)
	}
}

// writer adds the name that leads to the writer. Without one it has no data, and is there.
func (b *builder) writer(v View, c ZoneConfig) {
	name := b.claim(c.Writer, "the writer")
	if name == "" {
		return
	}
	b.set(name)
	if v.Writer == "" {
		return
	}
	r, ok := region(v, v.Writer)
	if !ok {
		b.fault("the writer %q is none of the Regions", v.Writer)
		return
	}
	to := b.leads(r)
	ttl := whole(c.WriterTTL)
	b.endpoint(name, Endpoint{Target: to}, ttl)
	if service := b.own(serviceOf+name, "the writer's service"); r.Port != 0 && service != "" {
		b.add(&wire.SRV{Hdr: header(service, wire.TypeSRV, ttl), Port: r.Port, Target: to})
	}
}

// leads returns the name behind that of a Region: what it stands for, or itself.
func (b *builder) leads(r Region) string {
	if r.Target == "" {
		return strings.ToLower(r.Name) + "." + b.origin
	}
	return strings.ToLower(strings.TrimSuffix(r.Target, ".")) + "."
}

func region(v View, name string) (Region, bool) {
	i := slices.IndexFunc(v.Regions, func(r Region) bool { return r.Name == name })
	if i < 0 {
		return Region{}, false
	}
	return v.Regions[i], true
}

// failover adds the leg that a failover leads to now.
func (b *builder) failover(f Failover, v View, c ZoneConfig) {
	name := b.claim(f.Name, "failover "+f.Name)
	for _, leg := range []*Leg{&f.Primary, &f.Secondary} {
		if leg.Region == "" {
			continue
		}
		r, ok := region(v, leg.Region)
		if !ok || len(leg.Addrs) > 0 || leg.Target != "" || leg.Health != Unchecked {
			b.fault("failover %s: a leg names the Region %q, of which there is none, or has an endpoint or health beside it", f.Name, leg.Region)
			return
		}
		leg.Endpoint, leg.Health = Endpoint{Target: b.leads(r)}, r.Health
	}
	// Both legs are looked at, so that a fault does not wait for a failover.
	for _, leg := range []Leg{f.Primary, f.Secondary} {
		if leg.Health > Unhealthy || (len(leg.Addrs) == 0) == (leg.Target == "") {
			b.fault("failover %s: each leg leads to a Region, to addresses or to a target, and to one of them", f.Name)
			return
		}
	}
	b.endpoint(name, f.leg(f.Primary.Health, f.Secondary.Health).Endpoint, b.ttl("failover "+f.Name, cmp.Or(f.TTL, c.FailoverTTL)))
}

// name adds a name of any kind.
func (b *builder) name(n Name, c ZoneConfig) {
	name := b.claim(n.Name, "name "+n.Name)
	ttl := b.ttl("name "+n.Name, cmp.Or(n.TTL, c.TTL))
	if len(n.Services) == 0 || len(n.Addrs) > 0 || n.Target != "" {
		b.endpoint(name, n.Endpoint, ttl)
	}
	for _, s := range n.Services {
		if name == "" {
			return
		}
		b.add(&wire.SRV{
			Hdr: header(name, wire.TypeSRV, ttl), Priority: s.Priority, Weight: s.Weight, Port: s.Port,
			Target: b.target(name, s.Target),
		})
	}
}

// nameservers adds the servers of the zone, and their addresses.
func (b *builder) nameservers(servers []Nameserver, c ZoneConfig) {
	ttl := whole(c.TTL)
	if len(servers) == 0 {
		b.fault("there is no nameserver")
	}
	for _, s := range servers {
		name, err := parseName(s.Name)
		if err != nil {
			b.fault("nameserver %q: %w", s.Name, err)
			continue
		}
		if inside := within(name, b.origin); inside != (len(s.Addrs) > 0) {
			b.fault("nameserver %s: it has addresses if its name is in the zone, and else none", name)
			continue
		}
		if name = b.own(name, "nameserver "+name); name != "" {
			b.add(&wire.NS{Hdr: header(b.origin, wire.TypeNS, ttl), Ns: name})
			b.addresses(name, s.Addrs, ttl)
		}
	}
}

// authority returns the SOA record, which is no part of records.
func (b *builder) authority(v View, c ZoneConfig) *wire.SOA {
	mailbox := "hostmaster." + b.origin
	if c.Mailbox != "" {
		mailbox = b.target("Mailbox", c.Mailbox)
	}
	if len(v.Nameservers) == 0 {
		return nil
	}
	return &wire.SOA{
		Hdr: header(b.origin, wire.TypeSOA, whole(c.TTL)), Ns: b.target("nameserver", v.Nameservers[0].Name), Mbox: mailbox,
		Refresh: whole(c.Refresh), Retry: whole(c.Retry), Expire: whole(c.Expire), Minttl: whole(c.NegativeTTL),
	}
}

// aliases looks for names that stand for another and have data of their own, and for chains
// of them that lead nowhere.
func (b *builder) aliases() {
	for _, name := range slices.Sorted(maps.Keys(b.sets)) {
		s := b.sets[name]
		if len(s[wire.TypeCNAME]) > 0 && len(s) > 1 {
			b.fault("%s: it stands for another name and has records of its own", name)
		}
		at := name
		for step := 0; len(b.sets[at][wire.TypeCNAME]) > 0; step++ {
			if step == maxChain {
				b.fault("%s: it stands for more than %d names in turn, or for itself", name, maxChain)
				break
			}
			at = b.sets[at][wire.TypeCNAME][0].(*wire.CNAME).Target
			if _, ok := b.sets[at]; !ok && within(at, b.origin) {
				b.fault("%s: it leads to %s, which is not there", name, at)
			}
		}
	}
}

// targets looks at the names that services and nameservers are at: they stand for no others
// (RFC 2782; RFC 2181, 10.3).
func (b *builder) targets() {
	for _, rr := range b.records {
		var to string
		switch rr := rr.(type) {
		case *wire.SRV:
			to = rr.Target
		case *wire.NS:
			to = rr.Ns
		default:
			continue
		}
		s, ok := b.sets[to]
		if within(to, b.origin) && (!ok || len(s[wire.TypeA])+len(s[wire.TypeAAAA]) == 0) {
			b.fault("%s: %s has no addresses", rr.Header().Name, to)
		}
	}
}
