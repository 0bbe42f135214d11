package route53

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/internal/dns"
	"pgregory.net/rapid"
)

const east, west, north = "master.session-use1.abc.use1.cache.amazonaws.com", "master.session-usw2.abc.usw2.cache.amazonaws.com", "north.example"

func members() (e, w Member) {
	return Member{"us-east-1", east, "hc-east"}, Member{"us-west-2", west, "hc-west"}
}

// text writes a batch as one reads it.
func (c Change) String() string {
	r := c.Record
	short := strings.NewReplacer(east, "east", west, "west").Replace(r.Target)
	if r.Set == "" {
		return fmt.Sprintf("%s %s/%d", c.Action, short, r.TTL)
	}
	return fmt.Sprintf("%s %s %s=%s/%d %s", c.Action, r.Role, r.Set, short, r.TTL, r.Health)
}

func TestPlan(t *testing.T) {
	e, w := members()
	other := w
	other.Health = "hc-new"
	moved := w
	moved.Set = "west"
	for _, c := range []struct {
		name     string
		is, want []Record
		batch    []string
	}{
		{"nothing is there", nil, Simple(east, 10), []string{"UPSERT east/10"}},
		{"it is so", Simple(east, 10), Simple(east, 10), nil},
		{"in other letters, with a dot", Simple(strings.ToUpper(east)+".", 10), Simple(east, 10), nil},
		{"another target", Simple(west, 10), Simple(east, 10), []string{"UPSERT east/10"}},
		{"another TTL", Simple(east, 300), Simple(east, 10), []string{"UPSERT east/10"}},
		{"no pair is there", nil, Pair(e, w, 10), []string{"UPSERT PRIMARY us-east-1=east/10 hc-east", "UPSERT SECONDARY us-west-2=west/10 hc-west"}},
		{"the pair is so", Pair(e, w, 10), Pair(e, w, 10), nil},
		{"in another order", []Record{Pair(e, w, 10)[1], Pair(e, w, 10)[0]}, Pair(e, w, 10), nil},
		{"another health check", Pair(e, w, 10), Pair(e, other, 10), []string{"UPSERT SECONDARY us-west-2=west/10 hc-new"}},
		{"half a pair", Pair(e, w, 10)[:1], Pair(e, w, 10), []string{"UPSERT SECONDARY us-west-2=west/10 hc-west"}},
		{"simple to pair", Simple(west, 300), Pair(e, w, 10), []string{"DELETE west/300", "CREATE PRIMARY us-east-1=east/10 hc-east", "CREATE SECONDARY us-west-2=west/10 hc-west"}},
		{"pair to simple", Pair(e, w, 10), Simple(west, 10), []string{"DELETE PRIMARY us-east-1=east/10 hc-east", "DELETE SECONDARY us-west-2=west/10 hc-west", "CREATE west/10"}},
		{"roles change", Pair(e, w, 10), Pair(w, e, 10), []string{
			"DELETE PRIMARY us-east-1=east/10 hc-east", "DELETE SECONDARY us-west-2=west/10 hc-west",
			"CREATE PRIMARY us-west-2=west/10 hc-west", "CREATE SECONDARY us-east-1=east/10 hc-east",
		}},
		{"another name of a set", Pair(e, w, 10), Pair(e, moved, 10), []string{
			"DELETE PRIMARY us-east-1=east/10 hc-east", "DELETE SECONDARY us-west-2=west/10 hc-west",
			"CREATE PRIMARY us-east-1=east/10 hc-east", "CREATE SECONDARY west=west/10 hc-west",
		}},
	} {
		var got []string
		for _, change := range Plan(c.is, c.want) {
			got = append(got, change.String())
		}
		if !slices.Equal(got, c.batch) {
			t.Errorf("%s: Plan =\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(c.batch, "\n"))
		}
	}
}

// carry does a batch as Route 53 would, and says what it would refuse.
func carry(is []Record, changes []Change) ([]Record, error) {
	out := slices.Clone(is)
	for _, c := range changes {
		at := slices.IndexFunc(out, func(r Record) bool { return r.Set == c.Record.Set })
		switch {
		case c.Action == Delete && (at < 0 || out[at] != c.Record):
			return nil, fmt.Errorf("%v: it is not there", c)
		case c.Action == Create && at >= 0:
			return nil, fmt.Errorf("%v: it is there", c)
		case c.Action == Delete:
			out = slices.Delete(out, at, at+1)
		case at >= 0:
			out[at] = c.Record
		default:
			out = append(out, c.Record)
		}
		for i, a := range out {
			for _, b := range out[:i] {
				if (a.Set == "") != (b.Set == "") || a.Role == b.Role {
					return nil, fmt.Errorf("after %v: %v beside %v", c, a, b)
				}
			}
		}
	}
	return out, nil
}

// Whatever there is: the batch is taken, at every step of it no two forms stand side by side,
// and after it nothing is left to do.
func TestPlanArrives(t *testing.T) {
	draw := func(t *rapid.T, label string) []Record {
		targets := rapid.SampledFrom([]string{east, west, north})
		ttl := rapid.SampledFrom([]int64{10, 300})
		sets := rapid.Permutation([]string{"a", "b", "c"}).Draw(t, label+" sets")
		health := rapid.SampledFrom([]string{"", "hc1", "hc2"})
		member := func(i int) Member {
			return Member{sets[i], targets.Draw(t, label+" target"), health.Draw(t, label+" health")}
		}
		switch rapid.IntRange(0, 3).Draw(t, label+" form") {
		case 0:
			return nil
		case 1:
			return Simple(targets.Draw(t, label), ttl.Draw(t, label+" ttl"))
		case 2:
			return Pair(member(0), member(1), ttl.Draw(t, label+" ttl"))[rapid.IntRange(0, 1).Draw(t, label+" half"):]
		}
		return Pair(member(0), member(1), ttl.Draw(t, label+" ttl"))
	}
	rapid.Check(t, func(t *rapid.T) {
		is, want := draw(t, "is"), draw(t, "want")
		if len(want) == 0 || len(want) == 1 && want[0].Set != "" {
			return // nobody wants that
		}
		got, err := carry(is, Plan(is, want))
		if err != nil || len(Plan(got, want)) > 0 || len(got) != len(want) {
			t.Fatalf("from %v to %v by %v: %v, %v", is, want, Plan(is, want), got, err)
		}
	})
}

func TestMark(t *testing.T) {
	w := dns.Publication{Epoch: 1<<64 - 1, Target: "east.example."}
	if got, err := ParseMark(markText(w)); err != nil || got != w {
		t.Errorf("ParseMark(%q) = %v, %v", markText(w), got, err)
	}
	for _, text := range []string{
		"", `""`, `"roam1"`, `"roam1" "7"`, `"roam2" "7" "east.example."`, `"roam1" "07" "east.example."`,
		`"roam1" "-7" "east.example."`, `"roam1" "18446744073709551616" "east.example."`, `"roam1" "7" "east.example"`,
		`"roam1" "7" "East.example."`, `"roam1" "7" ""`, `"roam1"  "7" "east.example."`, `roam1 7 east.example.`, `"v=spf1 -all"`,
		`"roam1" "7" "east.\052.example."`,
	} {
		if got, err := ParseMark(text); !errors.Is(err, dns.ErrOccupied) {
			t.Errorf("ParseMark(%s) = %v, %v, want ErrOccupied", text, got, err)
		}
	}
}

func FuzzParseMark(f *testing.F) {
	f.Add(`"roam1" "7" "east.example."`)
	f.Add(`"roam1" "0" "a."`)
	f.Add(`"roam1" "7`)
	f.Fuzz(func(t *testing.T, text string) {
		w, err := ParseMark(text)
		if err == nil && markText(w) != text {
			t.Errorf("ParseMark(%q) = %v, which is written %q", text, w, markText(w))
		}
		if err != nil && !errors.Is(err, dns.ErrOccupied) {
			t.Errorf("ParseMark(%q) = %v", text, err)
		}
	})
}
