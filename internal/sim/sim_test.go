package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"
)

var (
	seedsFlag = flag.Uint64("seeds", 16, "run so many seeds")
	update    = flag.Bool("update", false, "rewrite testdata/traces.json from this code")
)

// TestSeeds runs a few seeds, for the race detector and for whoever changes a
// rule; make sim runs thousands.
func TestSeeds(t *testing.T) {
	var sum Stats
	for seed := uint64(1); seed <= *seedsFlag; seed++ {
		r := Run(seed, Options{})
		for _, v := range r.Violations {
			t.Errorf("seed %d: %v\nmake sim SEED=%d tells its story", seed, v, seed)
		}
		sum = sum.Plus(r.Stats)
	}
	t.Logf("seeds 1 to %d: %+v", *seedsFlag, sum)
	// Runs that never went the hard ways show nothing.
	for name, n := range map[string]int{
		"endings": sum.Endings, "failovers": sum.Failovers, "lost writes": sum.Lost, "sealed writes": sum.Sealed,
		"resyncs": sum.Resyncs, "holes": sum.Holes, "repaired records": sum.Repaired, "errors": sum.Errors,
		"fresh reads": sum.FreshReads, "flagged reads": sum.Flagged, "logins": sum.Logins,
	} {
		if n == 0 {
			t.Errorf("no %s in %d seeds, want some", name, *seedsFlag)
		}
	}
}

// The same seed is the same run, event for event, twice and on every machine:
// these traces were recorded on another one.
func TestSameSeedSameTrace(t *testing.T) {
	const file, seeds = "testdata/traces.json", 4
	got := map[string]string{}
	for seed := uint64(1); seed <= seeds; seed++ {
		for _, regions := range []int{0, 5} {
			o := Options{Regions: regions}
			first, again := Run(seed, o), Run(seed, Options{Regions: regions, Words: true})
			if first.Trace != again.Trace || first.Events != again.Events {
				t.Errorf("seed %d: traces %x and %x of %d and %d events, want the same", seed, first.Trace, again.Trace, first.Events, again.Events)
			}
			got[fmt.Sprintf("seed %d, %d Regions", seed, regions)] = fmt.Sprintf("%016x", first.Trace)
		}
	}
	if *update {
		b, err := json.MarshalIndent(got, "", "\t")
		if err == nil {
			err = os.WriteFile(file, append(b, '\n'), 0o644) //nolint:gosec // a test file
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]string
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	for name, trace := range got {
		if want[name] != trace {
			t.Errorf("%s: trace %s, want %s; if a rule has changed, go test ./internal/sim -run SameTrace -update", name, trace, want[name])
		}
	}
}

// Another seed is another run, and dropping an action changes one.
func TestTraceTellsRunsApart(t *testing.T) {
	r := Run(1, Options{})
	if other := Run(2, Options{}); other.Trace == r.Trace {
		t.Errorf("seeds 1 and 2 have the trace %x", r.Trace)
	}
	without := map[int]bool{r.Story[0].Serial: true}
	if other := Run(1, Options{Without: without}); other.Trace == r.Trace || len(other.Story) != len(r.Story)-1 {
		t.Errorf("without its first action the story has %d actions and trace %x, want one fewer than %d and another trace",
			len(other.Story), other.Trace, len(r.Story))
	}
}

// Events run in the order of their times, those of one time in the order in which
// they were asked for, also when they are asked for by events.
func TestQueueKeepsOrder(t *testing.T) {
	q, got := &queue{most: 10}, ""
	say := func(s string) func() { return func() { got += s } }
	q.at(30, say("e"))
	q.at(10, say("a"))
	q.at(20, func() {
		got += "c"
		q.at(5, say("d")) // past: at once, after what waits for now
	})
	q.at(10, say("b"))
	q.at(40, say("f"))
	q.until(30)
	if got != "abcde" || q.now != 30 || q.run != 5 {
		t.Errorf("ran %q until %d, %d events; want abcde, 30, 5", got, q.now, q.run)
	}
}
