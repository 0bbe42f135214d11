package judge_test

import (
	"fmt"
	"testing"

	"github.com/roam-sessions/roam/internal/judge"
)

// Who judges from now on, and knows nothing of before, goes by what the lease says of it.
func TestLeftBeforeItJudged(t *testing.T) {
	lease := func(epoch uint64, from, to string) judge.Lease {
		return judge.Lease{Epoch: epoch, Holder: to, From: from, Unplanned: true}
	}
	for name, c := range map[string]struct {
		leases []judge.Lease
		left   string
	}{
		"a new state":            {[]judge.Lease{lease(2, "west", "east")}, "[west]"},
		"one that missed two":    {[]judge.Lease{{Epoch: 1, Holder: "west"}, lease(3, "east", "west")}, "[east]"},
		"one that missed others": {[]judge.Lease{{Epoch: 1, Holder: "west"}, lease(3, "north", "east")}, "[north]"},
		"its own again":          {[]judge.Lease{lease(2, "west", "west")}, "[]"},
		"a first one":            {[]judge.Lease{lease(1, "", "west")}, "[]"},
	} {
		w := newWorld("west east north", "rome")
		court := newCourt(t, w)
		for _, w.lease = range c.leases {
			w.lease.Since = w.now
			court.run(1)
		}
		if got := fmt.Sprint(court.state.Left); got != c.left {
			t.Errorf("%s: left %s, want %s", name, got, c.left)
		}
	}
}
