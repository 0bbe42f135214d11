package router

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

const (
	// spreadFor is how long a revocation's caller waits for every Region.
	spreadFor = time.Second
	// spreadEvery is how often Regions that lack a revocation are tried again.
	spreadEvery = 250 * time.Millisecond
	// firstLook is the first wait before looking again whether a Region that
	// takes no writes has heard of a revocation; it doubles.
	firstLook = 5 * time.Millisecond
	// maxPending bounds the revocations that are pushed again. One beyond it
	// still travels with the log, and its caller is told who lacks it.
	maxPending = 100_000
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
		return a, Revocation{Waiting: r.rules.near}, err
	}
	e := ending{record: crdt.Record{Key: w.Key, Dead: w.Op.Destroy}}
	if w.Op.Revoke {
		e.record, e.epoch = crdt.EpochRecord(w.Key, a.Dot), a.Dot
	}
	ctx, cancel := context.WithTimeout(ctx, spreadFor)
	defer cancel()
	e.waiting = r.tell(ctx, e, a)
	out := Revocation{}
	for _, id := range r.rules.near {
		if e.waiting.has(id) {
			out.Waiting = append(out.Waiting, id)
		} else {
			out.Have = append(out.Have, id)
		}
	}
	r.pending.add(e)
	return a, out, nil
}

// An ending is a revocation on its way to every Region.
type ending struct {
	record  crdt.Record // what has to be known: a dead session, or an epoch
	epoch   crdt.Dot    // of a user's revocation
	waiting regionSet
}

// shown reports whether a Region whose copy is rec knows of e.
func (e ending) shown(rec crdt.Record) bool {
	if e.record.Dead {
		return rec.Dead
	}
	return rec.Epochs().Has(e.epoch)
}

// tell tells all Regions of e at once and returns those that did not confirm.
func (r *Router) tell(ctx context.Context, e ending, a Answer) regionSet {
	var (
		mu      sync.Mutex // guards waiting
		waiting regionSet
		all     sync.WaitGroup
	)
	for _, id := range r.rules.near {
		if id == a.Region {
			continue
		}
		all.Go(func() {
			if there, _ := r.deliver(ctx, e, id, true); !there {
				mu.Lock()
				defer mu.Unlock()
				waiting.add(id)
			}
		})
	}
	all.Wait()
	return waiting
}

// deliver brings e to one Region and reports whether it is there. Where writes
// are taken, e is adopted under that Region's own actor, so that it spreads
// from there too should this Region die. A secondary hears of it from the
// primary; patient says to look until ctx ends. The error, if any, says why e
// could not be told.
func (r *Router) deliver(ctx context.Context, e ending, id crdt.Region, patient bool) (there bool, err error) {
	if r.rules.primary == 0 || r.rules.primary == id {
		err := r.guarded(ctx, id, r.rules.timeout(id), func(ctx context.Context) error {
			_, err := r.regions[id].Engine.Apply(ctx, e.record.Key, crdt.Op{Adopt: &e.record})
			return err
		})
		if errors.Is(err, crdt.ErrExpired) {
			return true, nil // nobody there shows it any more
		}
		return err == nil, err
	}
	for look := firstLook; ; look *= 2 {
		res := r.readAt(ctx, Step{Region: id, Timeout: r.rules.timeout(id)}, Query{Key: e.record.Key})
		if res.Err == nil && e.shown(res.Record) {
			return true, nil
		}
		if !patient || sleep(ctx, look) != nil {
			return false, res.Err
		}
	}
}

// spread tells one Region of the revocations that it lacks, until it has them
// all. Each Region has its own goroutine, so that none waits for another.
func (r *Router) spread(ctx context.Context, id crdt.Region) {
	for sleep(ctx, spreadEvery) == nil {
		for _, e := range r.pending.waitingFor(id) {
			there, err := r.deliver(ctx, e, id, false)
			if err != nil && !ofRecord(err) {
				break // the Region is out of reach; the rest wait as well
			}
			if there {
				r.pending.confirm(e, id)
			}
		}
		r.pending.expire(r.now())
	}
}

// ofRecord reports whether err, of an operation that adopts a record, is about
// that record alone: others may go through.
func ofRecord(err error) bool {
	return engine.IsRefusal(err) || errors.Is(err, engine.ErrFull) || errors.Is(err, engine.ErrCorrupt)
}

// revocations are the endings that some Region has not confirmed, in order.
type revocations struct {
	mu   sync.Mutex // guards list
	list []ending
}

func newRevocations() *revocations { return &revocations{} }

func (p *revocations) add(e ending) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.waiting != 0 && len(p.list) < maxPending {
		p.list = append(p.list, e)
	}
}

func (p *revocations) waitingFor(id crdt.Region) []ending {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []ending
	for _, e := range p.list {
		if e.waiting.has(id) {
			out = append(out, e)
		}
	}
	return out
}

func (p *revocations) confirm(e ending, id crdt.Region) {
	p.keep(func(x *ending) bool {
		if x.record.Key == e.record.Key && x.epoch == e.epoch {
			x.waiting &^= 1 << id
		}
		return x.waiting != 0
	})
}

// expire drops endings of sessions that are past their deadline everywhere.
func (p *revocations) expire(now crdt.Time) {
	p.keep(func(x *ending) bool {
		until, ok := x.record.KeepUntil()
		return !ok || now < until
	})
}

func (p *revocations) keep(ok func(*ending) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.list[:0]
	for i := range p.list {
		if ok(&p.list[i]) {
			kept = append(kept, p.list[i])
		}
	}
	clear(p.list[len(kept):])
	p.list = kept
}

func (p *revocations) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.list)
}

// Pending returns how many revocations some Region has not confirmed.
func (r *Router) Pending() int { return r.pending.len() }
