package controlsim

import (
	"time"

	"github.com/roam-sessions/roam/internal/ledger"
)

// idle is for how long nobody may have taken a write in the end. A clock that runs 16 % off
// another one looks as if it had stepped when a few of its answers were late; that ends an
// epoch, and the next one begins in less.
const idle = 10 * time.Second

// settled checks what has to be so once all has been well for a while.
func (o *oracle) settled() {
	w, s := o.world, o.world.log.state
	holder := w.holder()
	if ago := w.now - o.last; ago > idle {
		w.violation("liveness", "nobody has taken a write for %v: epoch %d of %s, newest %d, %+v", ago, s.Lease.Epoch, s.Lease.Holder, s.Newest, s.Handover)
	}
	if h := s.Handover; h.Pending() || h.Step == ledger.Repointing {
		w.violation("liveness", "the switchover to %s is %s", h.To, h.Step)
	}
	for _, r := range s.Receipts {
		if r.Closed.IsZero() {
			w.violation("liveness", "the receipt of epoch %d, from %s to %s, is open", r.Epoch, r.From, r.To)
		}
	}
	for _, other := range w.servers {
		if other != holder && (other.primary || other.follows != holder.id || !other.linked) {
			w.violation("liveness", "server %s does not follow %s: primary %v, follows %s, linked %v",
				nameOf(other.id), nameOf(holder.id), other.primary, nameOf(other.follows), other.linked)
		}
	}
	o.nothingLost(holder)
}

// nothingLost checks that all acknowledged writes are at the primary, but for those that
// were on a disk that was lost, of which a receipt says that it is not sure.
func (o *oracle) nothingLost(holder *server) {
	w := o.world
	lacks := o.acked.without(holder.data)
	w.out.Stats.Lost += lacks.len()
	unsure := false
	for _, r := range w.log.state.Receipts {
		unsure = unsure || r.Counts[ledger.Unknown] > 0
	}
	if unsure {
		lacks = lacks.without(o.burnt)
	}
	if all := lacks.all(); len(all) > 0 {
		first := o.writes[all[0]]
		w.violation("I12", "%d acknowledged writes are gone and no receipt says so, the first one, %d, of epoch %d of %s",
			len(all), all[0], first.epoch, nameOf(first.server))
	}
}
