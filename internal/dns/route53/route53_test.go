package route53

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/roam-sessions/roam/internal/awstest"
	"github.com/roam-sessions/roam/internal/dns"
)

const (
	zone = "Z0123456789"
	name = "write.session.internal"
)

func client(w *awstest.World) *sdk.Client {
	return sdk.New(sdk.Options{
		Region: "us-west-2", Credentials: credentials.NewStaticCredentialsProvider(awstest.KeyID, awstest.Secret, ""),
		HTTPClient: w, Retryer: aws.NopRetryer{},
	})
}

func publisher(t *testing.T, w *awstest.World, c Config) *Publisher {
	t.Helper()
	w.Route53.Zone = zone
	p, err := New(client(w), zone, name, c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// set reads "type value [set role health]", at our name.
func set(line string) awstest.RecordSet {
	f := strings.Fields(line)
	r := awstest.RecordSet{Name: name + ".", Type: f[0], TTL: 10, Values: []string{f[1]}}
	if len(f) > 2 {
		r.SetIdentifier, r.Failover, r.HealthCheckID = f[2], f[3], f[4]
	}
	return r
}

func mark(text string) awstest.RecordSet {
	return awstest.RecordSet{Name: "_roam." + name + ".", Type: "TXT", TTL: 10, Values: []string{text}}
}

// foreign are records of other names around ours; they must stay as they are.
func foreign() []awstest.RecordSet {
	return []awstest.RecordSet{
		{Name: "session.internal.", Type: "SOA", TTL: 900, Values: []string{"ns. root. 1 1 1 1 1"}},
		{Name: "a.write.session.internal.", Type: "CNAME", TTL: 60, Values: []string{"else.example"}},
		{Name: "read.session.internal.", Type: "CNAME", TTL: 60, Values: []string{"else.example"}},
		{Name: "_roam.writer.session.internal.", Type: "TXT", TTL: 60, Values: []string{`"roam1" "9" "else.example."`}},
		{Name: "xwrite.session.internal.", Type: "A", TTL: 60, Values: []string{"10.0.0.1"}},
	}
}

func lines(w *awstest.World) (ours string, others int) {
	var out []string
	for _, r := range w.Route53.Records {
		if r.Name != name+"." && r.Name != "_roam."+name+"." {
			others++
			continue
		}
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %d %s %s %s %s", r.Type, r.TTL, r.Values[0], r.SetIdentifier, r.Failover, r.HealthCheckID)))
	}
	slices.Sort(out)
	return strings.Join(out, "\n"), others
}

const isEast = "CNAME 10 " + east

func TestSettle(t *testing.T) {
	e, w := members()
	e.Health, w.Health = "hc1", "hc2"
	pair := [2]Member{e, w}
	isPair := "CNAME 10 " + east + " us-east-1 PRIMARY hc1\nCNAME 10 " + west + " us-west-2 SECONDARY hc2"
	weight := int64(1)
	many := make([]awstest.RecordSet, 0, 12)
	for i := range 12 {
		many = append(many, awstest.RecordSet{Name: name + ".", Type: "CNAME", TTL: 10, Weight: &weight, SetIdentifier: fmt.Sprint(i), Values: []string{"x.example"}})
	}
	for _, c := range []struct {
		name    string
		has     []awstest.RecordSet
		pair    [2]Member
		want    string
		err     error
		batches int
	}{
		{"nothing is there", nil, [2]Member{}, isEast, nil, 1},
		{"it is so", []awstest.RecordSet{set("CNAME " + east)}, [2]Member{}, isEast, nil, 0},
		{"it is so, with a dot", []awstest.RecordSet{set("CNAME " + east + ".")}, [2]Member{}, isEast + ".", nil, 0},
		{"elsewhere", []awstest.RecordSet{set("CNAME " + west)}, [2]Member{}, isEast, nil, 1},
		{"to a pair", []awstest.RecordSet{set("CNAME " + west)}, pair, isPair, nil, 1},
		{"from a pair", []awstest.RecordSet{set("CNAME " + west + " a PRIMARY hc1"), set("CNAME " + east + " b SECONDARY hc2")}, [2]Member{}, isEast, nil, 1},
		{"the pair is so", []awstest.RecordSet{set("CNAME " + east + " us-east-1 PRIMARY hc1"), set("CNAME " + west + " us-west-2 SECONDARY hc2")}, pair, isPair, nil, 0},
		{"the pair the other way", []awstest.RecordSet{set("CNAME " + west + " us-west-2 PRIMARY hc2"), set("CNAME " + east + " us-east-1 SECONDARY hc1")}, pair, isPair, nil, 1},
		{"an address", []awstest.RecordSet{set("A 10.0.0.1")}, [2]Member{}, "A 10 10.0.0.1", dns.ErrOccupied, 0},
		{"weighted by others", many[:2], [2]Member{}, "", dns.ErrOccupied, 0},
		{"more than a page", many, [2]Member{}, "", dns.ErrOccupied, 0},
		{"a control plane's", []awstest.RecordSet{set("CNAME " + west), mark(`"roam1" "7" "` + west + `."`)}, [2]Member{}, "", dns.ErrOccupied, 0},
		{"a text beside it", []awstest.RecordSet{mark(`"v=spf1 -all"`)}, [2]Member{}, "", dns.ErrOccupied, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				world := &awstest.World{Route53: awstest.Route53{Records: append(foreign(), c.has...), Sync: 30 * time.Second}}
				before, _ := lines(world)
				p := publisher(t, world, Config{Pair: c.pair})
				begun := time.Now()
				o, err := p.Settle(t.Context(), east+".", nil)
				want := c.want
				if c.err != nil {
					want = before
				}
				got, others := lines(world)
				if !errors.Is(err, c.err) || got != want || len(world.Route53.Batches) != c.batches || others != len(foreign()) || world.Unsigned > 0 {
					t.Errorf("Settle = %+v, %v with %d batches, %d other records; there is\n%s\nwant %v, %d\n%s", o, err, len(world.Route53.Batches), others, got, c.err, c.batches, want)
				}
				if took := time.Since(begun); o.Changed != (c.batches > 0) || o.Changed && (took < 30*time.Second || took > 34*time.Second) {
					t.Errorf("Settle = %+v after %v, want it to wait until all servers know", o, took)
				}
				if c.err != nil {
					return
				}
				if o, err := p.Settle(t.Context(), east, nil); err != nil || o.Changed {
					t.Errorf("again: %+v, %v", o, err)
				}
			})
		})
	}
}

// What goes wrong on the way is tried again, within bounds; what stays wrong is not.
func TestSettleTriesAgain(t *testing.T) {
	change := func(c awstest.Call) bool { return c.Action == "ChangeResourceRecordSets" }
	for _, c := range []struct {
		name    string
		fate    func(n int, c awstest.Call) awstest.Fate // of the n-th change
		err     error
		changes int // requests
		batches int // taken
	}{
		{"a throttle", func(n int, _ awstest.Call) awstest.Fate { return code(n == 1, "Throttling") }, nil, 2, 1},
		{"throttled by another name", func(n int, _ awstest.Call) awstest.Fate { return code(n < 3, "ThrottlingException") }, nil, 3, 1},
		{"another batch goes on", func(n int, _ awstest.Call) awstest.Fate { return code(n < 4, "PriorRequestNotComplete") }, nil, 4, 1},
		{"Route 53 fails", func(int, awstest.Call) awstest.Fate {
			return awstest.Fate{Code: "ServiceUnavailable", Status: 503}
		}, errAny, 6, 0},
		{"the request is lost", func(n int, _ awstest.Call) awstest.Fate { return awstest.Fate{Lost: n == 1} }, nil, 2, 1},
		{"its answer is", func(n int, _ awstest.Call) awstest.Fate { return awstest.Fate{Unheard: n == 1} }, nil, 2, 2},
		{"nothing comes back", func(n int, _ awstest.Call) awstest.Fate { return awstest.Fate{Hang: n == 1} }, nil, 2, 1},
		{"somebody was faster", func(n int, _ awstest.Call) awstest.Fate { return code(n == 1, "InvalidChangeBatch") }, nil, 2, 1},
		{"no such zone", func(int, awstest.Call) awstest.Fate { return code(true, "NoSuchHostedZone") }, dns.ErrRefused, 1, 0},
		{"no right", func(int, awstest.Call) awstest.Fate { return code(true, "AccessDenied") }, dns.ErrRefused, 1, 0},
		{"no such health check", func(int, awstest.Call) awstest.Fate { return code(true, "NoSuchHealthCheck") }, dns.ErrRefused, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				world := &awstest.World{Route53: awstest.Route53{Records: []awstest.RecordSet{set("CNAME " + west)}, Sync: time.Second}}
				n := 0
				world.Fate = func(call awstest.Call) awstest.Fate {
					if !change(call) {
						return awstest.Fate{}
					}
					n++
					return c.fate(n, call)
				}
				_, err := publisher(t, world, Config{}).Settle(t.Context(), east, nil)
				if !like(err, c.err) || n != c.changes || len(world.Route53.Batches) != c.batches {
					t.Errorf("Settle = %v after %d changes and %d batches, want %v, %d, %d", err, n, len(world.Route53.Batches), c.err, c.changes, c.batches)
				}
			})
		})
	}
}

// errAny stands for any error in a table.
var errAny = errors.New("any error")

func like(err, want error) bool {
	return errors.Is(err, want) || err != nil && errors.Is(want, errAny)
}

func code(yes bool, c string) awstest.Fate {
	if !yes {
		return awstest.Fate{}
	}
	return awstest.Fate{Code: c}
}

// A real pending change of somebody else makes ours wait, and no longer than it takes.
func TestSettleWaitsForAPriorBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := &awstest.World{Route53: awstest.Route53{Sync: 8 * time.Second, OneByOne: true}}
		other := publisher(t, world, Config{Tries: 1})
		p := publisher(t, world, Config{})
		done := make(chan error, 1)
		go func() { _, err := other.Settle(t.Context(), west, nil); done <- err }()
		synctest.Wait()
		time.Sleep(time.Second)
		if _, err := p.Settle(t.Context(), east, nil); err != nil {
			t.Errorf("Settle = %v", err)
		}
		if err := <-done; err != nil && !errors.Is(err, errUnverified) { // it may see ours when it looks again
			t.Errorf("the other Settle = %v", err)
		}
		if got, _ := lines(world); got != isEast || len(world.Route53.Batches) != 2 {
			t.Errorf("there is %q after %d batches", got, len(world.Route53.Batches))
		}
	})
}

// Guard is asked before each batch: what was true when the name was looked at need not be
// true when a throttle has passed.
func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := &awstest.World{Route53: awstest.Route53{Records: []awstest.RecordSet{set("CNAME " + west)}}}
		world.Fate = func(c awstest.Call) awstest.Fate { return code(c.Action == "ChangeResourceRecordSets", "Throttling") }
		asked := 0
		guard := func(context.Context) error {
			if asked++; asked == 3 {
				return ErrNotPrimary
			}
			return nil
		}
		_, err := publisher(t, world, Config{}).Settle(t.Context(), east, guard)
		changes := 0
		for _, c := range world.Calls() {
			if c.Action == "ChangeResourceRecordSets" {
				changes++
			}
		}
		if !errors.Is(err, ErrNotPrimary) || asked != 3 || changes != 2 {
			t.Errorf("Settle = %v, guard was asked %d times, %d changes were asked for; want ErrNotPrimary, 3, 2", err, asked, changes)
		}
	})
}

func TestPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := &awstest.World{Route53: awstest.Route53{Sync: time.Hour}}
		begun := time.Now()
		o, err := publisher(t, world, Config{SyncWithin: 40 * time.Second}).Settle(t.Context(), east, nil)
		if took := time.Since(begun); !errors.Is(err, ErrPending) || !o.Changed || o.Change == "" || took != 40*time.Second {
			t.Errorf("Settle = %+v, %v after %v, want ErrPending after 40 s", o, err, took)
		}
	})
	synctest.Test(t, func(t *testing.T) { // throttles while asking pass
		world := &awstest.World{Route53: awstest.Route53{Sync: 10 * time.Second}}
		n := 0
		world.Fate = func(c awstest.Call) awstest.Fate {
			if c.Action == "GetChange" {
				n++
			}
			return code(c.Action == "GetChange" && n < 3, "Throttling")
		}
		if o, err := publisher(t, world, Config{}).Settle(t.Context(), east, nil); err != nil || !o.Changed {
			t.Errorf("Settle = %+v, %v", o, err)
		}
		if asked := n; asked < 4 || asked > 12 {
			t.Errorf("asked %d times in 10 s, want about every 2 s", asked)
		}
	})
}

// A server that says it did and did not is found out.
func TestVerified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := &awstest.World{}
		p := publisher(t, world, Config{Tries: 2})
		world.Before = func(c awstest.Call) {
			if c.Action == "GetChange" {
				world.Route53.Records = nil
			}
		}
		if _, err := p.Settle(t.Context(), east, nil); !errors.Is(err, errUnverified) {
			t.Errorf("Settle = %v, want that it is not so", err)
		}
	})
}

func TestNewFaults(t *testing.T) {
	e, w := members()
	twin := e
	twin.Set = "twin"
	for what, c := range map[string]struct {
		zone, name string
		config     Config
	}{
		"no zone":            {"", name, Config{}},
		"a zone's name":      {"session.internal.", name, Config{}},
		"no name":            {zone, "", Config{}},
		"one label":          {zone, "write", Config{}},
		"a wild card":        {zone, "*.session.internal", Config{}},
		"a long name":        {zone, strings.Repeat("abcdefghi.", 25) + "x", Config{}},
		"half a second":      {zone, name, Config{TTL: 1500 * time.Millisecond}},
		"no tries":           {zone, name, Config{Tries: -1}},
		"waits that shrink":  {zone, name, Config{BackoffMin: time.Minute}},
		"half a pair":        {zone, name, Config{Pair: [2]Member{e}}},
		"one twice":          {zone, name, Config{Pair: [2]Member{e, e}}},
		"one target":         {zone, name, Config{Pair: [2]Member{e, twin}}},
		"one without a name": {zone, name, Config{Pair: [2]Member{e, {Target: w.Target}}}},
	} {
		if _, err := New(nil, c.zone, c.name, c.config); err == nil {
			t.Errorf("%s: New took it", what)
		}
	}
}
