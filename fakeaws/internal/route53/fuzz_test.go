package route53

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/roam-sessions/roam/fakeaws/internal/clock"
)

func FuzzDecodeBatch(f *testing.F) {
	f.Add([]byte(`<ChangeResourceRecordSetsRequest xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ChangeBatch><Changes><Change><Action>UPSERT</Action><ResourceRecordSet><Name>write.session.internal.</Name><ResourceRecords><ResourceRecord><Value>x.example</Value></ResourceRecord></ResourceRecords><TTL>10</TTL><Type>CNAME</Type></ResourceRecordSet></Change></Changes><Comment>c</Comment></ChangeBatch></ChangeResourceRecordSetsRequest>`))
	f.Add([]byte(`<ChangeResourceRecordSetsRequest><ChangeBatch><Changes><Change><Action>CREATE</Action><ResourceRecordSet><Name>a.session.internal</Name><ResourceRecords><ResourceRecord><Value>"\"</Value></ResourceRecord></ResourceRecords><TTL>10</TTL><Type>TXT</Type></ResourceRecordSet></Change></Changes></ChangeBatch></ChangeResourceRecordSetsRequest>`))
	f.Fuzz(func(t *testing.T, body []byte) {
		b, err := decodeBatch(body)
		if err != nil {
			return
		}
		start := apex("session.internal.")
		next, wrong := start.with("session.internal.", b)
		if (next == nil) != (len(wrong) > 0) || len(start) != 2 {
			t.Fatalf("%v and %q", next, wrong)
		}
		for k, r := range next {
			if m := r.wrong(); m != "" || k != r.key() || !strings.HasSuffix(k.name, "session.internal.") {
				t.Errorf("it took %+v: %s", r, m)
			}
		}
		names := next.sorted()
		for i := 1; i < len(names); i++ {
			if before(names[i], names[i-1]) {
				t.Errorf("listed: %v behind %v", names[i], names[i-1])
			}
		}
	})
}

func FuzzAnswer(f *testing.F) {
	q := new(dns.Msg)
	q.SetQuestion("write.session.internal.", dns.TypeA)
	seed, err := q.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	fake := New(f.Context(), Config{Clock: clock.Real{}, Lookup: func(string) (netip.Addr, bool) { return netip.Addr{}, false }})
	fake.zones["Z"] = &zone{id: "Z", name: "session.internal.", served: apex("session.internal.")}
	f.Fuzz(func(t *testing.T, query []byte) {
		reply, err := fake.Answer(query)
		if err != nil {
			return
		}
		var m dns.Msg
		if err := m.Unpack(reply); err != nil || !m.Response {
			t.Errorf("answers %x with %x: %v", query, reply, err)
		}
	})
}
