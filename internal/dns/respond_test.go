package dns

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

// question is a request as a resolver sends it.
func question(name string, rrtype uint16) *wire.Msg {
	m := new(wire.Msg)
	m.SetQuestion(name, rrtype)
	m.RecursionDesired = false
	return m
}

// say tells what an answer has, a line a record.
func say(m *wire.Msg) string {
	lines := []string{wire.RcodeToString[m.Rcode]}
	for _, flag := range []struct {
		set  bool
		name string
	}{{m.Authoritative, "aa"}, {m.Truncated, "tc"}, {m.RecursionDesired, "rd"}, {m.RecursionAvailable, "ra"}} {
		if flag.set {
			lines[0] += " " + flag.name
		}
	}
	for i, rrs := range [][]wire.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range rrs {
			if rr.Header().Rrtype != wire.TypeOPT {
				lines = append(lines, []string{"", "authority ", "additional "}[i]+strings.Join(strings.Fields(rr.String()), " "))
			}
		}
	}
	return strings.Join(lines, "\n")
}

// lines joins what is expected of say.
func lines(l ...string) string { return strings.Join(l, "\n") }

const (
	negative = "authority session.internal. 10 IN SOA ns1.session.internal. hostmaster.session.internal. 1800000000 60 10 604800 10"
	soa      = "session.internal. 60 IN SOA ns1.session.internal. hostmaster.session.internal. 1800000000 60 10 604800 10"
)

// An asked is a question, and what is said to it.
type asked struct {
	name   string
	zone   *Zone
	asked  string
	rrtype uint16
	want   string
}

func (c asked) check(t *testing.T) {
	t.Helper()
	req := question(c.asked, c.rrtype)
	resp, _ := respond(c.zone, origin, req)
	if got := say(resp); got != c.want {
		t.Errorf("%s: asked %s %s, answered\n%s\nwant\n%s", c.name, c.asked, wire.TypeToString[c.rrtype], got, c.want)
	}
	if resp.Id != req.Id || !resp.Response || len(resp.Question) != 1 || resp.Question[0] != req.Question[0] {
		t.Errorf("%s: the answer is to %v, want %v", c.name, resp.Question, req.Question)
	}
}

func TestAnswersOfWriter(t *testing.T) {
	z := zone(t, nil)
	addressed := zone(t, func(v *View) { v.Writer = "us-west-2" })
	vacant := zone(t, func(v *View) { v.Writer = "" })
	for _, c := range []asked{
		{"the writer, elsewhere", z, "write.session.internal.", wire.TypeA, lines("NOERROR aa", "write.session.internal. 10 IN CNAME master.usw1.cache.example.")},
		{"the writer's alias itself", z, "write.session.internal.", wire.TypeCNAME, lines("NOERROR aa", "write.session.internal. 10 IN CNAME master.usw1.cache.example.")},
		{"the writer, here", addressed, "write.session.internal.", wire.TypeA, lines("NOERROR aa", "write.session.internal. 10 IN CNAME us-west-2.session.internal.", "us-west-2.session.internal. 60 IN A 10.2.0.4", "us-west-2.session.internal. 60 IN A 10.2.0.5")},
		{"the writer, by IPv6", addressed, "write.session.internal.", wire.TypeAAAA, lines("NOERROR aa", "write.session.internal. 10 IN CNAME us-west-2.session.internal.", "us-west-2.session.internal. 60 IN AAAA fd00:2::4")},
		{"the writer has no text", addressed, "write.session.internal.", wire.TypeTXT, lines("NOERROR aa", "write.session.internal. 10 IN CNAME us-west-2.session.internal.", negative)},
		{"no writer", vacant, "write.session.internal.", wire.TypeA, lines("NOERROR aa", negative)},
		{"no writer's service", vacant, "_roam._tcp.write.session.internal.", wire.TypeSRV, lines("NXDOMAIN aa", negative)},
		{"the writer's service", z, "_roam._tcp.write.session.internal.", wire.TypeSRV, lines("NOERROR aa", "_roam._tcp.write.session.internal. 10 IN SRV 0 0 6379 master.usw1.cache.example.")},
		{"the writer's service, at no port", zone(t, func(v *View) { v.Regions[0].Port = 0 }), "_roam._tcp.write.session.internal.", wire.TypeSRV, lines("NXDOMAIN aa", negative)},
		{"the writer's service, here", addressed, "_roam._tcp.write.session.internal.", wire.TypeSRV, lines("NOERROR aa", "_roam._tcp.write.session.internal. 10 IN SRV 0 0 6380 us-west-2.session.internal.", "additional us-west-2.session.internal. 60 IN A 10.2.0.4", "additional us-west-2.session.internal. 60 IN A 10.2.0.5", "additional us-west-2.session.internal. 60 IN AAAA fd00:2::4")},
		{"two aliases in turn", addressed, "cache.session.internal.", wire.TypeAAAA, lines("NOERROR aa", "cache.session.internal. 60 IN CNAME write.session.internal.", "write.session.internal. 10 IN CNAME us-west-2.session.internal.", "us-west-2.session.internal. 60 IN AAAA fd00:2::4")},
		{"an alias of a name without data", vacant, "cache.session.internal.", wire.TypeA, lines("NOERROR aa", "cache.session.internal. 60 IN CNAME write.session.internal.", negative)},
	} {
		c.check(t)
	}
}

func TestAnswers(t *testing.T) {
	with := func(change func(*View)) *Zone { return zone(t, change) }
	z := with(nil)
	for _, c := range []asked{
		{"a Region", z, "us-west-2.session.internal.", wire.TypeAAAA, lines("NOERROR aa", "us-west-2.session.internal. 60 IN AAAA fd00:2::4")},
		{"as it is spelled", z, "US-west-2.Session.INTERNAL.", wire.TypeAAAA, lines("NOERROR aa", "US-west-2.Session.INTERNAL. 60 IN AAAA fd00:2::4")},
		{"a failover, P ill and S well", z, "read.session.internal.", wire.TypeA, lines("NOERROR aa", "read.session.internal. 10 IN CNAME master.usw1.cache.example.")},
		{"a failover, both ill", with(func(v *View) { v.Regions[0].Health = Unhealthy }), "read.session.internal.", wire.TypeAAAA, lines("NOERROR aa", "read.session.internal. 10 IN CNAME us-west-2.session.internal.", "us-west-2.session.internal. 60 IN AAAA fd00:2::4")},
		{"a failover, P well", z, "app.session.internal.", wire.TypeA, lines("NOERROR aa", "app.session.internal. 5 IN A 10.1.0.9")},
		{"a failover, S unchecked", with(func(v *View) { v.Failovers[1].Primary.Health = Unhealthy }), "app.session.internal.", wire.TypeA, lines("NOERROR aa", "app.session.internal. 5 IN A 10.2.0.9")},
		{"services", z, "_web._tcp.session.internal.", wire.TypeSRV, lines("NOERROR aa", "_web._tcp.session.internal. 60 IN SRV 0 0 443 us-west-2.session.internal.", "_web._tcp.session.internal. 60 IN SRV 10 0 443 web.example.", "additional us-west-2.session.internal. 60 IN A 10.2.0.4", "additional us-west-2.session.internal. 60 IN A 10.2.0.5", "additional us-west-2.session.internal. 60 IN AAAA fd00:2::4")},
		{"the origin's SOA", z, origin, wire.TypeSOA, lines("NOERROR aa", soa)},
		{"nameservers", z, origin, wire.TypeNS, lines("NOERROR aa", "session.internal. 60 IN NS ns1.session.internal.", "session.internal. 60 IN NS ns.example.", "additional ns1.session.internal. 60 IN A 10.1.0.2")},
		{"nothing of that type", z, "us-west-2.session.internal.", wire.TypeMX, lines("NOERROR aa", negative)},
		{"the origin has no address", z, origin, wire.TypeA, lines("NOERROR aa", negative)},
		{"no such name", z, "mars.session.internal.", wire.TypeA, lines("NXDOMAIN aa", negative)},
		{"below a name", z, "x.us-west-2.session.internal.", wire.TypeA, lines("NXDOMAIN aa", negative)},
		{"below an alias", z, "x.write.session.internal.", wire.TypeA, lines("NXDOMAIN aa", negative)},
		{"between names", z, "deep.name.session.internal.", wire.TypeA, lines("NOERROR aa", negative)},
		{"no wildcard", z, "*.session.internal.", wire.TypeA, lines("NXDOMAIN aa", negative)},
		{"a dot in a label", z, `write\.session.internal.`, wire.TypeA, "REFUSED"},
		{"any of an alias", z, "write.session.internal.", wire.TypeANY, lines("NOERROR aa", "write.session.internal. 10 IN CNAME master.usw1.cache.example.")},
		{"any is one type", z, "us-west-2.session.internal.", wire.TypeANY, lines("NOERROR aa", "us-west-2.session.internal. 60 IN A 10.2.0.4", "us-west-2.session.internal. 60 IN A 10.2.0.5")},
		{"any of the origin", z, origin, wire.TypeANY, lines("NOERROR aa", soa)},
		{"any between names", z, "name.session.internal.", wire.TypeANY, lines("NOERROR aa", negative)},
		{"another zone", z, "example.com.", wire.TypeA, "REFUSED"},
		{"the zone above", z, "internal.", wire.TypeNS, "REFUSED"},
		{"the root", z, ".", wire.TypeNS, "REFUSED"},
		{"a name that ends alike", z, "xsession.internal.", wire.TypeA, "REFUSED"},
		{"mail agents", z, origin, wire.TypeMAILA, "NOTIMP"},
		{"an option as data", z, origin, wire.TypeOPT, "FORMERR"},
		{"the whole zone of a name", z, "write.session.internal.", wire.TypeAXFR, "NOTAUTH"},
		{"news of no serial", z, origin, wire.TypeIXFR, "FORMERR"},
		{"nothing is known", nil, "write.session.internal.", wire.TypeA, "SERVFAIL"},
		{"nothing is known of what is not there", nil, "mars.session.internal.", wire.TypeA, "SERVFAIL"},
		{"nothing is known, another zone", nil, "example.com.", wire.TypeA, "REFUSED"},
	} {
		c.check(t)
	}
}

func TestMissingBehindAlias(t *testing.T) {
	z := zone(t, nil)
	delete(z.sets, "write.session.internal.") // what no View can bring about
	resp, _ := respond(z, origin, question("cache.session.internal.", wire.TypeA))
	if want := lines("NXDOMAIN aa", "cache.session.internal. 60 IN CNAME write.session.internal.", negative); say(resp) != want {
		t.Errorf("answered\n%s\nwant\n%s", say(resp), want)
	}
}

func TestNegativeTTL(t *testing.T) {
	for _, c := range []struct{ ttl, negative, want time.Duration }{
		{time.Minute, 10 * time.Second, 10 * time.Second},
		{5 * time.Second, 10 * time.Second, 5 * time.Second},
	} {
		z, err := NewZone(origin, view(), born(), ZoneConfig{TTL: c.ttl, NegativeTTL: c.negative})
		if err != nil {
			t.Fatal(err)
		}
		if got := z.negative().Header().Ttl; time.Duration(got)*time.Second != c.want {
			t.Errorf("TTL %v, NegativeTTL %v: %d s, want %v", c.ttl, c.negative, got, c.want)
		}
	}
}

func TestRequests(t *testing.T) {
	z := zone(t, nil)
	ask := func(change func(*wire.Msg)) *wire.Msg {
		m := question("app.session.internal.", wire.TypeA)
		change(m)
		return m
	}
	edns := func(m *wire.Msg) *wire.OPT { m.SetEdns0(4096, true); return m.IsEdns0() }
	const ok = "NOERROR aa\napp.session.internal. 5 IN A 10.1.0.9"
	for _, c := range []struct {
		name string
		req  *wire.Msg
		want string
		opt  string
	}{
		{"plain", ask(func(*wire.Msg) {}), ok, ""},
		{"it wants recursion", ask(func(m *wire.Msg) { m.RecursionDesired = true }), strings.Replace(ok, "aa", "aa rd", 1), ""},
		{"it has an option", ask(func(m *wire.Msg) { edns(m) }), ok, "version 0 size 1232 do true"},
		{"without DNSSEC", ask(func(m *wire.Msg) { m.SetEdns0(4096, false) }), ok, "version 0 size 1232 do false"},
		{"an option that nobody knows", ask(func(m *wire.Msg) {
			o := edns(m)
			o.Option = append(o.Option, &wire.EDNS0_LOCAL{Code: 65001, Data: []byte("x")})
		}), ok, "version 0 size 1232 do true"},
		{"options of another version", ask(func(m *wire.Msg) { edns(m).SetVersion(1) }), "BADVERS", "version 0 size 1232 do true"},
		{"two options", ask(func(m *wire.Msg) { m.Extra = append(m.Extra, edns(m)) }), "FORMERR", "version 0 size 1232 do true"},
		{"an option of a name", ask(func(m *wire.Msg) { edns(m).Hdr.Name = origin }), "FORMERR", "version 0 size 1232 do true"},
		{"an update", ask(func(m *wire.Msg) { m.Opcode = wire.OpcodeUpdate }), "NOTIMP", ""},
		{"a notification", ask(func(m *wire.Msg) { m.Opcode = wire.OpcodeNotify }), "NOTIMP", ""},
		{"an opcode that is none", ask(func(m *wire.Msg) { m.Opcode = 15 }), "NOTIMP", ""},
		{"no question", ask(func(m *wire.Msg) { m.Question = nil }), "FORMERR", ""},
		{"two questions", ask(func(m *wire.Msg) { m.Question = append(m.Question, m.Question[0]) }), "FORMERR", ""},
		{"another class", ask(func(m *wire.Msg) { m.Question[0].Qclass = wire.ClassCHAOS }), "REFUSED", ""},
		{"any class", ask(func(m *wire.Msg) { m.Question[0].Qclass = wire.ClassANY }), "REFUSED", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, _ := respond(z, origin, c.req)
			b, err := resp.Pack()
			if err != nil {
				t.Fatal(err)
			}
			got := new(wire.Msg)
			if err := got.Unpack(b); err != nil {
				t.Fatal(err)
			}
			opt := ""
			if o := got.IsEdns0(); o != nil {
				opt = fmt.Sprintf("version %d size %d do %v", o.Version(), o.UDPSize(), o.Do())
			}
			want := strings.Replace(c.want, "BADVERS", wire.RcodeToString[wire.RcodeBadVers], 1)
			if say(got) != want || opt != c.opt {
				t.Errorf("answered\n%s\noption %q, want\n%s\noption %q", say(got), opt, want, c.opt)
			}
		})
	}
}

func TestWholeZoneQuestions(t *testing.T) {
	z := zone(t, nil)
	req := question("Session.Internal.", wire.TypeAXFR)
	if resp, whole := respond(z, origin, req); resp != nil || whole == nil || whole.ixfr {
		t.Errorf("AXFR: %v, %+v", resp, whole)
	}
	req = new(wire.Msg)
	req.SetIxfr(origin, 41, "ns1.", "x.")
	if resp, whole := respond(nil, origin, req); resp != nil || whole == nil || !whole.ixfr || whole.known != 41 {
		t.Errorf("IXFR: %v, %+v", resp, whole)
	}
	req.Ns = []wire.RR{&wire.A{Hdr: header(origin, wire.TypeA, 0), A: addrs("10.0.0.1")[0].AsSlice()}}
	if resp, whole := respond(z, origin, req); whole != nil || resp.Rcode != wire.RcodeFormatError {
		t.Errorf("IXFR of an address: %v, %+v", resp, whole)
	}
}

func TestRoom(t *testing.T) {
	for size, want := range map[int]int{-1: 512, 0: 512, 100: 512, 512: 512, 900: 900, 1232: 1232, 4096: 1232, 65535: 1232} {
		m := question(origin, wire.TypeA)
		if size >= 0 {
			m.SetEdns0(uint16(size), false)
		}
		if got := room(m); got != want {
			t.Errorf("room of %d = %d, want %d", size, got, want)
		}
	}
}

// crowd is a view with a name of many addresses and services.
func crowd(v *View) {
	many := Name{Name: "many"}
	for i := range 60 {
		many.Addrs = append(many.Addrs, addrs(fmt.Sprintf("10.8.0.%d", i+1))...)
	}
	v.Names = append(v.Names, many, Name{Name: "_x._tcp", Services: []Service{{Port: 1, Target: "many." + origin}}})
}

func TestCut(t *testing.T) {
	z := zone(t, crowd)
	ask := func(name string, rrtype, size uint16) (*wire.Msg, int) {
		req := question(name, rrtype)
		if size > 0 {
			req.SetEdns0(size, false)
		}
		resp, _ := respond(z, origin, req)
		cut(resp, room(req))
		b, err := resp.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > room(req) {
			t.Errorf("%s: %d bytes, at most %d", name, len(b), room(req))
		}
		return resp, len(b)
	}
	if m, _ := ask("many.session.internal.", wire.TypeA, 0); !m.Truncated || len(m.Answer) != 0 || len(m.Question) != 1 {
		t.Errorf("60 addresses in 512 bytes: %s", say(m))
	}
	if m, n := ask("many.session.internal.", wire.TypeA, 1232); m.Truncated || len(m.Answer) != 60 || n < 900 {
		t.Errorf("60 addresses in 1232 bytes are %d: %s", n, say(m))
	}
	if m, _ := ask("many.session.internal.", wire.TypeA, 600); !m.Truncated || m.IsEdns0() == nil {
		t.Errorf("60 addresses in 600 bytes: %s", say(m))
	}
	m, _ := ask("_x._tcp.session.internal.", wire.TypeSRV, 600)
	if m.Truncated || len(m.Answer) != 1 || m.IsEdns0() == nil || slices.ContainsFunc(m.Extra, func(rr wire.RR) bool { return rr.Header().Rrtype == wire.TypeA }) {
		t.Errorf("a service of 60 addresses in 600 bytes: %s", say(m))
	}
}

func TestAnswersAreNotShared(t *testing.T) {
	z := zone(t, nil)
	before := z.String()
	for _, rrtype := range []uint16{wire.TypeA, wire.TypeANY, wire.TypeMX, wire.TypeNS, wire.TypeSRV} {
		for _, name := range []string{origin, "us-west-2." + origin, "_web._tcp." + origin, "none." + origin} {
			f := z.lookup(name, rrtype)
			for _, rr := range slices.Concat(f.answer, f.authority, f.additional) {
				rr.Header().Ttl, rr.Header().Name = 99, "spoiled."
			}
		}
	}
	if z.String() != before {
		t.Errorf("the zone became\n%swant\n%s", z, before)
	}
}
