package replica

import (
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// heard tells how old is what has been heard of an origin.
//
// The origin answers a heartbeat of ours, sent at Echo by our own clock, after it
// has read its head. So once the engine here holds up to that head it holds all
// that the origin had written by Echo: a bound in which no other clock has a
// part.
type heard struct {
	local  crdt.Time // by the clock here
	remote crdt.Time // by the origin's
	// waiting is at most the oldest heartbeat that is not covered yet, which is
	// bound to be, and the newest. Keeping the newest alone would wait for ever
	// under steady writes.
	waiting []Heartbeat
}

func (h *heard) beat(f Heartbeat, at *engine.Positions) {
	if f.Partial {
		return
	}
	if len(h.waiting) > 0 && !coversAll(&f.At, &h.waiting[0].At) {
		h.waiting = nil // a failover took that head back: it may never be covered
	}
	if len(h.waiting) == 2 {
		h.waiting = h.waiting[:1]
	}
	h.waiting = append(h.waiting, f)
	h.advance(at)
}

func (h *heard) advance(at *engine.Positions) {
	for len(h.waiting) > 0 && coversAll(at, &h.waiting[0].At) {
		h.local = max(h.local, h.waiting[0].Echo)
		h.remote = max(h.remote, h.waiting[0].Time)
		h.waiting = h.waiting[1:]
	}
}

func coversAll(at, head *engine.Positions) bool {
	for p := range at {
		if !covers(at[p], head[p]) {
			return false
		}
	}
	return true
}

// beat takes in the origin's heartbeat and answers it.
func (r *Receiver) beat(now crdt.Time, f Heartbeat) {
	r.heard.beat(f, &r.at)
	if f.Echo == r.said.Time {
		r.shorter(&f.At)
	}
	if !f.Partial && len(r.heard.waiting) == 0 {
		r.want = 0 // all that was asked for has come
	}
	r.said = Heartbeat{Time: now, Echo: f.Time, At: r.at}
	r.send(r.said)
}

// shorter looks for entries that are held here and that the origin's log, read
// after it had heard so, no longer has: a failover took them back, and maybe
// nobody has written since.
func (r *Receiver) shorter(head *engine.Positions) {
	var lost uint64
	for p, at := range r.said.At {
		if at.Actor != 0 && at.Actor == head[p].Actor && at.N > head[p].N {
			lost |= 1 << p
		}
	}
	if lost&^r.lost != 0 {
		r.counts.Successions++
	}
	r.lost = lost
}

// HeardAt returns the last moment by the clock here, of which it is known that
// the engine here holds all that the origin had written by then; zero if none is.
func (r *Receiver) HeardAt() crdt.Time { return r.heard.local }

// HeardOrigin returns the same by the origin's clock: for measuring lag where
// the clocks agree, not for deciding what may be shown.
func (r *Receiver) HeardOrigin() crdt.Time { return r.heard.remote }
