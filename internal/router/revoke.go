package router

import (
	"context"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

const (
	// spreadFor is how long a revocation's caller waits for every Region.
	spreadFor = time.Second
	// spreadEvery is how often Regions that lack a revocation are tried again.
	spreadEvery = 250 * time.Millisecond
	// firstLook is the first wait before looking again whether a Region that
	// takes no writes has heard of a revocation; it doubles.
	firstLook = 5 * time.Millisecond
)

// A Revocation says how far an ending has come.
type Revocation struct {
	Have    []crdt.Region // have it, so that no read there shows what it ended
	Waiting []crdt.Region // have not confirmed it; they are told until they do
}

// Revoke makes a write that ends something, w.Op.Destroy or w.Op.Revoke, and
// tells every Region at once instead of leaving that to the log. After an
// error no Region is told, but one that did not answer may have it.
func (r *Router) Revoke(ctx context.Context, w Write) (Answer, Revocation, error) {
	a, err := r.Write(ctx, w)
	if err != nil {
		return a, Revocation{Waiting: r.rules.Near}, err
	}
	ending := EndingOf(w, a.Dot)
	ctx, cancel := context.WithTimeout(ctx, spreadFor)
	defer cancel()
	waiting := r.tell(ctx, ending, a.Region)
	out := Revocation{}
	for _, id := range r.rules.Near {
		if waiting.Has(id) {
			out.Waiting = append(out.Waiting, id)
		} else {
			out.Have = append(out.Have, id)
		}
	}
	r.track(func(p *Revocations) { p.Add(ending, waiting) })
	return a, out, nil
}

// tell tells all Regions of an ending at once, but for the one that took it, and
// returns those that did not confirm.
func (r *Router) tell(ctx context.Context, ending crdt.Record, took crdt.Region) RegionSet {
	var (
		mu      sync.Mutex // guards waiting
		waiting RegionSet
		all     sync.WaitGroup
	)
	for _, id := range r.rules.Near {
		if id == took {
			continue
		}
		all.Go(func() {
			if r.deliver(ctx, ending, id, true) != Settled {
				mu.Lock()
				defer mu.Unlock()
				waiting.add(id)
			}
		})
	}
	all.Wait()
	return waiting
}

// deliver brings an ending to one Region. Where writes are taken, it is adopted
// under that Region's own actor, so that it spreads from there too should this
// Region die. A secondary hears of it from the primary; patient says to look
// until ctx ends.
func (r *Router) deliver(ctx context.Context, ending crdt.Record, id crdt.Region, patient bool) Fate {
	if r.rules.TakesWrites(id) {
		return FateOfEnding(r.guarded(ctx, id, r.rules.Timeout(id), func(ctx context.Context) error {
			_, err := r.regions[id].Engine.Apply(ctx, ending.Key, Adoption(ending))
			return err
		}))
	}
	for look := firstLook; ; look *= 2 {
		res := r.readAt(ctx, Step{Region: id, Timeout: r.rules.Timeout(id)}, Query{Key: ending.Key})
		fate := FateOfLook(res, ending)
		if fate == Settled || !patient || sleep(ctx, look) != nil {
			return fate
		}
	}
}

// spread tells one Region of the revocations that it lacks, until it has them
// all. Each Region has its own goroutine, so that none waits for another.
func (r *Router) spread(ctx context.Context, id crdt.Region) {
	for sleep(ctx, spreadEvery) == nil {
		var waiting []crdt.Record
		r.track(func(p *Revocations) { waiting = p.Waiting(id) })
		for _, ending := range waiting {
			fate := r.deliver(ctx, ending, id, false)
			if fate == Away {
				break // the rest wait as well
			}
			if fate == Settled {
				r.track(func(p *Revocations) { p.Confirm(ending, id) })
			}
		}
		r.track(func(p *Revocations) { p.Expire(r.now()) })
	}
}

// Pending returns how many revocations some Region has not confirmed.
func (r *Router) Pending() (n int) {
	r.track(func(p *Revocations) { n = p.Len() })
	return n
}

// track does something with the revocations that wait. It must not block.
func (r *Router) track(do func(*Revocations)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	do(&r.pending)
}
