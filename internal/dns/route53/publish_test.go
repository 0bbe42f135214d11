package route53

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/internal/awstest"
	"github.com/roam-sessions/roam/internal/dns"
)

// keeper is what a node has a publisher do, whatever publisher it is.
type keeper interface {
	Publish(ctx context.Context, w dns.Publication) error
	Keep(ctx context.Context, latest func() (dns.Publication, bool), changed <-chan struct{})
	Stats() dns.PublisherStats
}

var (
	_ keeper = (*Publisher)(nil)
	_ keeper = (*dns.Publisher)(nil)
)

const is7 = isEast + "\n" + `TXT 10 "roam1" "7" "` + east + `."`

func marks(epoch, target string) awstest.RecordSet {
	return mark(`"roam1" "` + epoch + `" "` + target + `."`)
}

// As at a server of RFC 2136: see internal/dns.
func TestPublish(t *testing.T) {
	slow := set("CNAME " + east)
	slow.TTL = 300
	for _, c := range []struct {
		name    string
		has     []awstest.RecordSet
		err     error
		batches int
	}{
		{"nothing is there", nil, nil, 1},
		{"it is so", []awstest.RecordSet{set("CNAME " + east), marks("7", east)}, nil, 0},
		{"an older epoch", []awstest.RecordSet{set("CNAME " + west), marks("6", west)}, nil, 1},
		{"an older epoch, the same target", []awstest.RecordSet{set("CNAME " + east), marks("6", east)}, nil, 1},
		{"somebody moved it", []awstest.RecordSet{set("CNAME " + west), marks("7", east)}, nil, 1},
		{"somebody deleted it", []awstest.RecordSet{marks("7", east)}, nil, 1},
		{"another TTL", []awstest.RecordSet{slow, marks("7", east)}, nil, 1},
		{"it was made by hand", []awstest.RecordSet{set("CNAME " + west)}, nil, 1},
		{"a newer epoch", []awstest.RecordSet{set("CNAME " + west), marks("8", west)}, dns.ErrStale, 0},
		{"a newer epoch, and the name moved", []awstest.RecordSet{set("CNAME " + east), marks("8", west)}, dns.ErrStale, 0},
		{"a newer epoch, the same target", []awstest.RecordSet{set("CNAME " + east), marks("8", east)}, dns.ErrStale, 0},
		{"another target in this epoch", []awstest.RecordSet{set("CNAME " + west), marks("7", west)}, dns.ErrStale, 0},
		{"an address", []awstest.RecordSet{set("A 10.0.0.1")}, dns.ErrOccupied, 0},
		{"a text beside it", []awstest.RecordSet{mark(`"v=spf1 -all"`)}, dns.ErrOccupied, 0},
		{"an alias beside it", []awstest.RecordSet{{Name: "_roam." + name + ".", Type: "CNAME", TTL: 10, Values: []string{"x.example"}}}, dns.ErrOccupied, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				world := &awstest.World{Route53: awstest.Route53{Records: append(foreign(), c.has...), Sync: 20 * time.Second}}
				before, _ := lines(world)
				p := publisher(t, world, Config{})
				err := p.Publish(t.Context(), dns.Publication{Epoch: 7, Target: "Master" + east[len("master"):]})
				want := is7
				if c.err != nil {
					want = before
				}
				for _, call := range world.Calls() {
					if !awstest.Permits([]byte(p.Policy("aws")), call) || call.Region != "us-east-1" {
						t.Errorf("%+v is outside of %s, or of the Region that Route 53 is in", call, p.Policy("aws"))
					}
				}
				if got, others := lines(world); !errors.Is(err, c.err) || got != want || others != len(foreign()) || len(world.Route53.Batches) != c.batches {
					t.Errorf("Publish = %v with %d batches; there is\n%s\nwant %v, %d\n%s", err, len(world.Route53.Batches), got, c.err, c.batches, want)
				}
			})
		})
	}
}

// A batch that comes late finds another mark than it was made for, and does nothing.
func TestLateBatch(t *testing.T) {
	for what, has := range map[string][]awstest.RecordSet{
		"a mark":  {set("CNAME " + west), marks("6", west)},
		"no mark": {set("CNAME " + west)},
		"nothing": nil,
	} {
		synctest.Test(t, func(t *testing.T) {
			world := &awstest.World{Route53: awstest.Route53{Records: has}}
			old, newer := publisher(t, world, Config{Tries: 1}), publisher(t, world, Config{})
			once := true
			world.Fate = func(c awstest.Call) awstest.Fate {
				if c.Action == "ChangeResourceRecordSets" && once { // meanwhile another member publishes what is newer
					once = false
					world.Route53.Records = []awstest.RecordSet{set("CNAME " + west), marks("8", west)}
				}
				return awstest.Fate{}
			}
			if err := old.Publish(t.Context(), dns.Publication{Epoch: 7, Target: east}); !errors.Is(err, errChanged) {
				t.Errorf("%s: the late Publish = %v, want that somebody changed it", what, err)
			}
			if err := newer.Publish(t.Context(), dns.Publication{Epoch: 8, Target: west}); err != nil || len(world.Route53.Batches) != 0 {
				t.Errorf("%s: Publish of what is there = %v, %d batches", what, err, len(world.Route53.Batches))
			}
		})
	}
}

func TestPublishPair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, w := members()
		world := &awstest.World{Route53: awstest.Route53{Records: []awstest.RecordSet{set("CNAME " + east), marks("6", east)}}}
		p := publisher(t, world, Config{Pair: [2]Member{e, w}})
		if err := p.Publish(t.Context(), dns.Publication{Epoch: 7, Target: west}); err != nil {
			t.Fatal(err)
		}
		want := "CNAME 10 " + east + " us-east-1 SECONDARY hc-east\nCNAME 10 " + west + " us-west-2 PRIMARY hc-west\n" + `TXT 10 "roam1" "7" "` + west + `."`
		if got, _ := lines(world); got != want || len(world.Route53.Batches) != 1 {
			t.Errorf("after Publish there is\n%s\nwant\n%s", got, want)
		}
		if err := p.Publish(t.Context(), dns.Publication{Epoch: 8, Target: north}); !errors.Is(err, errNoTarget) {
			t.Errorf("Publish of a third = %v", err)
		}
	})
}

func TestPublishRemembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := &awstest.World{}
		p := publisher(t, world, Config{})
		if err := p.Publish(t.Context(), dns.Publication{Epoch: 7, Target: east}); err != nil {
			t.Fatal(err)
		}
		world.Route53.Records = nil // as when an old zone is put back
		if err := p.Publish(t.Context(), dns.Publication{Epoch: 6, Target: west}); !errors.Is(err, dns.ErrStale) || len(world.Route53.Records) > 0 {
			t.Errorf("Publish of an older epoch = %v, there is %v", err, world.Route53.Records)
		}
		if err := p.Publish(t.Context(), dns.Publication{Epoch: 8}); !errors.Is(err, errNoTarget) {
			t.Errorf("Publish of nothing = %v", err)
		}
		if s := p.Stats(); s.Published != 1 || s.Stale != 1 || s.Failed != 1 {
			t.Errorf("Stats = %+v", s)
		}
	})
}

func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := &awstest.World{}
		var w dns.Publication
		down := true
		world.Fate = func(awstest.Call) awstest.Fate { return awstest.Fate{Lost: down} }
		p := publisher(t, world, Config{})
		latest := func() (out dns.Publication, ok bool) {
			world.Lock(func() { out = w })
			return out, out.Epoch > 0
		}
		changed := make(chan struct{}, 1)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); p.Keep(ctx, latest, changed) }()
		step := func(d time.Duration, want, what string, change func()) {
			t.Helper()
			world.Lock(change)
			time.Sleep(d)
			synctest.Wait()
			world.Lock(func() {
				got := ""
				for _, r := range world.Route53.Records {
					if r.Type == "CNAME" {
						got = r.Values[0]
					}
				}
				if got != want {
					t.Errorf("%s: the name leads to %q, want %q", what, got, want)
				}
			})
		}
		news := func() { changed <- struct{}{} }
		step(time.Hour, "", "nothing is known", func() {})
		step(300*time.Millisecond, "", "Route 53 is away", func() { w = dns.Publication{Epoch: 7, Target: east}; news() })
		step(time.Second, west, "it is back, and there is news", func() { w, down = dns.Publication{Epoch: 8, Target: west}, false; news() })
		step(time.Minute+time.Second, west, "a minute after the zone lost it", func() { world.Route53.Records = nil })
		cancel()
		<-done
	})
}

func TestPublishEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := &awstest.World{Fate: func(awstest.Call) awstest.Fate { return awstest.Fate{Lost: true} }}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		begun := time.Now()
		err := publisher(t, world, Config{BackoffMin: time.Minute, BackoffMax: time.Minute}).Publish(ctx, dns.Publication{Epoch: 7, Target: east})
		if err == nil || time.Since(begun) != 2*time.Second {
			t.Errorf("Publish = %v after %v", err, time.Since(begun))
		}
	})
}

func TestPolicyDenies(t *testing.T) {
	p := publisher(t, &awstest.World{}, Config{})
	call := func(names, types string) awstest.Call {
		return awstest.Call{
			Service: "route53", Action: "ChangeResourceRecordSets", Resource: "arn:aws:route53:::hostedzone/" + zone,
			Names: strings.Split(names, ","), Types: strings.Split(types, ","), Actions: []string{"UPSERT", "CREATE"},
		}
	}
	if !awstest.Permits([]byte(p.Policy("aws")), call(name+",_roam."+name, "CNAME,TXT")) {
		t.Error("the policy denies what it is for")
	}
	elsewhere := call(name, "CNAME")
	elsewhere.Resource += "X"
	for what, c := range map[string]awstest.Call{
		"another name": call(name+",read.session.internal", "CNAME"), "an address": call(name, "A"), "another zone": elsewhere,
		"to delete the zone": {Service: "route53", Action: "DeleteHostedZone", Resource: "arn:aws:route53:::hostedzone/" + zone},
	} {
		if awstest.Permits([]byte(p.Policy("aws")), c) {
			t.Errorf("the policy permits %s", what)
		}
	}
}
