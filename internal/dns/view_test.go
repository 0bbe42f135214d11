package dns

import (
	"net/netip"
	"testing"
	"time"
)

// origin is that of the zones in these tests; born, when they are made.
const origin = "session.internal."

func born() time.Time { return time.Unix(1_800_000_000, 0) }

func addrs(list ...string) []netip.Addr {
	out := make([]netip.Addr, len(list))
	for i, a := range list {
		out[i] = netip.MustParseAddr(a)
	}
	return out
}

// view is a deployment with one of everything.
func view() View {
	return View{
		Epoch: 7, Writer: "us-west-1",
		Regions: []Region{
			{Name: "us-west-1", Endpoint: Endpoint{Target: "master.usw1.cache.example"}, Port: 6379, Health: Healthy},
			{Name: "us-west-2", Endpoint: Endpoint{Addrs: addrs("10.2.0.4", "10.2.0.5", "fd00:2::4")}, Port: 6380, Health: Unhealthy},
		},
		Failovers: []Failover{
			{Name: "read", Primary: Leg{Region: "us-west-2"}, Secondary: Leg{Region: "us-west-1"}},
			{
				Name: "app", TTL: 5 * time.Second,
				Primary:   Leg{Endpoint: Endpoint{Addrs: addrs("10.1.0.9")}, Health: Healthy},
				Secondary: Leg{Endpoint: Endpoint{Addrs: addrs("10.2.0.9")}},
			},
		},
		Names: []Name{
			{Name: "cache", Endpoint: Endpoint{Target: "write.session.internal"}},
			{Name: "_web._tcp", Services: []Service{{Port: 443, Target: "us-west-2.session.internal"}, {Priority: 10, Port: 443, Target: "web.example"}}},
			{Name: "a.deep.name", Endpoint: Endpoint{Addrs: addrs("10.3.0.1")}, TTL: time.Hour},
		},
		Nameservers: []Nameserver{
			{Name: "ns1.session.internal", Addrs: addrs("10.1.0.2")},
			{Name: "ns.example"},
		},
	}
}

// zone makes the zone of a view, after it was changed.
func zone(t *testing.T, change func(*View)) *Zone {
	t.Helper()
	v := view()
	if change != nil {
		change(&v)
	}
	z, err := NewZone(origin, v, born(), ZoneConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestFailoverLeg(t *testing.T) {
	f := Failover{Primary: Leg{Region: "P"}, Secondary: Leg{Region: "S"}}
	for _, c := range []struct {
		primary, secondary Health
		want               string
	}{
		{Healthy, Healthy, "P"},
		{Healthy, Unhealthy, "P"},
		{Healthy, Unchecked, "P"},
		{Unhealthy, Healthy, "S"},
		{Unhealthy, Unhealthy, "P"},
		{Unhealthy, Unchecked, "S"},
		{Unchecked, Healthy, "P"},
		{Unchecked, Unhealthy, "P"},
		{Unchecked, Unchecked, "P"},
	} {
		if got := f.leg(c.primary, c.secondary).Region; got != c.want {
			t.Errorf("leg(%v, %v) = %s, want %s", c.primary, c.secondary, got, c.want)
		}
	}
}
