package dns

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the zone of the tests anew")

func TestZoneText(t *testing.T) {
	const path = "testdata/zone.txt"
	got := zone(t, nil).String()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the zone is\n%swant\n%s", got, want)
	}
}

func TestSerialOrder(t *testing.T) {
	for _, c := range []struct {
		a, b uint32
		want bool
	}{
		{1, 0, true},
		{0, 1, false},
		{5, 5, false},
		{0, 1<<32 - 1, true},
		{1<<32 - 1, 0, false},
		{44, 1<<32 - 100, true},
		{1<<31 - 1, 0, true},
		{1 << 31, 0, false},
		{0, 1 << 31, false},
		{1<<31 + 1, 0, false},
		{0, 1<<31 + 1, true},
	} {
		if got := newer(c.a, c.b); got != c.want {
			t.Errorf("newer(%d, %d) = %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

func TestNextSerial(t *testing.T) {
	for name, c := range map[string]struct {
		before uint32
		now    int64
		want   uint32
	}{
		"the clock is ahead":  {1000, 2000, 2000},
		"the same second":     {2000, 2000, 2001},
		"the clock went back": {2000, 1000, 2001},
		"over the end":        {1<<32 - 1, 1000, 1000},
		"just over the end":   {1<<32 - 1, 0, 0},
		"in the next century": {1<<32 - 1, 1<<32 + 4, 4},
		"half the circle off": {0, 1 << 31, 1},
	} {
		if got := nextSerial(c.before, time.Unix(c.now, 0)); got != c.want {
			t.Errorf("%s: nextSerial(%d, %d) = %d, want %d", name, c.before, c.now, got, c.want)
		}
		if got := nextSerial(c.before, time.Unix(c.now, 0)); !newer(got, c.before) {
			t.Errorf("%s: %d is not newer than %d", name, got, c.before)
		}
	}
}

func TestNextZone(t *testing.T) {
	z := zone(t, nil)
	later := born().Add(time.Minute)
	next := func(change func(*View)) *Zone {
		t.Helper()
		v := view()
		change(&v)
		n, err := z.Next(v, later)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := next(func(v *View) { v.Epoch++ }); n.Serial != z.Serial || n.Epoch != 8 {
		t.Errorf("the same answers in epoch %d have serial %d, want 8 and %d", n.Epoch, n.Serial, z.Serial)
	}
	moved := next(func(v *View) { v.Epoch, v.Writer = 8, "us-west-2" })
	if moved.Serial != uint32(later.Unix()) || moved.soa.Serial != moved.Serial {
		t.Errorf("a new writer has serial %d, and the SOA %d, want %d", moved.Serial, moved.soa.Serial, later.Unix())
	}
	ill := next(func(v *View) { v.Regions[0].Health, v.Regions[1].Health = Unhealthy, Healthy })
	if !newer(ill.Serial, z.Serial) {
		t.Errorf("a failover has serial %d after %d", ill.Serial, z.Serial)
	}
	again, err := ill.Next(view(), later)
	if err != nil || again.Serial != ill.Serial+1 {
		t.Errorf("what is as before in the same second has serial %d, %v, want %d", again.Serial, err, ill.Serial+1)
	}
	if _, err := moved.Next(view(), later); !errors.Is(err, ErrStale) {
		t.Errorf("a view of epoch 7 after one of 8: %v, want ErrStale", err)
	}
}

func TestOneWriterAnEpoch(t *testing.T) {
	v := view()
	with := func(z *Zone, epoch uint64, writer string) (*Zone, error) {
		v.Epoch, v.Writer = epoch, writer
		return z.Next(v, born())
	}
	z := zone(t, nil)
	if _, err := with(z, 7, "us-west-2"); !errors.Is(err, ErrStale) {
		t.Errorf("another writer in the same epoch: %v, want ErrStale", err)
	}
	none, err := with(z, 7, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := with(none, 7, "us-west-2"); !errors.Is(err, ErrStale) {
		t.Errorf("another writer in the same epoch, after none: %v, want ErrStale", err)
	}
	if _, err := with(none, 7, "us-west-1"); err != nil {
		t.Errorf("the writer is back: %v", err)
	}
	if _, err := with(none, 8, "us-west-2"); err != nil {
		t.Errorf("a writer of a new epoch: %v", err)
	}
	none, err = with(z, 8, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := with(none, 8, "us-west-2"); err != nil {
		t.Errorf("the first writer of an epoch: %v", err)
	}
}

func TestFaults(t *testing.T) {
	long := strings.Repeat("a", 64)
	for name, c := range map[string]struct {
		change func(*View)
		want   string
	}{
		"no nameserver":                 {func(v *View) { v.Nameservers = nil }, "no nameserver"},
		"a nameserver of no address":    {func(v *View) { v.Nameservers[0].Addrs = nil }, "it has addresses if its name is in the zone"},
		"an address of another's":       {func(v *View) { v.Nameservers[1].Addrs = addrs("10.0.0.1") }, "it has addresses if its name is in the zone"},
		"a nameserver that is no name":  {func(v *View) { v.Nameservers[1].Name = "a b" }, `nameserver "a b"`},
		"a writer that is none":         {func(v *View) { v.Writer = "mars" }, `the writer "mars" is none of the Regions`},
		"a name twice":                  {func(v *View) { v.Names[0].Name = "App" }, "app.session.internal. is the name of failover app too"},
		"a Region called as the writer": {func(v *View) { v.Regions[1].Name = "write" }, "write.session.internal. is the name of"},
		"a name of the nameserver":      {func(v *View) { v.Names[0].Name = "ns1" }, "is the name of nameserver"},
		"an empty name":                 {func(v *View) { v.Names[0].Name = "" }, "it is empty"},
		"an empty label":                {func(v *View) { v.Names[0].Name = "a..b" }, "a label is empty"},
		"a long label":                  {func(v *View) { v.Names[0].Name = long }, "64 characters, at most 63"},
		"a long name":                   {func(v *View) { v.Names[0].Name = strings.Repeat("abc.", 60) + "x" }, "at most 253"},
		"a hyphen":                      {func(v *View) { v.Names[0].Name = "-a" }, "hyphen"},
		"an odd character":              {func(v *View) { v.Names[0].Name = `a\.b` }, "has the character"},
		"a wildcard":                    {func(v *View) { v.Names[0].Name = "*" }, "has the character"},
		"an odd target":                 {func(v *View) { v.Names[0].Target = "a b" }, `target "a b"`},
		"nowhere":                       {func(v *View) { v.Names[0].Target = "" }, "it leads to addresses or to a target"},
		"two places":                    {func(v *View) { v.Names[0].Addrs = addrs("10.0.0.1") }, "it leads to addresses or to a target"},
		"a Region of two places":        {func(v *View) { v.Regions[0].Addrs = addrs("10.0.0.1") }, "it leads to addresses or to a target"},
		"a service and an alias":        {func(v *View) { v.Names[1].Target = "web.example" }, "has records of its own"},
		"an alias at the origin":        {func(v *View) { v.Names[0].Name = "@" }, "has records of its own"},
		"no address":                    {func(v *View) { v.Regions[1].Addrs = addrs("0.0.0.0") }, "leads nowhere"},
		"an address twice":              {func(v *View) { v.Regions[1].Addrs = addrs("10.2.0.4", "::ffff:10.2.0.4") }, "there twice"},
		"an address of a link":          {func(v *View) { v.Regions[1].Addrs = addrs("fe80::1%eth0") }, "leads nowhere"},
		"many":                          {func(v *View) { v.Regions[1].Addrs = addrs("224.0.0.1") }, "leads nowhere"},
		"a service twice":               {func(v *View) { v.Names[1].Services[1] = v.Names[1].Services[0] }, "is there twice"},
		"itself":                        {func(v *View) { v.Names[0].Target = "cache.session.internal" }, "or for itself"},
		"a missing target":              {func(v *View) { v.Names[0].Target = "nobody.session.internal" }, "which is not there"},
		"a service at an alias":         {func(v *View) { v.Names[1].Services[0].Target = "write.session.internal" }, "has no addresses"},
		"a service at nothing":          {func(v *View) { v.Names[1].Services[0].Target = "x.session.internal" }, "has no addresses"},
		"half a second":                 {func(v *View) { v.Names[0].TTL = time.Second / 2 }, "no whole number of seconds"},
		"a long time":                   {func(v *View) { v.Failovers[0].TTL = 25 * time.Hour }, "no whole number of seconds"},
		"a leg that is no Region":       {func(v *View) { v.Failovers[0].Secondary.Region = "mars" }, `a leg names the Region "mars"`},
		"a leg of two kinds":            {func(v *View) { v.Failovers[0].Secondary.Health = Healthy }, "or has an endpoint or health beside it"},
		"a leg that leads nowhere":      {func(v *View) { v.Failovers[1].Secondary = Leg{} }, "each leg leads to"},
		"health that is none":           {func(v *View) { v.Failovers[1].Secondary.Health = 3 }, "each leg leads to"},
	} {
		t.Run(name, func(t *testing.T) {
			v := view()
			c.change(&v)
			_, err := NewZone(origin, v, born(), ZoneConfig{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("NewZone: %v, want %q", err, c.want)
			}
		})
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	v := view()
	v.Writer, v.Nameservers, v.Names[0].Target = "mars", nil, ""
	_, err := NewZone(origin, v, born(), ZoneConfig{Expire: time.Millisecond})
	for _, want := range []string{"mars", "no nameserver", "it leads to", "Expire"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewZone: %v, want also %q", err, want)
		}
	}
}

func TestBounds(t *testing.T) {
	v := view()
	has := zone(t, nil)
	for i := range maxRecords - len(has.records) {
		v.Names = append(v.Names, Name{Name: "n" + string(rune('a'+i/676%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i%26)), Endpoint: Endpoint{Addrs: addrs("10.9.0.1")}})
	}
	if _, err := NewZone(origin, v, born(), ZoneConfig{}); err != nil {
		t.Errorf("a zone of %d records: %v", maxRecords, err)
	}
	v.Names = append(v.Names, Name{Name: "last", Endpoint: Endpoint{Addrs: addrs("10.9.0.1")}})
	if _, err := NewZone(origin, v, born(), ZoneConfig{}); err == nil {
		t.Errorf("a zone of %d records is made", maxRecords+1)
	}
	chain := func(n int) error {
		v := view()
		to := "far.example"
		for i := range n {
			name := "c" + string(rune('a'+i))
			v.Names = append(v.Names, Name{Name: name, Endpoint: Endpoint{Target: to}})
			to = name + "." + origin
		}
		_, err := NewZone(origin, v, born(), ZoneConfig{})
		return err
	}
	if err := chain(maxChain); err != nil {
		t.Errorf("a chain of %d names: %v", maxChain, err)
	}
	if err := chain(maxChain + 1); err == nil {
		t.Errorf("a chain of %d names is made", maxChain+1)
	}
}

func TestBadOrigin(t *testing.T) {
	for _, o := range []string{"", ".", "a..b", "a b"} {
		if _, err := NewZone(o, view(), born(), ZoneConfig{}); err == nil {
			t.Errorf("a zone of %q is made", o)
		}
	}
}

func TestViewIsNotShared(t *testing.T) {
	v := view()
	z, err := NewZone(origin, v, born(), ZoneConfig{})
	if err != nil {
		t.Fatal(err)
	}
	before := z.String()
	v.Regions[1].Addrs[0] = addrs("10.66.6.6")[0]
	v.Names[1].Services[0].Port = 1
	if _, err := z.Next(v, born().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if z.String() != before {
		t.Errorf("the zone became\n%swant\n%s", z, before)
	}
}
