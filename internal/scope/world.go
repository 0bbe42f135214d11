package scope

import (
	"fmt"

	"github.com/roam-sessions/roam/crdt"
)

// A phase is how far the one disaster is.
type phase uint8

const (
	// followed: each Region's copy has all that its primary has.
	followed phase = iota
	// lagging: the copy of Region 1 hears nothing more; the next, of Region 2.
	lagging
	_
	// failed: the primary of Region 1 is gone; the next, of Region 2.
	failed
	_
	// forgot: a Region dropped its sessions, by a clock that is fast. There is
	// one disaster in a world, this or a failover.
	forgot
)

// A world is all there is at one moment. What is on its way needs no place in it:
// it is any run of the logs that there are.
type world struct {
	cores   calmKey
	copied  coreID // the copy that fell behind, then the primary that is gone
	phase   phase
	done    uint8
	results [maxSteps]resID
}

// mayLose reports whether the failover may have lost the write d: one by the
// primary that is gone.
func (w *world) mayLose(d crdt.Dot) bool {
	return (w.phase == failed || w.phase == failed+1) && d.Actor == crdt.NewActor(regionOf(int(w.phase-failed)), first)
}

// sum returns what w is like, and what p leaves to do. What clients were told is
// no part of it.
func (s *space) sum(w *world, p Program) sum {
	out := sum{mix2, mix0}.add(uint64(w.phase))
	for _, id := range w.cores {
		out = out.addSum(s.states[id].sum)
	}
	if w.copied != noCore {
		out = out.addSum(s.states[w.copied].sum)
	}
	for i, step := range p[w.done:] {
		out = out.add(uint64(i)<<16 | uint64(step.Kind)<<8 | uint64(step.Session))
		if step.Kind == Again && i == 0 { // what is done again is left to do, too
			o := &s.ops[s.res[w.results[w.done-1]].op]
			out = out.add(uint64(o.op.Stamp)).add(o.op.ID)
		}
	}
	return out
}

// An act is one step of the world.
type act struct {
	kind actKind
	at   int8 // index of the Region where it happens
	old  bool // by the primary that is gone
	n    int16
}

type actKind uint8

const (
	begins actKind = iota
	does
	hears
	pulls
	resyncs
	lags
	fails
	forgets
)

// next calls yield with each world that one step leads to.
func (s *space) next(p Program, w *world, yield func(act, world)) {
	if int(w.done) < len(p) {
		for r := range w.cores {
			s.do(p, w, r, yield)
		}
	}
	for r := range w.cores {
		s.hear(w, r, w.cores[1-r], false, yield)
		if w.phase == failed+phase(1-r) { //nolint:gosec // 0 or 1
			s.hear(w, r, w.copied, true, yield)
		}
		switch w.phase {
		case followed:
			to := *w
			to.phase, to.copied = lagging+phase(r), w.cores[r] //nolint:gosec // 0 or 1
			yield(act{kind: lags, at: int8(r)}, to)            //nolint:gosec // 0 or 1
			if to.cores[r] = s.forget(w.cores[r]); to.cores[r] != w.cores[r] {
				to.phase, to.copied = forgot, noCore
				yield(act{kind: forgets, at: int8(r)}, to) //nolint:gosec // 0 or 1
			}
		case lagging + phase(r): //nolint:gosec // 0 or 1
			to := *w
			to.phase, to.copied, to.cores[r] = failed+phase(r), w.cores[r], s.promote(w.copied) //nolint:gosec // 0 or 1
			yield(act{kind: fails, at: int8(r)}, to)                                            //nolint:gosec // 0 or 1
		}
	}
}

// do does the next operation of p in Region r.
func (s *space) do(p Program, w *world, r int, yield func(act, world)) {
	step, id, i := p[w.done], w.cores[r], int(w.done)
	var o opID
	if step.Kind != Again {
		o = s.prepare(step, i, id)
	} else {
		before := s.res[w.results[i-1]]
		o = before.op
		elsewhere := !before.dot.IsZero() && before.dot.Actor != s.states[id].core.Actor()
		if s.ops[o].op.HasAdd() && elsewhere {
			return // it would count twice, so no client does it
		}
	}
	a := s.apply(id, o, i)
	if a.absent {
		return
	}
	to := *w
	to.cores[r], to.results[i] = a.to, a.result
	to.done++
	yield(act{kind: does, at: int8(r), n: int16(i)}, to) //nolint:gosec // small
}

// hear lets Region r have what the core from wrote: a run of its log, a record
// that a gap asks for, all of it where a hole does.
func (s *space) hear(w *world, r int, from coreID, old bool, yield func(act, world)) {
	d := s.deliver(w.cores[r], from)
	to := *w
	move := func(kind actKind, id coreID, n int) {
		if id != w.cores[r] {
			to.cores[r] = id
			yield(act{kind: kind, at: int8(r), old: old, n: int16(n)}, to) //nolint:gosec // small
		}
	}
	for i, id := range d.next {
		move(hears, id, i)
	}
	for i := range records {
		if d.gaps>>i&1 == 1 {
			move(pulls, s.pull(w.cores[r], from, i), i)
		}
	}
	if d.hole && !old && w.phase != forgot { // no state has what was forgotten
		move(resyncs, s.resync(w.cores[r], from), 0)
	}
}

// tell says what a does in w, for a failure.
func (s *space) tell(p Program, w *world, a act) string {
	r := int(a.at)
	from, whose := w.cores[1-r], fmt.Sprintf("Region %d", 2-r)
	if a.old {
		from, whose = w.copied, "the primary that is gone"
	}
	switch a.kind {
	case does:
		return fmt.Sprintf("%v in Region %d", p[a.n], r+1)
	case hears:
		b := s.deliver(w.cores[r], from).by[a.n]
		return fmt.Sprintf("Region %d hears entries %d to %d of %v", r+1, b.First, b.Last().N, b.Actor)
	case pulls:
		return fmt.Sprintf("Region %d pulls %s from %s", r+1, recordName(int(a.n)), whose)
	case resyncs:
		return fmt.Sprintf("Region %d is given all that %s has", r+1, whose)
	case lags:
		return fmt.Sprintf("the copy of Region %d falls behind", r+1)
	case fails:
		return fmt.Sprintf("the primary of Region %d is lost and its copy takes over", r+1)
	case forgets:
		return fmt.Sprintf("Region %d drops its sessions, by a clock that is fast", r+1)
	}
	return "nothing has happened"
}
