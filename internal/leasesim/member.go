package leasesim

import (
	"time"

	"github.com/roam-sessions/roam/internal/lease"
)

// A ledger is what the quorum has agreed to.
type ledger struct {
	leader   *member
	term     int
	epoch    uint64
	holder   int // member of the Region that has it
	renewals int
	released bool
}

// A member is a voter of the quorum, and where it has a server may be the holder.
type member struct {
	world *world
	id    int
	name  string
	up    bool
	life  int
	begun time.Duration // of its clock
	rate  float64       // at which that runs

	voter     *lease.Voter
	consented uint64 // on disk
	known     uint64 // epoch, as it has heard
	over      uint64 // epoch that was released, as it has heard

	grantor *lease.Grantor // of a leader
	term    int
	round   *lease.Round
	next    uint64 // epoch that the round is about
	to      int
	counted int // renewals when the wait was over

	holder *lease.Holder
	read   time.Duration // what the server's clock said in the present try
	of     int           // and which life of the server it was
}

func (m *member) now() lease.Time { return lease.Time(m.rate * float64(m.world.now-m.begun)) }

func (m *member) start() {
	if m.up {
		return
	}
	w := m.world
	m.up, m.begun, m.rate = true, w.now-w.between(0, time.Hour), w.rate()
	m.life++
	m.voter = lease.NewVoter(w.config, m.consented, m.now())
	m.holder, m.grantor, m.round = nil, nil, nil
	w.say("member %d starts", m.id)
	if w.log.epoch > 0 && w.log.holder == m.id && !w.log.released {
		m.reign(w.log.epoch) // as its disk, or the log, tells it
	}
	m.tick()
}

func (m *member) crash() {
	if m.up {
		m.world.say("member %d crashes", m.id)
	}
	m.up = false
	m.life++
}

// later does something a moment later, if the member has not crashed since.
func (m *member) later(d time.Duration, do func()) {
	life := m.life
	m.world.after(d, func() {
		if m.up && m.life == life {
			do()
		}
	})
}

func (m *member) tick() {
	m.later(tick, func() {
		m.lead()
		if m.holder != nil {
			m.act(m.holder.Tick(m.now()))
		}
		m.tick()
	})
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

// lead does what leaders do: it is elected, asks for the next epoch, and is replaced.
func (m *member) lead() {
	w := m.world
	if m.id < len(w.servers) && w.rng.IntN(10) == 0 { // a witness never does
		m.stand(w.log.leader)
	}
	if m.grantor != nil && m.term != w.log.term && w.rng.IntN(20) == 0 {
		m.grantor, m.round = nil, nil // it has heard
	}
	if m.grantor != nil {
		m.judge()
	}
}

// stand has m be elected soon, if the leader is lost and it reaches a majority.
func (m *member) stand(leader *member) {
	w := m.world
	lost := leader == nil || !leader.up || leader.grantor == nil || !leader.majority()
	if m == leader && m.grantor != nil || !lost {
		return
	}
	m.later(w.between(0, electing), func() {
		if w.log.leader == leader && m.majority() && w.now >= w.stalled {
			m.elected()
		}
	})
}

func (m *member) elected() {
	w := m.world
	w.log.term++
	w.log.leader, m.term = m, w.log.term
	m.grantor, m.round = lease.NewGrantor(w.config, m.now()), nil
	w.say("member %d leads term %d", m.id, m.term)
}

// judge asks for the next epoch as soon as it may, for anybody.
func (m *member) judge() {
	w := m.world
	if m.grantor.Wait(w.log.epoch == 0 || w.log.released, m.now()) > 0 {
		m.round = nil
		return
	}
	if m.round == nil || m.next != w.log.epoch+1 {
		m.next, m.to, m.counted = w.log.epoch+1, w.rng.IntN(len(w.servers)), w.log.renewals
		m.round = lease.NewRound(m.next, len(w.members))
	}
	round, next := m.round, m.next
	for _, other := range w.members {
		w.send(m.id, other.id, func() { other.consents(m, round, next) })
	}
}

func (m *member) consents(leader *member, round *lease.Round, epoch uint64) {
	if !m.up {
		return
	}
	_, ok := m.voter.Consent(epoch, m.now())
	m.consented = m.voter.Consented() // written before the answer leaves
	if !ok {
		return
	}
	m.world.send(m.id, leader.id, func() {
		if leader.up && leader.round == round && round.Consented(m.name, epoch) {
			leader.round = nil
			leader.propose(leader.grantNext(epoch))
		}
	})
}

// grantNext returns the entry that grants an epoch: it counts if nothing was renewed
// since the wait was over.
func (m *member) grantNext(epoch uint64) func() {
	w, to, counted := m.world, m.to, m.counted
	return func() {
		if w.log.epoch+1 != epoch || w.log.renewals != counted {
			return
		}
		w.log.epoch, w.log.holder, w.log.released = epoch, to, false
		if l := w.log.leader; l.grantor != nil {
			l.grantor.Renewed(l.now())
		}
		w.say("epoch %d is granted to %d", epoch, to)
		for _, other := range w.members {
			w.send(w.log.leader.id, other.id, func() { other.hears(epoch, to) })
		}
	}
}

// propose has an entry be in the log a moment later, if m leads then and reaches a
// majority; if it has been replaced, perhaps all the same.
func (m *member) propose(entry func()) {
	w, term := m.world, m.term
	w.after(w.between(time.Millisecond, 150*time.Millisecond), func() {
		switch {
		case m.up && w.log.term == term && m.majority() && w.now >= w.stalled:
			entry()
		case w.rng.IntN(3) == 0: // whoever leads next has it, and finishes it first
			w.lateEntry(term, entry)
		}
	})
}

// lateEntry has an entry of a term be in the log as the next leader begins.
func (w *world) lateEntry(term int, entry func()) {
	if w.log.term != term {
		return // too late: a leader has begun without it
	}
	began := w.now
	var look func()
	look = func() {
		switch {
		case w.log.term == term+1 && w.log.leader.up:
			entry()
		case w.log.term == term && w.now-began < lateEntry:
			w.after(10*time.Millisecond, look)
		}
	}
	look()
}

// hears is told of an epoch.
func (m *member) hears(epoch uint64, holder int) {
	if !m.up || epoch <= m.known {
		return
	}
	m.known = epoch
	if m.holder != nil {
		m.act(m.holder.Granted(epoch))
		m.holder = nil
	}
	if holder == m.id {
		m.reign(epoch)
	}
}

func (m *member) reign(epoch uint64) {
	var others []string
	for _, other := range m.world.members {
		if other != m {
			others = append(others, other.name)
		}
	}
	m.known = max(m.known, epoch)
	m.holder = lease.NewHolder(m.world.config, epoch, others, m.now())
}

func (m *member) act(acts []lease.Act) {
	for _, a := range acts {
		m.do(a)
	}
}

func (m *member) do(a lease.Act) {
	w, holder := m.world, m.holder
	mine := func() bool { return m.up && m.holder == holder }
	server := w.servers[m.id]
	switch a.Kind {
	case lease.AskClocks:
		m.near(func() {
			server.does(func() {
				clock, life := server.clock(), server.life
				m.near(func() {
					if !mine() {
						return
					}
					if acts := holder.Clocks(a.Try, []time.Duration{clock}, m.now()); len(acts) > 0 {
						m.read, m.of = clock, life
						m.act(acts)
					}
				})
			})
		})
	case lease.Renew:
		m.renew(a, mine)
	case lease.AskWord:
		for _, other := range w.members {
			w.send(m.id, other.id, func() {
				if other != m && other.up && other.voter.Vouch(a.Epoch, max(other.known, other.over+1), other.now()) {
					w.send(other.id, m.id, func() {
						if mine() {
							m.act(holder.Vouched(a.Try, other.name, m.now()))
						}
					})
				}
			})
		}
	case lease.Grant:
		until, life := m.read+a.Lasts, m.of
		m.near(func() {
			server.does(func() {
				if !server.grant(a.Epoch, life, until) {
					m.near(func() {
						if mine() {
							m.act(holder.Refused())
						}
					})
				}
			})
		})
	case lease.Stop:
		w.say("member %d stops its reign of epoch %d", m.id, a.Epoch)
		m.near(func() { server.does(func() { server.grant(a.Epoch, server.life, 0) }) })
	}
}

// abdicate ends the reign of a holder, as a planned switchover does: when its server has
// stopped, and not before, the quorum is told that nobody need wait.
func (m *member) abdicate() {
	if !m.up || m.holder == nil {
		return
	}
	w, epoch, server := m.world, m.known, m.world.servers[m.id]
	w.say("member %d abdicates epoch %d", m.id, epoch)
	m.act(m.holder.Stop())
	m.near(func() {
		server.does(func() {
			server.grant(epoch, server.life, 0)
			m.near(func() { m.tellReleased(epoch) })
		})
	})
}

func (m *member) tellReleased(epoch uint64) {
	w := m.world
	leader := w.log.leader
	if leader == nil {
		return
	}
	w.send(m.id, leader.id, func() {
		if leader.up && leader.grantor != nil {
			leader.propose(func() {
				if w.log.epoch != epoch {
					return
				}
				w.log.released = true
				for _, other := range w.members {
					w.send(w.log.leader.id, other.id, func() { other.over = max(other.over, epoch) })
				}
			})
		}
	})
}

// near has something happen at the Region's server, or back, a moment later.
func (m *member) near(do func()) {
	w := m.world
	delay := w.between(0, 5*time.Millisecond)
	if w.rng.IntN(20) == 0 { // over another connection, say, that was being made
		delay = w.between(0, time.Second)
	}
	w.after(delay, do)
}

// renew has the quorum agree to a renewal.
func (m *member) renew(a lease.Act, mine func() bool) {
	w := m.world
	leader := w.log.leader
	if leader == nil {
		return
	}
	w.send(m.id, leader.id, func() {
		if !leader.up || leader.grantor == nil {
			return
		}
		leader.propose(func() {
			if w.log.epoch != a.Epoch || w.log.released {
				w.send(leader.id, m.id, func() {
					if mine() {
						m.act(m.holder.Refused())
					}
				})
				return
			}
			w.log.renewals++
			if l := w.log.leader; l.grantor != nil {
				l.grantor.Renewed(l.now())
			}
			w.send(leader.id, m.id, func() {
				if mine() {
					m.act(m.holder.Renewed(a.Try, m.now()))
				}
			})
		})
	})
}
