package controlsim

import (
	"errors"
	"time"

	"github.com/roam-sessions/roam/internal/lease"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/steer"
)

// A reading is what the server's clock said, and which server that was.
type reading struct {
	clock  time.Duration
	replid int
}

// near has something happen at the Region's server a moment later, if that is up then. What
// writes waits while the server rests, and is done then, whoever still waits for it.
func (m *member) near(writes bool, do func()) {
	w := m.world
	delay := w.between(0, 3*time.Millisecond)
	if w.one(40) || w.now < m.slow { // over another connection, say, that was being made
		delay = w.between(0, time.Second)
	}
	w.after(delay, func() { w.servers[m.id].does(writes, do) })
}

// chained is near for what goes over the connection by which a server is steered: one
// thing after the other. What is not wanted any more when its turn comes is not sent.
func (m *member) chained(writes bool, wanted func() bool, do func()) {
	w, life := m.world, m.life
	delay := time.Duration(0)
	if w.one(40) || w.now < m.slow {
		delay = w.between(0, time.Second)
	}
	m.chain = max(m.chain, w.now+delay)
	w.after(m.chain-w.now, func() {
		if m.life != life || wanted != nil && !wanted() {
			return
		}
		sent := w.now + w.between(0, 3*time.Millisecond)
		m.sent = max(m.sent, sent)
		w.after(m.sent-w.now, func() { w.servers[m.id].does(writes, do) })
	})
}

// answer has m hear of something, if it waits for it still.
func (m *member) answer(asked time.Duration, life int, do func()) {
	w := m.world
	w.after(w.between(0, 3*time.Millisecond), func() {
		if m.up && m.life == life && w.now-asked <= actTime {
			do()
		}
	})
}

// do does what was decided.
func (m *member) do(acts []steer.Act) {
	for _, a := range acts {
		m.act(a)
	}
}

func (m *member) act(a steer.Act) {
	w := m.world
	asked, life := w.now, m.life
	follows := func() bool { return m.state.Lease.Holder == a.Region }
	send := func(wanted func() bool, do func(*server) bool, then func()) {
		m.chained(true, wanted, func() {
			if do(w.servers[m.id]) {
				m.answer(asked, life, then)
			}
		})
	}
	switch a.Kind {
	case steer.Leases:
		m.leases(a.Lease, a.Run)
	case steer.End:
		w.say("%s ends epoch %d", m.name, a.Epoch)
		m.near(true, func() {
			w.servers[m.id].ends(a.Epoch)
			m.answer(asked, life, func() { m.do(m.local.Ended(a.Epoch, m.now())) })
		})
	case steer.Mark:
		send(nil, func(s *server) bool { return a.Run == s.run() && s.marks(a.Epoch) }, func() { m.do(m.local.Marked(a.Epoch, m.now())) })
	case steer.Promote:
		if w.service != nil {
			m.near(false, func() { w.service.ask(m.id, a.Detach) })
			return
		}
		send(nil, func(s *server) bool { return s.promote() }, m.turned)
	case steer.Follow:
		if w.service != nil {
			return // it follows whom the service wants
		}
		send(follows, func(s *server) bool { s.follow(w.region(a.Region)); return true }, m.turned)
	case steer.Salvage:
		m.salvage(a)
	case steer.Propose:
		m.propose(a.Command, nil)
	case steer.Consents:
		m.consents(a.Epoch)
	case steer.Lead:
		w.transfer(m, a.Region)
	}
}

// turned looks at the server anew after its role was to change.
func (m *member) turned() {
	server := m.world.servers[m.id]
	m.chained(false, nil, func() {
		s := m.seesServed(server)
		m.later(0, func() { m.saw(s) })
	})
}

// leases does what a lease.Holder asks for.
func (m *member) leases(a lease.Act, run string) {
	w, server := m.world, m.world.servers[m.id]
	asked, life := w.now, m.life
	switch a.Kind {
	case lease.AskClocks:
		m.near(false, func() {
			if run != server.run() {
				return // it has started anew since it was looked at
			}
			read := reading{server.clock(), server.replid}
			m.answer(asked, life, func() {
				m.read, m.try = read, a.Try
				m.do(m.local.Clocks(a.Epoch, a.Try, []time.Duration{read.clock}, m.now()))
			})
		})
	case lease.Renew:
		m.propose(ledger.Command{Renew: &ledger.Renew{Epoch: a.Epoch, Region: m.name, Run: run}}, func(err error) {
			switch {
			case err == nil:
				m.do(m.local.Renewed(a.Epoch, a.Try, m.now()))
			case errors.Is(err, ledger.ErrStale):
				w.say("%s is refused epoch %d: %v", m.name, a.Epoch, err)
				m.do(m.local.Refused(a.Epoch, m.now()))
			}
		})
	case lease.AskWord:
		w.out.Stats.Failsafe++
		for _, o := range w.members {
			if o != m {
				m.askWord(o, a)
			}
		}
	case lease.Grant:
		if m.try != a.Try {
			return // the clock that it goes by is not this one
		}
		read := m.read
		m.near(true, func() {
			took, over := server.grants(a.Epoch, read.replid, read.clock+a.Lasts)
			m.answer(asked, life, func() {
				switch {
				case took:
					m.parted()
					m.do(m.local.Gave(a.Epoch, m.now()))
				case over:
					w.say("the server of %s refuses epoch %d", m.name, a.Epoch)
					m.do(m.local.Refused(a.Epoch, m.now()))
				}
			})
		})
	}
}

// parted says where the old primary's log and the one of this server parted.
func (m *member) parted() {
	for _, r := range m.state.Receipts {
		if r.Fork == "" && r.To == m.name && r.At.Equal(m.state.Lease.Since) {
			m.propose(ledger.Command{Fork: &ledger.Fork{Epoch: r.Epoch, At: "where it was promoted"}}, nil)
		}
	}
}

// askWord asks another member to vouch.
func (m *member) askWord(o *member, a lease.Act) {
	w, life := m.world, m.life
	w.send(m.id, o.id, func() {
		if !o.up || !o.voter.Vouch(a.Epoch, o.state.Next(), o.now()) {
			return
		}
		w.send(o.id, m.id, func() {
			if m.up && m.life == life {
				m.do(m.local.Vouched(a.Epoch, a.Try, o.name, m.now()))
			}
		})
	})
}

// consents asks all members to consent to an epoch.
func (m *member) consents(epoch uint64) {
	w, life := m.world, m.life
	for _, o := range w.members {
		w.send(m.id, o.id, func() {
			if !o.up {
				return
			}
			_, ok := o.voter.Consent(epoch, o.now())
			o.consented = o.voter.Consented() // written before the answer leaves
			if !ok {
				return
			}
			w.send(o.id, m.id, func() {
				if m.up && m.life == life && m.chief != nil {
					m.do(m.chief.Consented(o.name, epoch, m.observe(), m.now()))
				}
			})
		})
	}
}

// transfer has another member lead, if all goes well.
func (w *world) transfer(m *member, to string) {
	for _, o := range w.members {
		if o.name == to && o.up && w.leads(m) && w.reaches(m.id, o.id) && o.majority() && !w.one(4) {
			w.elect(o)
		}
	}
}
