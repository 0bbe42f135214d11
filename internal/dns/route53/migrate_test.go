package route53

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/internal/awstest"
	"github.com/roam-sessions/roam/internal/dns"
)

// pairOf are the failover records of a primary and a secondary as Route 53 lists them.
func pairOf(first, second Member) []awstest.RecordSet {
	return []awstest.RecordSet{
		set("CNAME " + first.Target + " " + first.Set + " PRIMARY " + first.Health),
		set("CNAME " + second.Target + " " + second.Set + " SECONDARY " + second.Health),
	}
}

// A live name passes from one form to the other and back in one batch, and leads where it did;
// its mark stays.
func TestMigrate(t *testing.T) {
	e, w := members()
	isPair := "CNAME 10 " + east + " us-east-1 SECONDARY hc-east\nCNAME 10 " + west + " us-west-2 PRIMARY hc-west"
	isMark := "\n" + `TXT 10 "roam1" "7" "` + west + `."`
	for _, c := range []struct {
		name    string
		has     []awstest.RecordSet
		pair    bool
		toward  string
		want    string
		changes []string
	}{
		{
			"to failover, kept by nodes",
			[]awstest.RecordSet{set("CNAME " + west), marks("7", west)},
			true, "", isPair + isMark,
			[]string{"DELETE west/10", "CREATE PRIMARY us-west-2=west/10 hc-west", "CREATE SECONDARY us-east-1=east/10 hc-east"},
		},
		{
			"to record, kept by nodes", append(pairOf(w, e), marks("7", west)), false, "", "CNAME 10 " + west + isMark,
			[]string{"DELETE SECONDARY us-east-1=east/10 hc-east", "DELETE PRIMARY us-west-2=west/10 hc-west", "CREATE west/10"},
		},
		{
			"to failover, made by hand",
			[]awstest.RecordSet{set("CNAME " + west)},
			true, "", isPair,
			[]string{"DELETE west/10", "CREATE PRIMARY us-west-2=west/10 hc-west", "CREATE SECONDARY us-east-1=east/10 hc-east"},
		},
		{
			"to record, the primary is said", pairOf(e, w), false, west, "CNAME 10 " + west,
			[]string{"DELETE PRIMARY us-east-1=east/10 hc-east", "DELETE SECONDARY us-west-2=west/10 hc-west", "CREATE west/10"},
		},
		{"it is so", []awstest.RecordSet{set("CNAME " + west), marks("7", west)}, false, "", "CNAME 10 " + west + isMark, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				world := &awstest.World{Route53: awstest.Route53{Records: append(foreign(), c.has...), Sync: 20 * time.Second}}
				config := Config{}
				if c.pair {
					config.Pair = [2]Member{e, w}
				}
				p := publisher(t, world, config)
				m, err := p.Migration(t.Context(), []string{east, west}, c.toward)
				if err != nil {
					t.Fatal(err)
				}
				var changes []string
				for _, change := range m.Changes {
					changes = append(changes, change.String())
				}
				if !slices.Equal(changes, c.changes) || len(world.Route53.Batches) != 0 {
					t.Errorf("the batch is %q, want %q; %d were sent by looking", changes, c.changes, len(world.Route53.Batches))
				}
				migrate(t, world, p, m, c.want)
			})
		})
	}
}

// migrate carries a Migration out and wants what comes of it.
func migrate(t *testing.T, world *awstest.World, p *Publisher, m Migration, want string) {
	t.Helper()
	var polled []string
	begun := time.Now()
	o, err := p.Migrate(t.Context(), m, func(change string) { polled = append(polled, change) })
	batches := min(1, len(m.Changes))
	got, others := lines(world)
	if err != nil || got != want || others != len(foreign()) || len(world.Route53.Batches) != batches || o.Changed != (batches == 1) {
		t.Errorf("Migrate = %+v, %v; there is\n%s\nwant\n%s", o, err, got, want)
	}
	if batches == 1 && (time.Since(begun) < 20*time.Second || len(polled) < 5 || polled[0] != o.Change) {
		t.Errorf("it took %v, and told %q: want that it waits for all servers, and tells so", time.Since(begun), polled)
	}
	for _, call := range world.Calls() {
		if !awstest.Permits([]byte(p.Policy("aws")), call) {
			t.Errorf("%+v is outside of the policy", call)
		}
	}
}

func TestMigrationRefuses(t *testing.T) {
	e, w := members()
	for _, c := range []struct {
		name   string
		has    []awstest.RecordSet
		toward string
	}{
		{"a name that leads to no Region", []awstest.RecordSet{set("CNAME elsewhere.example")}, ""},
		{"an address", []awstest.RecordSet{set("A 10.0.0.1")}, ""},
		{"a mark of somebody else", []awstest.RecordSet{set("CNAME " + west), mark(`"v=spf1 -all"`)}, ""},
		{"two records and nobody says which", pairOf(e, w), ""},
		{"another primary than the mark says", append(pairOf(e, w), marks("7", west)), east},
		{"a name that is not there", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				world := &awstest.World{Route53: awstest.Route53{Records: c.has}}
				if m, err := publisher(t, world, Config{}).Migration(t.Context(), []string{east, west}, c.toward); !errors.Is(err, dns.ErrOccupied) {
					t.Errorf("Migration = %+v, %v, want ErrOccupied", m, err)
				}
			})
		})
	}
}

// What was shown is what is done: a failover between the look and the batch stops it.
func TestMigrateIsWhatWasShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, w := members()
		world := &awstest.World{Route53: awstest.Route53{Records: []awstest.RecordSet{set("CNAME " + west), marks("7", west)}}}
		p := publisher(t, world, Config{Pair: [2]Member{e, w}})
		m, err := p.Migration(t.Context(), []string{east, west}, "")
		if err != nil {
			t.Fatal(err)
		}
		world.Route53.Records = []awstest.RecordSet{set("CNAME " + east), marks("8", east)}
		before, _ := lines(world)
		if _, err = p.Migrate(t.Context(), m, nil); !errors.Is(err, dns.ErrStale) {
			t.Errorf("after a failover Migrate = %v, want ErrStale", err)
		}
		slow := set("CNAME " + west)
		slow.TTL = 60
		world.Route53.Records = []awstest.RecordSet{slow, marks("7", west)}
		if _, err = p.Migrate(t.Context(), m, nil); !errors.Is(err, errOther) {
			t.Errorf("after somebody changed the TTL Migrate = %v, want that one looks again", err)
		}
		if got, _ := lines(world); got == before || len(world.Route53.Batches) != 0 {
			t.Errorf("%d batches were sent", len(world.Route53.Batches))
		}
	})
}

// An answer that is lost is looked for, and nothing is done twice.
func TestMigrateLosesAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, w := members()
		world := &awstest.World{Route53: awstest.Route53{Records: []awstest.RecordSet{set("CNAME " + west), marks("7", west)}, Sync: 10 * time.Second}}
		n := 0
		world.Fate = func(c awstest.Call) awstest.Fate {
			if c.Action == "ChangeResourceRecordSets" {
				n++
			}
			return awstest.Fate{Unheard: c.Action == "ChangeResourceRecordSets" && n == 1}
		}
		p := publisher(t, world, Config{Pair: [2]Member{e, w}})
		m, err := p.Migration(t.Context(), []string{east, west}, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Migrate(t.Context(), m, nil); err != nil {
			t.Errorf("Migrate = %v", err)
		}
		if got, _ := lines(world); got == "" || len(world.Route53.Records) != 3 {
			t.Errorf("there is\n%s", got)
		}
	})
}
