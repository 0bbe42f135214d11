package controlsim

import "time"

// meddle has somebody change roles at the servers themselves, by hand: make one a primary,
// and the holder's follow it, or only one of the two.
func (st *story) meddle(to *server) {
	w, holder := st.world, st.world.holder()
	if to == holder || to.primary {
		return
	}
	promotes, demotes := !w.one(4), w.one(2)
	w.say("by hand: server %s is promoted %v, and server %s is to follow it %v", nameOf(to.id), promotes, nameOf(holder.id), demotes)
	if promotes {
		to.does(false, func() { to.byHand = to.promote() })
	}
	if !demotes {
		return
	}
	w.after(w.between(0, 2*time.Second), func() {
		if w.now < eventful && w.now >= st.quiet {
			holder.does(false, func() { holder.demoted(to) })
		}
	})
}

// demoted has it follow another one in the middle of its reign. What only it has is on its
// node's disk, or gone.
func (s *server) demoted(to *server) {
	if s.primary && s != to {
		s.world.oracle.burns(s)
		s.whole = 0
		s.follow(to.id)
	}
}
