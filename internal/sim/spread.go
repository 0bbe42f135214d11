package sim

import (
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/router"
)

// What the router does in the background and around a revocation, as the shell
// has it in revoke.go and drain.go of package router.

const (
	spreadFor   = time.Second
	spreadEvery = time.Second
	drainEvery  = 500 * time.Millisecond
	lookEvery   = 50 * time.Millisecond
)

// An outcome is how far an ending has come.
type outcome struct {
	answer router.Answer
	have   router.RegionSet // so that no read there shows what it ended
	err    error
}

// revoke makes a write that ends something and tells every Region. Where no
// engine takes it, the journals do.
func (a *app) revoke(w router.Write, done func(outcome)) {
	a.write(a.mint(w), func(ans router.Answer, err error) {
		if err == nil {
			a.tellAll(router.EndingOf(w, ans.Dot), ans, done)
			return
		}
		if engine.IsRefusal(err) {
			done(outcome{answer: ans, err: err})
			return
		}
		a.end(w, func(dot crdt.Dot, noted error) {
			if noted != nil {
				done(outcome{answer: ans, err: err})
				return
			}
			ans = router.Answer{Region: a.rules.Here, Rung: router.LocalOnly, Dot: dot, Token: w.Seen}
			a.tellJournals(router.EndingOf(w, dot), ans, 0, done)
		})
	})
}

// end makes an ending in this Region's journal.
func (a *app) end(w router.Write, done func(crdt.Dot, error)) {
	if w.Op.Destroy {
		done(crdt.Dot{}, a.journal.Add(a.now(), crdt.Record{Key: w.Key, Dead: true}))
		return
	}
	here := router.Step{Region: a.rules.Here, Timeout: a.rules.LocalTimeout}
	a.readEngine(here, w.Key, func(look router.Result) {
		dot := a.journal.Mint(a.now(), w.Key, w.Base.Epochs().Join(look.Record.Epochs()))
		done(dot, a.journal.Add(a.now(), crdt.EpochRecord(w.Key, dot)))
	})
}

// tellAll tells all engines of an ending that one has taken, and the journals of
// those that did not confirm it.
func (a *app) tellAll(ending crdt.Record, took router.Answer, done func(outcome)) {
	engines := router.SetOf(took.Region)
	if took.Rung != router.Normal {
		engines = 0 // its side store has it
	}
	patience := a.w.queue.now.add(spreadFor - a.rules.RemoteTimeout)
	a.each(router.SetOf(a.rules.Near...)&^router.SetOf(took.Region), spreadFor-a.rules.RemoteTimeout,
		func(id crdt.Region, told func(bool)) {
			a.deliver(ending, id, patience, func(f router.Fate) { told(f == router.Settled) })
		},
		func(told router.RegionSet) { a.tellJournals(ending, took, engines|told, done) })
}

// tellJournals tells the journals of all Regions whose engines don't have an
// ending, this one's among them.
func (a *app) tellJournals(ending crdt.Record, took router.Answer, engines router.RegionSet, done func(outcome)) {
	all := router.SetOf(a.rules.Near...)
	shown := engines | router.SetOf(took.Region)
	if engines != all && a.journal.Add(a.now(), ending) == nil {
		shown |= router.SetOf(a.rules.Here)
	}
	a.each(all&^engines&^router.SetOf(a.rules.Here), a.rules.RemoteTimeout,
		func(id crdt.Region, told func(bool)) {
			a.hand(ending, id, func(err error) { told(err == nil) })
		},
		func(told router.RegionSet) {
			for _, id := range a.rules.Near {
				if engines.Has(id) {
					a.journal.Confirm(ending, id)
				}
				if told.Has(id) {
					a.journal.Tell(ending, id)
				}
			}
			done(outcome{answer: took, have: shown | told})
		})
}

// hand gives an ending to the journal of another Region.
func (a *app) hand(ending crdt.Record, id crdt.Region, done func(error)) {
	a.askJournal(a.w.sites[id], a.rules.Timeout(id), func(other *app) error {
		return other.journal.Add(other.now(), ending)
	}, done)
}

// each does something for all Regions of a set at once, and goes on with those
// for which it was true by the end of a time.
func (a *app) each(set router.RegionSet, within time.Duration, do func(crdt.Region, func(bool)), done func(router.RegionSet)) {
	var told router.RegionSet
	left, over := set.Len(), false
	finish := a.serving(func() {
		if !over {
			over = true
			done(told)
		}
	})
	if left == 0 {
		finish()
		return
	}
	a.w.queue.after(within, finish)
	for _, id := range a.rules.Near {
		if !set.Has(id) {
			continue
		}
		do(id, func(ok bool) {
			if ok {
				told |= router.SetOf(id)
			}
			if left--; left == 0 {
				finish()
			}
		})
	}
}

// deliver brings an ending to the engine of one Region. A secondary hears of it
// from the primary: it is looked at until a moment.
func (a *app) deliver(ending crdt.Record, id crdt.Region, until instant, done func(router.Fate)) {
	if a.rules.TakesWrites(id) {
		a.adopt(ending, id, done)
		return
	}
	a.look(ending, id, func(fate router.Fate) {
		if fate == router.Settled || a.w.queue.now >= until {
			done(fate)
			return
		}
		a.w.queue.after(lookEvery, a.serving(func() { a.deliver(ending, id, until, done) }))
	})
}

func (a *app) adopt(ending crdt.Record, id crdt.Region, done func(router.Fate)) {
	a.guarded(id, a.rules.Timeout(id), func(s *server) error {
		_, err := s.apply(ending.Key, router.Adoption(ending))
		return err
	}, func(err error) { done(router.FateOfEnding(err)) })
}

func (a *app) look(ending crdt.Record, id crdt.Region, done func(router.Fate)) {
	a.readEngine(router.Step{Region: id, Timeout: a.rules.Timeout(id)}, ending.Key, func(res router.Result) {
		done(router.FateOfLook(res, ending))
	})
}

// redeliver brings an ending to an engine that may have got it meanwhile.
func (a *app) redeliver(ending crdt.Record, id crdt.Region, done func(router.Fate)) {
	if ending.Dead && a.rules.TakesWrites(id) {
		a.adopt(ending, id, done)
		return
	}
	a.look(ending, id, func(fate router.Fate) {
		switch {
		case fate != router.Stuck:
			done(fate)
		case a.rules.TakesWrites(id):
			a.adopt(ending, id, done)
		default: // what it waits for may be lost where it was taken
			a.redeliver(ending, a.rules.Primary, func(router.Fate) { done(router.Stuck) })
		}
	})
}

// spread tells one Region of the endings that it lacks, until its engine has
// them all.
func (a *app) spread(id crdt.Region, life int) {
	again := a.serving(func() {
		a.journal.Sweep(a.now(), a.rules.Near)
		a.w.queue.after(a.w.slow(spreadEvery), func() { a.spread(id, life) })
	})
	if a.life != life {
		return
	}
	a.tellNext(a.journal.Waiting(id, 0, atOnce), func(ending crdt.Record, fate func(router.Fate)) {
		a.redeliver(ending, id, func(f router.Fate) {
			if f == router.Settled {
				a.journal.Confirm(ending, id)
			}
			fate(f)
		})
	}, func() {
		if id == a.rules.Here {
			again()
			return
		}
		a.tellNext(a.journal.Untold(id, 0, atOnce), func(ending crdt.Record, fate func(router.Fate)) {
			a.hand(ending, id, func(err error) {
				if err != nil {
					fate(router.Away)
					return
				}
				a.journal.Tell(ending, id)
				fate(router.Settled)
			})
		}, again)
	})
}

// atOnce is how many endings are taken from the journal at once.
const atOnce = 256

// tellNext does something with all endings, until a Region is away.
func (a *app) tellNext(endings []crdt.Record, do func(crdt.Record, func(router.Fate)), done func()) {
	if len(endings) == 0 {
		done()
		return
	}
	do(endings[0], func(f router.Fate) {
		if f == router.Away {
			done()
			return
		}
		a.tellNext(endings[1:], do, done)
	})
}

// A drainer is the side store being taken back.
type drainer struct {
	done  engine.Positions
	stuck []crdt.Key
}

// drain takes back what the side store's log names, again and again.
func (a *app) drain(life int) {
	if a.life != life {
		return
	}
	a.again(a.drainer.stuck, func() {
		a.drainNext(0, func() {
			a.w.queue.after(a.w.slow(drainEvery), func() { a.drain(life) })
		})
	})
}

// again offers once more what is stuck and not held yet.
func (a *app) again(stuck []crdt.Key, done func()) {
	if len(stuck) == 0 {
		done()
		return
	}
	k := stuck[0]
	next := func(f router.Fate) {
		if f == router.Away {
			done()
			return
		}
		if f == router.Settled {
			a.drainer.stuck = without(a.drainer.stuck, k)
		}
		a.again(stuck[1:], done)
	}
	if !a.site.side.up {
		done()
		return
	}
	a.held(a.site.side.core.Read(a.site.side.now(), k), a.rules.Near, 0, func(held bool) {
		if held {
			a.w.trace.tell("side store of Region %d may forget session %d: it is held", a.site.region, a.w.oracle.numberOf(k))
			next(router.Settled)
			return
		}
		a.takeBack(k, a.rules.Writers(), router.Away, next)
	})
}

// held reports whether enough Regions' engines are seen to have a record.
func (a *app) held(rec crdt.Record, near []crdt.Region, holders int, done func(bool)) {
	switch {
	case rec.IsBottom() || holders >= a.rules.Holders():
		done(true)
	case len(near) == 0:
		done(false)
	default:
		a.readEngine(router.Step{Region: near[0], Timeout: a.rules.Timeout(near[0])}, rec.Key, func(res router.Result) {
			if res.Err == nil && router.Holds(res.Record, rec) {
				holders++
			}
			a.held(rec, near[1:], holders, done)
		})
	}
}

func without(keys []crdt.Key, k crdt.Key) []crdt.Key {
	var out []crdt.Key
	for _, other := range keys {
		if other != k {
			out = append(out, other)
		}
	}
	return out
}

// drainNext takes back the next entry of a partition, and those of the ones that
// follow; and all records of one whose log no longer had what came before.
func (a *app) drainNext(part uint16, done func()) {
	for ; part < crdt.Partitions; part++ {
		side := a.site.side
		if !side.up {
			break
		}
		b, _ := side.core.Log(part, a.drainer.done[part], 1, 1<<20)
		if len(b.Frags) == 0 {
			continue
		}
		keys := []crdt.Key{b.Frags[0].Effect.Key}
		if router.Missed(a.drainer.done[part], b) {
			for _, rec := range side.core.Scan(side.now(), part) {
				keys = append(keys, rec.Key)
			}
		}
		a.drainAll(keys, func(through bool) {
			if !through {
				done()
				return
			}
			a.drainer.done[part] = b.Last()
			if len(a.drainer.stuck) == 0 {
				side.core.Release(part, b.Last())
			}
			a.drainNext(part, done)
		})
		return
	}
	done()
}

// drainAll takes back some records, until the writers are away.
func (a *app) drainAll(keys []crdt.Key, done func(through bool)) {
	if len(keys) == 0 {
		done(true)
		return
	}
	k := keys[0]
	a.takeBack(k, a.rules.Writers(), router.Away, func(f router.Fate) {
		if f == router.Away {
			done(false)
			return
		}
		if f == router.Stuck {
			a.drainer.stuck = append(without(a.drainer.stuck, k), k)
		}
		a.drainAll(keys[1:], done)
	})
}

// takeBack brings the side store's copy of one record to the first of the
// writers that takes it.
func (a *app) takeBack(k crdt.Key, writers []crdt.Region, fate router.Fate, done func(router.Fate)) {
	side := a.site.side
	if k.IsZero() {
		done(router.Settled)
		return
	}
	if !side.up {
		done(router.Away)
		return
	}
	rec := side.core.Read(side.now(), k)
	if rec.IsBottom() {
		done(router.Settled)
		return
	}
	if len(writers) == 0 {
		done(fate)
		return
	}
	a.guarded(writers[0], a.rules.Timeout(writers[0]), func(s *server) error {
		_, err := s.apply(k, router.Adoption(rec))
		return err
	}, func(err error) {
		a.w.trace.tell("side store of Region %d offers Region %d session %d: %v", a.site.region, writers[0], a.w.oracle.numberOf(k), err)
		switch router.FateOfReturn(err) {
		case router.Settled:
			if err == nil { // until it is held
				done(router.Stuck)
				return
			}
			done(router.Settled)
		case router.Stuck:
			a.takeBack(k, writers[1:], router.Stuck, done)
		default:
			a.takeBack(k, writers[1:], fate, done)
		}
	})
}
