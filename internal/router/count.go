package router

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/tally"
)

// counters are what a Router counts by itself, for those who tell the control plane: an
// atomic addition an answer, and one or two more a write.
type counters struct {
	answers [tally.Rungs]atomic.Uint64
	writes  [crdt.MaxRegion + 1]struct { // by the Region where they belong
		failed atomic.Uint64
		took   [tally.Buckets]atomic.Uint64
	}
}

// Counts returns what was answered and written since the Router began. What is taken back
// from a side store is nobody's request, and whom the caller left before there was an answer
// says nothing of the Regions: neither is counted.
func (r *Router) Counts() tally.Counts {
	out := tally.Counts{Writes: map[string]tally.Writes{}}
	for i := range out.Answers {
		out.Answers[i] = r.counters.answers[i].Load()
	}
	for id := range r.counters.writes {
		c := &r.counters.writes[id]
		w := tally.Writes{Failed: c.failed.Load()}
		for i := range w.Took {
			w.Took[i] = c.took[i].Load()
		}
		if w != (tally.Writes{}) {
			out.Writes[r.regions[id].Name] = w
		}
	}
	return out
}

// Answered counts an answer that no Region gave: a sealed cookie.
func (r *Router) Answered(rung Rung) { r.counters.answers[rung].Add(1) }

func (r *Router) count(act Act, a Answer, err error, took func() time.Duration) {
	if act == TakeBack || errors.Is(err, context.Canceled) {
		return
	}
	r.counters.answers[a.Rung].Add(1)
	if act == Read {
		return
	}
	// Where one Region takes all writes, whoever took this one was that Region, though
	// another may be by now; where each does, what went to another was not taken here.
	rules := r.rules()
	to, failed := rules.Here, a.Region != rules.Here
	if rules.Primary != 0 {
		to, failed = a.Region, false
	}
	if a.Rung != Normal || to == 0 {
		to, failed = rules.Writers()[0], true
	}
	c := &r.counters.writes[to]
	if failed {
		c.failed.Add(1)
	}
	c.took[tally.Bucket(took())].Add(1)
}
