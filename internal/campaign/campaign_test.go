package campaign

import (
	"slices"
	"testing"

	"github.com/roam-sessions/roam/internal/sim"
)

// What a campaign comes to does not depend on how many seeds run at a time.
func TestSummaryIsOfTheSeedsAlone(t *testing.T) {
	one := Campaign{Start: 3, Seeds: 4, Workers: 1}.Run()
	many := Campaign{Start: 3, Seeds: 4, Workers: 4}.Run()
	if one.String() != many.String() || one.Stats != many.Stats || one.Seeds != 4 {
		t.Errorf("one worker: %v %+v\nfour:       %v %+v\nwant the same, of 4 seeds", one, one.Stats, many, many.Stats)
	}
	if other := (Campaign{Start: 4, Seeds: 4}).Run(); other.Trace == one.Trace {
		t.Errorf("seeds from 3 and from 4 have the trace %x, want two", one.Trace)
	}
}

func TestCampaignStops(t *testing.T) {
	stop := make(chan struct{})
	close(stop)
	if sum := (Campaign{Seeds: 1 << 40, Stop: stop, Workers: 2}).Run(); sum.Seeds != block {
		t.Errorf("ran %d seeds after it was stopped, want the %d under way", sum.Seeds, block)
	}
}

// story returns a story of n actions.
func story(n int) sim.Story {
	out := make(sim.Story, n)
	for i := range out {
		out[i].Serial = i + 1
	}
	return out
}

// faulty is a run that breaks I2 when it has the actions 7 and 40, and I3 without
// action 3.
func faulty(seed uint64, o sim.Options) sim.Result {
	r := sim.Result{Seed: seed, Story: slices.DeleteFunc(story(50), func(a sim.Action) bool { return o.Without[a.Serial] })}
	has := func(serial int) bool {
		return slices.ContainsFunc(r.Story, func(a sim.Action) bool { return a.Serial == serial })
	}
	if !has(3) {
		r.Violations = append(r.Violations, sim.Violation{Invariant: "I3"})
	}
	if has(7) && has(40) {
		r.Violations = append(r.Violations, sim.Violation{Invariant: "I2"})
	}
	if o.Words {
		r.Lines = []string{"what happened"}
	}
	return r
}

// The shortest story breaks what the long one did, not something else.
func TestShrinkFindsTheShortestStory(t *testing.T) {
	r := shrink(faulty(9, sim.Options{}), 400, sim.Options{Regions: 4}, faulty)
	var left []int
	for _, a := range r.Story {
		left = append(left, a.Serial)
	}
	if !slices.Equal(left, []int{7, 40}) || !breaks(r, "I2") || len(r.Lines) == 0 || r.Seed != 9 {
		t.Errorf("shortest story of seed %d has actions %v, %v, words %q; want 7 and 40, breaking I2, with words", r.Seed, left, r.Violations, r.Lines)
	}
	tries := 0
	shrink(faulty(9, sim.Options{}), 5, sim.Options{}, func(seed uint64, o sim.Options) sim.Result {
		tries++
		return faulty(seed, o)
	})
	if tries != 6 {
		t.Errorf("%d runs for 5 tries, want one more, for the words", tries)
	}
}
