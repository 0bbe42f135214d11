package controlsim

import "time"

// siege has somebody of ill will go about it cleverly: it asks for the next epoch where a
// rule of the lease is all that keeps the present holder from going on.
func (st *story) siege() {
	w, h := st.world, st.world.members[st.world.holder().id]
	if w.now >= eventful-25*time.Second || w.now < st.quiet || w.log.state.Lease.Deposed {
		return
	}
	st.quiet = w.now + 20*time.Second
	w.say("a siege of %s", h.name)
	w.mend()
	w.log.stalled = w.now
	for _, m := range w.members {
		m.start()
	}
	switch w.rng.IntN(5) {
	case 0, 1:
		st.words(h)
	case 2:
		st.halves(h)
	case 3:
		st.deaf(h)
	case 4:
		st.late(h)
	}
}

// words: the holder has gone on by the words of all others, and does not hear that its epoch
// is to end. Some of the others forget what they said.
func (st *story) words(h *member) {
	w := st.world
	d := w.between(8*time.Second, 11*time.Second)
	st.stall(d)
	forget := w.one(2)
	w.after(d-w.between(50*time.Millisecond, 600*time.Millisecond), func() {
		w.isolate(h.id)
		for _, m := range w.members {
			if forget && m != h && m != w.log.leader {
				m.crash()
				w.after(w.between(10*time.Millisecond, 100*time.Millisecond), m.start)
			}
		}
	})
	w.after(d, st.depose)
	w.after(d+w.between(100*time.Millisecond, 500*time.Millisecond), st.depose)
	w.after(19*time.Second, w.mend)
}

// halves: the holder is with a few, and the quorum is with the others.
func (st *story) halves(h *member) {
	w := st.world
	few := 1 << h.id
	if len(w.members) > 3 {
		few |= 1 << ((h.id + 1) % len(w.members))
	}
	w.cleave(few)
	for i := range 4 {
		w.after(time.Duration(i)*time.Second, st.depose)
	}
	w.after(w.between(10*time.Second, 19*time.Second), w.mend)
}

// deaf: the holder is not told what was agreed, and all others start anew after they have
// consented to the next epoch.
func (st *story) deaf(h *member) {
	w := st.world
	h.deaf = w.now + 19*time.Second
	w.after(w.between(0, time.Second), st.depose)
	for _, m := range w.members {
		if m != h && w.one(2) {
			w.after(w.between(7*time.Second, 12*time.Second), func() {
				m.crash()
				w.after(w.between(50*time.Millisecond, 500*time.Millisecond), m.start)
			})
		}
	}
}

// late: what the holder asks of its server takes long, and the server starts anew when it
// has let go of the epoch.
func (st *story) late(h *member) {
	w, s := st.world, st.world.servers[h.id]
	for i := range 4 {
		w.after(time.Duration(i)*5*time.Second, func() {
			h.slow = w.now + 3*time.Second
			w.after(w.between(0, 2*time.Second), st.depose)
			st.forced = append(st.forced, forced{"ended", func() {
				w.after(0, func() {
					s.kill(false)
					w.after(w.between(0, 10*time.Millisecond), s.start)
				})
			}})
		})
	}
}
