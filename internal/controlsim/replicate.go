package controlsim

import (
	"slices"
	"time"
)

// promote has it take writes: REPLICAOF NO ONE. It is refused while it is given all data.
func (s *server) promote() bool {
	s.resting = 0
	switch {
	case s.primary:
		return true
	case s.copying:
		return false
	}
	s.world.point("promoted")
	s.world.say("server %s is promoted, with %d writes", nameOf(s.id), s.data.len())
	s.primary, s.linked, s.flying = true, false, false
	s.link++
	s.before, s.upto = s.replid, len(s.history)
	s.renames()
	s.drop()
	return true
}

// follow has it follow another one. What it has stays until that one gives it data.
func (s *server) follow(other int) {
	s.resting = 0
	if !s.primary && s.follows == other || other < 0 {
		return
	}
	s.world.say("server %s follows %s", nameOf(s.id), nameOf(other))
	s.primary, s.byHand, s.follows = false, false, other
	s.drop()
	s.connect()
}

// drop ends the links of those that follow it; they connect anew.
func (s *server) drop() {
	for _, o := range s.world.servers {
		if o != s && o.up && !o.primary && o.follows == s.id {
			o.connect()
		}
	}
}

// serves reports whether it answers one that wants to follow it.
func (s *server) serves() bool {
	return s.up && s.paused <= s.world.now && (s.primary || s.linked)
}

// later does something a moment later, if the link is the same then.
func (s *server) later(d time.Duration, do func()) {
	link := s.link
	s.world.after(d, func() {
		if s.link == link && s.up {
			do()
		}
	})
}

// connect has it ask the one that it follows for what it lacks.
func (s *server) connect() {
	w := s.world
	s.link++
	s.linked, s.flying, s.copying = false, false, false
	s.later(w.between(10*time.Millisecond, 200*time.Millisecond), func() { s.sync() })
}

func (s *server) sync() {
	w, up := s.world, s.world.servers[s.follows]
	if s.paused > w.now || !up.serves() || !w.reaches(s.id, up.id) {
		s.later(w.between(300*time.Millisecond, time.Second), func() { s.sync() })
		return
	}
	n := len(s.history)
	if n <= len(up.history) && (s.replid == up.replid || s.replid == up.before && n <= up.upto) {
		w.out.Stats.PartialCopies++
		s.joins(up)
		return
	}
	s.copying = true
	s.later(w.between(20*time.Millisecond, 1500*time.Millisecond), func() {
		s.copying = false
		if !up.serves() || !w.reaches(s.id, up.id) {
			s.connect()
			return
		}
		w.out.Stats.FullCopies++
		w.say("server %s is given all data of %s: %d writes for %d", nameOf(s.id), nameOf(up.id), up.data.len(), s.data.len())
		w.oracle.replaces(s, up)
		s.history = slices.Clip(up.history)
		s.data, s.marked, s.beat = up.data.clone(), up.marked, up.beat
		for i, entries := range up.entries {
			s.entries[i], s.brought[i] = entries.clone(), up.brought[i].clone()
		}
		s.replid, s.before, s.burnt = up.replid, 0, false
		s.drop()
		s.joins(up)
	})
}

// joins goes on from what both have.
func (s *server) joins(up *server) {
	if s.replid != up.replid {
		s.before, s.upto, s.replid = s.replid, len(s.history), up.replid
		s.drop()
	}
	s.linked = true
	s.fed(up)
}

// feed has those that follow it be given what is new.
func (s *server) feed() {
	for _, o := range s.world.servers {
		if o.up && !o.primary && o.linked && o.follows == s.id {
			o.fed(s)
		}
	}
}

// fed is given what is new in one stream. What is cut comes later, or by another
// connection.
func (s *server) fed(up *server) {
	w := s.world
	if s.flying || len(up.history) <= len(s.history) {
		return
	}
	s.flying = true
	n := len(up.history)
	delay := w.between(2*time.Millisecond, 50*time.Millisecond)
	if w.one(60) {
		delay = w.between(0, 1500*time.Millisecond)
	}
	s.later(delay, func() { s.arrives(up, n, 0) })
}

// arrives takes in what has come, up to an entry.
func (s *server) arrives(up *server, n, tries int) {
	w := s.world
	switch {
	case w.cut[up.id][s.id] && tries < 10, s.paused > w.now:
		s.later(200*time.Millisecond, func() { s.arrives(up, n, tries+1) })
		return
	case w.cut[up.id][s.id], len(up.history) < n:
		s.connect()
		return
	}
	s.flying = false
	had := len(s.history)
	s.history = up.history[:n:n]
	for _, r := range s.history[had:] {
		s.learns(r)
	}
	s.feed()
	s.fed(up)
}
