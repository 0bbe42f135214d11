package replica

import "github.com/roam-sessions/roam/engine"

// A refiller is an engine that can say of itself that it lacks what it once had,
// so that nobody takes what is missing there for a session that does not exist
// (R12).
type refiller interface{ SetRefilling(refilling bool) }

// beginRefill tells a blank engine, before there is a link, that it is one. It is
// so until every peer that is configured has given its state: what one that can't
// be reached has, nobody knows.
func (r *Replica) beginRefill() {
	var can bool
	r.refiller, can = engine.As[refiller](r.eng)
	for _, in := range r.in {
		r.refilling = r.refilling || can && in.want != 0
	}
	if r.refilling {
		r.refiller.SetRefilling(true)
	}
}

// refilled reports, once and under mu, that the engine has been given all that
// it had lost.
func (r *Replica) refilled() bool {
	if !r.refilling {
		return false
	}
	for _, in := range r.in {
		if in.want != 0 {
			return false
		}
	}
	r.refilling = false
	return true
}
