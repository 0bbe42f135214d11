package controlsim

import (
	"fmt"
	"time"

	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/steer"
)

// A salvage is one run under way, of one member.
type salvage struct {
	member *member
	life   int
	epoch  uint64
	target *server
	whole  bool // the old server itself was looked at
	spool  set  // what the spool had
	source set  // and with it the server
	items  set  // what the target had not got of the old server's log
}

// salvage has what the server and the spool took be taken in elsewhere, one run at a time.
func (m *member) salvage(a steer.Act) {
	w := m.world
	to := w.region(a.Region)
	if m.salvaging || to < 0 {
		return
	}
	m.salvaging = true
	r := &salvage{member: m, life: m.life, epoch: a.Epoch, target: w.servers[to]}
	m.later(w.between(10*time.Millisecond, 500*time.Millisecond), r.read)
	m.later(5*time.Second, func() { m.salvaging = false }) // whatever became of it
}

// read looks at what the old server and the spool have, and brings it to the target. A run
// that ends in the middle has brought some.
func (r *salvage) read() {
	m, old := r.member, r.member.world.servers[r.member.id]
	w := m.world
	r.whole = old.up && old.paused <= w.now
	r.spool, r.source = old.spool.clone(), old.spool.clone()
	if r.whole {
		r.source.join(old.data)
	}
	epoch := m.state.Lease.Epoch
	w.send(m.id, r.target.id, func() {
		r.target.does(true, func() {
			bring := r.source
			if w.now < eventful && w.one(6) { // it ends in the middle
				bring = bring.without(nil)
				for _, id := range bring.all() {
					if w.one(2) {
						bring[id/64] &^= 1 << (id % 64)
					}
				}
			}
			items := r.missing(old)
			if !r.target.adopts(epoch, bring) {
				return
			}
			w.send(r.target.id, m.id, func() {
				if m.up && m.life == r.life && len(r.source.without(bring).all()) == 0 {
					r.items = items
					r.wait(8)
				}
			})
		})
	})
}

// missing returns what the target had not got of what the old server wrote. What that one
// itself brings home again it had lost.
func (r *salvage) missing(old *server) set {
	if r.target == old {
		return old.spool.within(old.own).without(old.entries[old.id])
	}
	items := old.spool.without(r.target.entries[old.id]).without(r.target.brought[old.id])
	for by := range old.entries {
		if r.whole {
			items.join(old.entries[by].without(r.target.entries[by]))
			items.join(old.brought[by].without(r.target.brought[by]))
		}
	}
	return items
}

// wait waits until another Region's server has all of it, if there is one that is to
// follow the target: those that have a receipt open themselves wait, too.
func (r *salvage) wait(tries int) {
	m := r.member
	w := m.world
	others, held := 0, false
	for _, o := range w.servers {
		if _, owes := m.state.Owes(nameOf(o.id)); w.service != nil && w.service.alone == r.target.id || owes || o.id == m.id || o == r.target {
			continue
		}
		others++
		held = held || o.up && w.reaches(m.id, o.id) && r.source.without(o.data).len() == 0
	}
	switch {
	case !r.target.up || r.source.without(r.target.data).len() > 0:
		return // it is run again
	case held || others == 0:
		r.close()
	case tries > 0:
		m.later(500*time.Millisecond, func() { r.wait(tries - 1) })
	}
}

// close tells what came of it. The receipt is closed if the old server was looked at.
func (r *salvage) close() {
	m := r.member
	s := ledger.Salvage{Epoch: r.epoch, Counts: map[ledger.Fate]uint64{}, Closed: r.whole}
	for _, id := range r.items.all() {
		s.Items = append(s.Items, ledger.Item{Session: fmt.Sprint(id), Kind: "write", Fate: ledger.Recovered})
	}
	s.Counts[ledger.Recovered] = uint64(len(s.Items))
	if old := m.world.servers[m.id]; old.burnt || r.epoch < old.whole || old.whole == 0 {
		s.Counts[ledger.Unknown], s.Note = 1, "what the server had may be gone"
	}
	m.propose(ledger.Command{Salvage: &s}, func(err error) {
		if old := m.world.servers[m.id]; err == nil && r.whole && old != r.target {
			old.spool = old.spool.without(r.spool)
		}
	})
	if !r.whole {
		m.world.say("%s has brought home what its spool has of epoch %d", m.name, r.epoch)
	}
}
