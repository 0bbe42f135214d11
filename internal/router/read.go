package router

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/pause"
)

// Read returns what is known of q.Key, as good as q.Class asks. The error is
// nil unless the answer's rung is Refused, and then wraps ErrUnavailable,
// ErrStale or ErrDoubtful. A record that is bottom without an error is known to
// be nowhere, unless the answer is Doubtful.
//
// Path read 2/4: from roam.Manager; next engine.Engine.Read.
func (r *Router) Read(ctx context.Context, q Query) (Answer, error) {
	start := r.config.Clock()
	rules := r.rules()
	hints := rules.Hints(r.config.Links, r.config.Random())
	hints.Known, _ = r.journal.Known(q.Key)
	plan := NewReadPlan(rules, q, hints)
	var beside *fetches // made when a read has to run beside another
	left := false
	var event Event
	for now := crdt.TimeOf(start); ; now = r.now() {
		step := plan.Next(now, event)
		if step.Do == ReadAt && !left && step.Region != rules.Here {
			left = true
			r.hedges.deposit()
		}
		switch {
		case step.Do == ReadAt && step.Alone:
			event = Event{step.Region, r.readAt(ctx, step, q)}
		case step.Do == ReadAt:
			if beside == nil {
				beside = newFetches(len(rules.Near))
				defer beside.end()
			}
			event = r.startRead(ctx, beside, step, q)
		case step.Do == Wait:
			event = beside.wait(ctx, step.For)
		default:
			step.Answer.Left = left
			step.Answer.Token = r.prune(step.Answer.Token)
			r.observe(Read, q.Key, step.Answer, step.Err, start)
			return step.Answer, step.Err
		}
		if ctx.Err() != nil {
			return r.gaveUp(q, start, left, ctx.Err())
		}
	}
}

// gaveUp answers a read whose caller's time is over.
func (r *Router) gaveUp(q Query, start time.Time, left bool, err error) (Answer, error) {
	a := Answer{
		Record: crdt.Record{Key: q.Key}, Token: q.Seen, Region: r.rules().Here,
		Rung: Refused, Left: left, Doubtful: true,
	}
	err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	r.observe(Read, q.Key, a, err, start)
	return a, err
}

// Fetches are the reads of one Read that run beside each other.
type fetches struct {
	ended   chan Event // has room for every Region, so that nobody waits to tell
	cancels []context.CancelFunc
	running sync.WaitGroup
}

func newFetches(regions int) *fetches { return &fetches{ended: make(chan Event, regions)} }

// startRead starts one of them. One that costs nothing ends at once.
func (r *Router) startRead(ctx context.Context, f *fetches, s Step, q Query) Event {
	refused := func(err error) Event { return Event{s.Region, Result{Record: crdt.Record{Key: q.Key}, Err: err}} }
	switch {
	case !r.wouldAsk(s.Region):
		return refused(ErrOpen)
	case s.Hedge && !r.hedges.withdraw():
		return refused(ErrNoRetry)
	}
	ctx, cancel := context.WithCancel(ctx)
	f.cancels = append(f.cancels, cancel)
	f.running.Go(func() { f.ended <- Event{s.Region, r.readAt(ctx, s, q)} })
	return Event{}
}

// wouldAsk reports whether some part of a Region would be asked.
func (r *Router) wouldAsk(id crdt.Region) bool {
	now, g := r.config.Clock(), r.regions[id]
	return r.guards[id].would(now) || g.Side != nil && r.sides[id].would(now) || g.Journal != nil && r.journals[id].would(now)
}

// wait waits for the next read to end, or for d to pass, or for ctx to end. Nil
// fetches are none.
func (f *fetches) wait(ctx context.Context, d time.Duration) Event {
	var ended chan Event
	if f != nil {
		ended = f.ended
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case e := <-ended:
		return e
	case <-t.C:
	case <-ctx.Done():
	}
	return Event{}
}

// end cancels what still runs and returns when it has ended.
func (f *fetches) end() {
	for _, cancel := range f.cancels {
		cancel()
	}
	f.running.Wait()
}

// readAt reads what a Region's engine has, joined with what its side store and
// its journal have. Some of it is better than nothing, but then it's no full
// answer. What the journal here has is in the plan from the beginning.
func (r *Router) readAt(ctx context.Context, s Step, q Query) Result {
	g := r.regions[s.Region]
	if s.Region == r.rules().Here {
		res := r.readEngine(ctx, s, q)
		if g.Side == nil {
			return res
		}
		// An engine that hung has used up its time and not the side store's.
		return WithSide(res, readFrom(ctx, g.Side, s, q))
	}
	var side, known Result
	var all sync.WaitGroup // one round trip is enough for all
	if g.Side != nil {
		all.Go(func() { side = r.readBehind(ctx, r.sides[s.Region], g.Side, s, q) })
	}
	if g.Journal != nil {
		all.Go(func() { known = r.readBehind(ctx, r.journals[s.Region], g.Journal, s, q) })
	}
	res := r.readEngine(ctx, s, q)
	all.Wait()
	if g.Side != nil {
		res = WithSide(res, side)
	}
	if g.Journal != nil {
		res = WithJournal(res, known)
	}
	return res
}

func (r *Router) readEngine(ctx context.Context, s Step, q Query) Result {
	return r.readBehind(ctx, r.guards[s.Region], r.regions[s.Region].Engine, s, q)
}

// A reader is what all parts of a Region have in common.
type reader interface {
	Read(ctx context.Context, k crdt.Key, seen crdt.Token) (crdt.Record, error)
}

func (r *Router) readBehind(ctx context.Context, g *guard, part reader, s Step, q Query) Result {
	var rec crdt.Record
	err := r.behind(ctx, g, s.Timeout, func(ctx context.Context) (err error) {
		rec, err = part.Read(ctx, q.Key, q.Seen)
		return err
	})
	return FromEngine(q.Key, rec, err)
}

func readFrom(ctx context.Context, part reader, s Step, q Query) Result {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	rec, err := part.Read(ctx, q.Key, q.Seen)
	return FromEngine(q.Key, rec, err)
}

// prune leaves out of a token what every Region has.
func (r *Router) prune(t crdt.Token) crdt.Token {
	if r.config.Links == nil || t.Len() == 0 {
		return t
	}
	return t.Prune(r.config.Links.Everywhere)
}

func sleep(ctx context.Context, d time.Duration) error {
	if !pause.For(ctx, d) {
		return ctx.Err()
	}
	return nil
}
