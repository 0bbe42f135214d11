package controlsim

import (
	"time"

	"github.com/roam-sessions/roam/internal/ledger"
)

// electing is how long a leader that nobody hears stays one, at most, once that is seen.
const electing = 1500 * time.Millisecond

// lateEntry is for how long the last words of a leader that was replaced may turn up in the
// log, once nobody waits for them.
const lateEntry = 15 * time.Second

// A quorum is what the members have agreed on. Its log is modelled: a leader that reaches a
// majority appends, and whoever is elected has all that was agreed. The last words of a
// leader that was replaced may be in its successor's log all the same.
type quorum struct {
	leader  *member
	term    int
	entries []entry
	state   ledger.State  // after the last of them
	last    []proposal    // of leaders whose terms are over, that may be agreed yet
	stalled time.Duration // until then nothing is agreed
	replids int           // that were given to histories of servers
}

// An entry is one that was agreed.
type entry struct {
	proposal
	state ledger.State // after it
	err   error        // it was refused
	term  int
}

// A proposal is a command, and who is told what came of it.
type proposal struct {
	command  ledger.Command
	by, life int
	until    time.Duration
	done     func(error) // may be nil
}

// renews reports whether a command is one that a Chief is told of as a renewal.
func (p proposal) renews() bool {
	return p.command.Renew != nil || p.command.Grant != nil || p.command.Advance != nil
}

// agree appends an entry.
func (w *world) agree(p proposal) {
	was := w.log.state
	state, err := was.Apply(uint64(len(w.log.entries)+1), p.command)
	w.log.state = state
	w.log.entries = append(w.log.entries, entry{p, state, err, w.log.term})
	w.trace(uint64(len(w.log.entries)))
	w.oracle.agreed(was, p.command, err)
	for _, m := range w.members {
		m.learn()
	}
}

// leads reports whether a member leads, and can have something be agreed.
func (w *world) leads(m *member) bool {
	return m != nil && m.up && m.leads == w.log.term && w.log.leader == m && m.majority() && w.now >= w.log.stalled
}

// propose has a command be agreed, if the leader can be reached and is one still, and tells
// what came of it when that is applied at m.
func (m *member) propose(c ledger.Command, done func(error)) {
	w, leader := m.world, m.world.log.leader
	if leader == nil {
		return
	}
	c.At = noon.Add(m.wall())
	p := proposal{c, m.id, m.life, w.now + actTime, done}
	w.send(m.id, leader.id, func() {
		if !leader.up || leader.leads == 0 {
			return
		}
		term := leader.leads
		w.after(w.between(time.Millisecond, 120*time.Millisecond), func() {
			switch {
			case w.leads(leader) && leader.leads == term:
				w.agree(p)
			case term == w.log.term && w.one(3): // whoever leads next has it, and finishes it first
				w.log.last = append(w.log.last, p)
			}
		})
	})
}

// learn has a member apply what is agreed a moment later, if the leader reaches it.
func (m *member) learn() {
	w, leader := m.world, m.world.log.leader
	if !m.up || w.now < m.deaf || m.learning || leader == nil || !leader.up || !w.reaches(leader.id, m.id) {
		return
	}
	delay := w.between(time.Millisecond, 60*time.Millisecond)
	switch {
	case m == leader:
		delay = w.between(0, 5*time.Millisecond)
	case w.one(40):
		delay = w.between(0, 1500*time.Millisecond)
	}
	m.learning = true
	m.later(delay, func() {
		m.learning = false
		if w.now >= m.deaf && (m == leader || w.reaches(leader.id, m.id)) {
			m.apply(len(w.log.entries))
		}
	})
}

// apply applies what is agreed, up to an entry; what is far behind is given the state
// alone.
func (m *member) apply(upto int) {
	w := m.world
	if behind := upto - m.applied; behind > 20 && w.one(3) {
		m.applied = upto
		e := &w.log.entries[upto-1]
		w.out.Stats.Restored++
		w.say("%s is given the state of entry %d", m.name, upto)
		m.take(e.state, e.term, true)
		return
	}
	for life := m.life; m.applied < upto && m.up && m.life == life; {
		e := &w.log.entries[m.applied]
		m.applied++
		if e.err == nil {
			m.take(e.state, e.term, e.renews())
		}
		if e.done != nil && e.by == m.id && e.life == m.life && w.now <= e.until {
			e.done(e.err)
		}
	}
}

// take takes in a state.
func (m *member) take(s ledger.State, term int, renewal bool) {
	m.state = s
	if term > m.leads {
		m.leads, m.chief = 0, nil // somebody else leads
	}
	if renewal && m.chief != nil {
		m.chief.Renewed(m.now())
	}
	if m.local != nil {
		m.do(m.local.Agreed(s, m.now()))
	}
}

// majority reports whether m reaches one now.
func (m *member) majority() bool {
	n := 0
	for _, other := range m.world.members {
		if other.up && m.world.reaches(m.id, other.id) {
			n++
		}
	}
	return 2*n > len(m.world.members)
}

// stand has m be elected soon, if the leader is lost and it reaches a majority.
func (m *member) stand() {
	w, leader := m.world, m.world.log.leader
	lost := leader == nil || !leader.up || leader.leads != w.log.term || !leader.majority()
	if m.witness || !lost || m.standing {
		return
	}
	m.standing = true
	m.later(w.between(electing/3, electing), func() {
		m.standing = false
		if w.log.leader == leader && m.majority() && w.now >= w.log.stalled {
			w.elect(m)
		}
	})
}

// elect has a member lead from now on.
func (w *world) elect(m *member) {
	w.log.term++
	w.log.leader, m.leads, m.chief = m, w.log.term, nil
	w.say("%s leads term %d", m.name, w.log.term)
	last := w.log.last
	w.log.last = nil
	for _, p := range last {
		if w.now < p.until+lateEntry {
			w.agree(p)
		}
	}
	m.accedes = len(w.log.entries)
}
