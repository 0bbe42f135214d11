package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/journal"
	"github.com/roam-sessions/roam/internal/router"
)

// An app is the shell around the router of one Region: the application's
// servers there, as one, with the Region's journal.
type app struct {
	w    *world
	site *site
	dice *rand.Rand
	skew time.Duration // of the servers' clock
	up   bool
	life int // counts restarts; what was under way ends with one

	// rules and what follows is what router.Router has of its own.
	rules   *router.Rules
	engines [crdt.MaxRegion + 1]router.Breaker
	sides   [crdt.MaxRegion + 1]router.Breaker
	notes   [crdt.MaxRegion + 1]router.Breaker // of other Regions' journals
	retries router.RetryBudget
	hedges  router.RetryBudget
	drainer drainer
	journal *journal.Core // outlives a restart: it is on a disk
}

// mostEndings bounds the journal as production does.
const mostEndings = 100_000

func newApp(w *world, s *site, d drawn) *app {
	a := &app{w: w, site: s, up: true, dice: rand.New(rand.NewPCG(w.seed, 300+uint64(s.region)))}
	if a.dice.IntN(2) == 0 {
		a.skew = time.Duration(a.dice.Int64N(2*int64(mostSkew))) - mostSkew
	}
	near := []crdt.Region{s.region}
	for _, i := range a.dice.Perm(d.regions) {
		if r := crdt.Region(i + 1); r != s.region { //nolint:gosec // a handful
			near = append(near, r)
		}
	}
	rules, err := router.NewRules(near, s.side != nil, router.Config{Primary: d.primary})
	if err != nil {
		// A broken invariant: what is drawn here makes sense.
		panic(err)
	}
	a.rules = &rules
	a.openJournal(nil)
	return a
}

// openJournal opens the journal with what its file says. Each opening is another
// actor.
func (a *app) openJournal(known []crdt.Record) {
	a.journal = journal.NewCore(crdt.NewActor(a.site.region, a.dice.Uint32()), mostEndings)
	for _, ending := range known {
		a.journal.Restore(a.now(), ending)
	}
}

// start begins what the router does in the background.
func (a *app) start() {
	life := a.life
	for _, id := range a.rules.Near {
		a.spread(id, life)
	}
	if a.site.side != nil {
		a.drain(life)
	}
}

// restart takes the Region's app down for a while. What it had in memory is gone.
func (a *app) restart(long time.Duration) {
	if !a.up {
		return
	}
	a.up = false
	a.life++
	var none [crdt.MaxRegion + 1]router.Breaker
	a.engines, a.sides, a.notes = none, none, none
	a.retries, a.hedges, a.drainer = router.RetryBudget{}, router.RetryBudget{}, drainer{}
	a.w.queue.after(long, func() {
		a.up = true
		a.openJournal(a.journal.All())
		a.start()
	})
}

// serving has f run only while the app is what it is now.
func (a *app) serving(f func()) func() {
	life := a.life
	return func() {
		if a.up && a.life == life {
			f()
		}
	}
}

func (a *app) now() crdt.Time { return a.w.queue.now.add(a.skew).crdt() }

func (a *app) steady() time.Time { return time.UnixMicro(int64(a.w.queue.now)) }

// A fetch is one read under way.
type fetch struct {
	app     *app
	query   router.Query
	plan    router.ReadPlan
	done    func(router.Answer, error)
	life    int
	left    bool           // another Region was asked
	ended   []router.Event // of reads, not yet told to the plan
	waiting bool
	waits   int // counts, so that an old timer is known
	over    bool
}

// read reads as router.Router.Read does.
func (a *app) read(q router.Query, done func(router.Answer, error)) {
	hints := a.rules.Hints(links{a.site}, a.dice.Float64())
	if known := a.journal.Known(q.Key); !known.IsBottom() {
		hints.Known = known
	}
	f := &fetch{app: a, query: q, plan: router.NewReadPlan(a.rules, q, hints), done: done, life: a.life}
	f.step(router.Event{})
}

// step does what the plan says until it waits or is done.
func (f *fetch) step(e router.Event) {
	a := f.app
	for a.life == f.life && !f.over {
		s := f.plan.Next(a.now(), e)
		e = router.Event{}
		if s.Do == router.ReadAt && !f.left && s.Region != a.rules.Here {
			f.left = true
			a.hedges.Deposit()
		}
		switch {
		case s.Do == router.ReadAt && s.Alone:
			a.readAt(s, f.query, func(res router.Result) { f.step(router.Event{Region: s.Region, Result: res}) })
			return
		case s.Do == router.ReadAt:
			e = f.start(s)
		case s.Do == router.Wait && len(f.ended) > 0:
			e, f.ended = f.ended[0], f.ended[1:]
		case s.Do == router.Wait:
			f.wait(s.For)
			return
		default:
			f.over = true
			s.Answer.Token = a.prune(s.Answer.Token)
			f.done(s.Answer, s.Err)
		}
	}
}

// start starts a read beside others. One that costs nothing ends at once.
func (f *fetch) start(s router.Step) router.Event {
	a := f.app
	refused := func(err error) router.Event {
		return router.Event{Region: s.Region, Result: router.Result{Record: crdt.Record{Key: f.query.Key}, Err: err}}
	}
	switch {
	case !a.engines[s.Region].Would(a.steady()) && !a.notes[s.Region].Would(a.steady()):
		return refused(router.ErrOpen)
	case s.Hedge && !a.hedges.Withdraw():
		return refused(router.ErrNoRetry)
	}
	a.readAt(s, f.query, func(res router.Result) {
		e := router.Event{Region: s.Region, Result: res}
		if !f.waiting {
			f.ended = append(f.ended, e)
			return
		}
		f.waiting = false
		f.step(e)
	})
	return router.Event{}
}

func (f *fetch) wait(d time.Duration) {
	f.waiting = true
	f.waits++
	this := f.waits
	f.app.w.queue.after(d, func() {
		if f.waiting && f.waits == this {
			f.waiting = false
			f.step(router.Event{})
		}
	})
}

// readAt reads what a Region's engine has, joined with what its side store and,
// of another Region, its journal have. An engine that hung has used up its time
// and not that of the others.
func (a *app) readAt(s router.Step, q router.Query, done func(router.Result)) {
	g := a.w.sites[s.Region]
	var res, side, known router.Result
	left := 1
	each := func() {
		if left--; left > 0 {
			return
		}
		if g.side != nil {
			res = router.WithSide(res, side)
		}
		if g.app != a {
			res = router.WithJournal(res, known)
		}
		done(res)
	}
	if g.side != nil {
		left++
		a.ask(&a.sides[s.Region], g, g.side, s.Timeout, func(server *server) (err error) {
			side.Record, err = server.read(q.Key)
			return err
		}, func(err error) {
			side = router.FromEngine(q.Key, side.Record, err)
			each()
		})
	}
	if g.app != a {
		left++
		a.askJournal(g, s.Timeout, func(other *app) error {
			known.Record = other.journal.Known(q.Key)
			return nil
		}, func(err error) {
			known.Err = err
			each()
		})
	}
	a.readEngine(s, q.Key, func(r router.Result) {
		res = r
		each()
	})
}

func (a *app) readEngine(s router.Step, k crdt.Key, done func(router.Result)) {
	var rec crdt.Record
	a.guarded(s.Region, s.Timeout, func(server *server) (err error) {
		rec, err = server.read(k)
		return err
	}, func(err error) { done(router.FromEngine(k, rec, err)) })
}

// mint fixes what all tries of a write carry.
func (a *app) mint(w router.Write) router.Write {
	if w.Op.Stamp == 0 {
		w.Op.Stamp = crdt.Mint(a.now(), w.Base, w.Seen)
	}
	if w.Op.HasAdd() && w.Op.ID == 0 {
		w.Op.ID = a.dice.Uint64() | 1
	}
	return w
}

// write writes as router.Router.Write does.
func (a *app) write(w router.Write, done func(router.Answer, error)) {
	plan := router.NewWritePlan(a.rules, w)
	a.retries.Deposit()
	life := a.life
	var next func(router.Result)
	next = func(last router.Result) {
		if a.life != life {
			return
		}
		switch s := plan.Next(a.now(), last, a.dice.Float64()); s.Do {
		case router.ApplyAt:
			a.applyAt(s, w, next)
		case router.ApplySide:
			a.applySide(s, w, next)
		case router.Wait:
			a.w.queue.after(s.For, func() { next(router.Result{}) })
		default:
			s.Answer.Token = a.prune(w.Seen.With(s.Answer.Dot))
			done(s.Answer, s.Err)
		}
	}
	next(router.Result{})
}

func (a *app) applyAt(s router.Step, w router.Write, done func(router.Result)) {
	if s.Retry && !a.retries.Withdraw() {
		done(router.Result{Err: router.ErrNoRetry})
		return
	}
	op := w.Op
	if s.Adopt {
		op.Adopt = &w.Base
	}
	var res router.Result
	a.guarded(s.Region, s.Timeout, func(server *server) (err error) {
		res.Dot, err = server.apply(w.Key, op)
		return err
	}, func(err error) {
		if res.Err = err; err != nil {
			res.Dot = crdt.Dot{}
		}
		done(res)
	})
}

// applySide writes to the Region's own store, which is given the record first.
func (a *app) applySide(s router.Step, w router.Write, done func(router.Result)) {
	var res router.Result
	a.ask(nil, a.site, a.site.side, max(s.Timeout, time.Millisecond), func(server *server) (err error) {
		if !w.Base.IsBottom() {
			server.do(func(c *memory.Core, now crdt.Time) { c.Join(now, w.Base) })
		}
		res.Dot, err = server.apply(w.Key, w.Op)
		return err
	}, func(err error) {
		res.Err = err
		done(res)
	})
}

// guarded asks a Region's engine if its breaker is closed.
func (a *app) guarded(id crdt.Region, timeout time.Duration, do func(*server) error, done func(error)) {
	g := a.w.sites[id]
	a.ask(&a.engines[id], g, g.server, timeout, do, done)
}

// ask has a server in another Region, or here, do something within timeout, if
// the breaker, if there is one, is closed. What comes too late is done all the
// same.
func (a *app) ask(b *router.Breaker, g *site, s *server, timeout time.Duration, do func(*server) error, done func(error)) {
	came, refused := false, false // a request that was refused was never sent
	a.call(b, g, timeout, func(answer func(error)) {
		first := !came
		came = true
		switch {
		case refused:
		case !s.up && s.refuses && first:
			refused = true
			answer(errRefused)
		case !s.up:
		case a.w.queue.now >= s.busy:
			answer(do(s))
		default:
			life := s.life
			a.w.queue.at(s.busy, func() { // a server that hangs goes on later
				if s.up && s.life == life {
					answer(do(s))
				}
			})
		}
	}, done)
}

// askJournal has the journal of another Region do something.
func (a *app) askJournal(g *site, timeout time.Duration, do func(*app) error, done func(error)) {
	a.call(&a.notes[g.region], g, timeout, func(answer func(error)) {
		if g.app.up {
			answer(do(g.app))
		}
	}, done)
}

// call carries a call to a Region and its answer back.
func (a *app) call(b *router.Breaker, g *site, timeout time.Duration, arrive func(answer func(error)), done func(error)) {
	if b != nil && !b.Allow(a.steady()) {
		done(router.ErrOpen)
		return
	}
	life, over := a.life, false
	finish := func(err error) {
		if over || a.life != life {
			return
		}
		over = true
		if b != nil {
			b.Learn(a.steady(), err, false)
		}
		done(err)
	}
	a.w.queue.after(timeout, func() { finish(errTimeout) })
	a.w.net.call(a.site.region, g.region, func() {
		arrive(func(err error) {
			a.w.net.call(g.region, a.site.region, func() { finish(err) })
		})
	})
}

// links is router.Links of a site.
type links struct{ *site }

// Heard, Lag and Everywhere are for router.Links.
func (l links) Heard(r crdt.Region) (time.Duration, bool) { return l.heard(r) }

// Lag returns how late writes of a Region get here.
func (l links) Lag(r crdt.Region) time.Duration { return l.lag(r) }

// Everywhere reports whether every Region is known to have a write.
func (l links) Everywhere(d crdt.Dot) bool { return l.stable(d) }

// prune leaves out of a token what every Region has.
func (a *app) prune(t crdt.Token) crdt.Token { return t.Prune(a.site.stable) }

var (
	errTimeout  = fmt.Errorf("%w: no answer in time", engine.ErrUnavailable)
	errRefused  = fmt.Errorf("%w: connection refused", engine.ErrUnreachable)
	errSilence  = errors.New("silence")
	errFailover = errors.New("an engine failed over")
)
