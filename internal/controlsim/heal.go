package controlsim

import (
	"time"

	"github.com/roam-sessions/roam/internal/ledger"
)

func (w *world) set(from, to int, cut bool) {
	if from != to && w.cut[from][to] != cut {
		w.cut[from][to] = cut
		w.say("cut %s -> %s: %v", nameOf(from), nameOf(to), cut)
	}
}

// isolate cuts a member off.
func (w *world) isolate(id int) {
	for _, o := range w.members {
		w.set(id, o.id, true)
		w.set(o.id, id, true)
	}
}

// cleave cuts those of a half off from the others.
func (w *world) cleave(half int) {
	for i := range w.members {
		for j := range w.members {
			if half>>i&1 != half>>j&1 {
				w.set(i, j, true)
			}
		}
	}
}

// mend heals all links.
func (w *world) mend() {
	for _, m := range w.members {
		for _, o := range w.members {
			w.set(m.id, o.id, false)
		}
	}
}

// heal makes all well.
func (w *world) heal() {
	w.say("all is well from now on")
	w.mend()
	w.story.forced = nil
	for _, m := range w.members {
		m.deaf, m.slow = 0, 0
		m.start()
	}
	for _, s := range w.servers {
		s.paused = min(s.paused, w.now)
		s.start()
	}
	w.replace()
}

// replace has an operator name another Region where the server that is waited for has lost
// its disk: it does not come back by itself.
func (w *world) replace() {
	w.after(time.Second, func() {
		if w.now > eventful+w.patience() {
			return
		}
		w.replace()
		s := w.log.state
		gone := func(region string) bool { i := w.region(region); return i >= 0 && w.servers[i].gone }
		if s.Lease.Deposed && !gone(s.Lease.Wish) || !s.Lease.Deposed && !gone(s.Lease.Holder) {
			return
		}
		best := w.servers[0]
		for _, o := range w.servers {
			if o.data.len() > best.data.len() {
				best = o
			}
		}
		w.members[0].propose(ledger.Command{Depose: &ledger.Depose{Epoch: s.Lease.Epoch, Wish: nameOf(best.id), Why: "its disk is lost"}}, nil)
	})
}
