package controlsim

import (
	"time"

	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/steer"
)

const (
	// serviceEvery is between two times that a service looks whether it can go on.
	serviceEvery = 500 * time.Millisecond
	// serviceTime is how long it may take to promote a server.
	serviceTime = 12 * time.Second
)

// A service manages the servers, as ElastiCache does those of a Global Datastore: it has one
// be the primary and all others follow it, when it is asked to, in its own time, and at times
// because somebody else has asked. What the old primary has not passed on when it begins is
// thrown away. It refuses while the primary can't be reached, in half of all runs.
type service struct {
	world    *world
	primary  int
	before   int           // who was it before, as members see who look at it seldom
	changed  time.Duration // when it last changed
	changing bool
	refuses  bool // if the primary is dead
	alone    int  // a server that was taken out; -1: none was
	asked    [mostMembers]time.Duration
}

// managed reports whether a service manages the servers of a seed. It draws nothing, so that
// all others are as they were without it.
func managed(seed uint64) bool { return seed%5 == 4 }

// reachable reports whether the service can give a server orders.
func (v *service) reachable(s *server) bool { return s.up && s.paused <= v.world.now && !s.gone }

// ask asks for a Region's server to be promoted; detach: to be taken out.
func (v *service) ask(id int, detach bool) {
	w, to := v.world, v.world.servers[id]
	if w.now-v.asked[id] < time.Second || v.alone == id {
		return
	}
	v.asked[id] = w.now
	switch {
	case !v.reachable(to) || v.primary == id:
	case detach && v.alone < 0 && !v.changing:
		w.say("the service takes server %s out", nameOf(id))
		v.alone = id
		w.after(w.between(0, 2*time.Second), func() { v.takeOut(to) })
	case detach || v.changing:
	case v.refuses && !v.reachable(w.servers[v.primary]):
		w.say("the service refuses to promote server %s", nameOf(id))
	default:
		v.begin(id)
	}
}

// takeOut makes a server a primary of its own, when it can be.
func (v *service) takeOut(s *server) {
	if v.alone == s.id && !(v.reachable(s) && s.promote()) {
		v.world.after(serviceEvery, func() { v.takeOut(s) })
	}
}

// begin has the primary take no more writes, and plans the rest.
func (v *service) begin(to int) {
	w, old := v.world, v.world.servers[v.primary]
	w.say("the service begins to promote server %s", nameOf(to))
	v.changing = true
	v.freeze(old, to)
	w.after(w.between(time.Second, 8*time.Second), func() { v.end(to) })
}

// freeze makes a primary a replica of one that is none yet. What only it has is on its node's
// disk, or gone.
func (v *service) freeze(s *server, to int) {
	if s.up && s.primary {
		v.world.oracle.burns(s)
		s.whole = 0
		s.follow(to)
	}
}

// end swaps the roles, when the next primary can be one.
func (v *service) end(to int) {
	w, next := v.world, v.world.servers[to]
	if !v.reachable(next) || !next.promote() {
		w.after(serviceEvery, func() { v.end(to) })
		return
	}
	v.before, v.primary, v.changed, v.changing = v.primary, to, w.now, false
	w.point("served")
	v.align()
}

// align gives all that it can reach the orders that fit, now and then.
func (v *service) align() {
	for _, s := range v.world.servers {
		switch {
		case v.changing || !v.reachable(s) || s.id == v.alone:
		case s.id == v.primary:
			s.promote()
		case s.primary:
			v.freeze(s, v.primary)
		default:
			s.follow(v.primary)
		}
	}
}

// run goes on for as long as there is a world.
func (v *service) run() {
	v.align()
	v.world.after(serviceEvery, v.run)
}

// says returns whom it has as the primary, as a member sees it: late, in part.
func (v *service) says(m *member) int {
	if m.id == v.alone {
		return -1
	}
	if late := time.Duration(m.id+1) * 200 * time.Millisecond; v.world.now-v.changed < late {
		return v.before
	}
	return v.primary
}

// see changes what a member sees of its server to what it goes by where there is a service.
func (v *service) see(m *member, s *server, out steer.Server) steer.Server {
	says := v.says(m)
	out.Turned, out.Follows = says == m.id, ""
	out.Alone = m.id == v.alone
	out.Held = v.changing || out.Alone || v.refuses && !v.reachable(v.world.servers[v.primary])
	out.Service = "a service"
	if !s.primary && out.Turned { // its name leads to another one, or will
		return steer.Server{}
	}
	if !s.primary && says >= 0 {
		out.Follows = nameOf(says)
	}
	return out
}

// detach has an operator let the holder be taken out, or the next one.
func (v *service) detach(tell func(ledger.Command)) {
	l := v.world.log.state.Lease
	i := v.world.region(l.Holder)
	if v.refuses && i >= 0 && !l.Deposed && !v.world.servers[i].primary {
		tell(ledger.Command{Detach: &ledger.Detach{Epoch: l.Epoch, Region: l.Holder}})
	}
}

// form has people form it anew around the primary that there is once a server was taken out, when
// nothing of what the others took is to be brought home any more.
func (v *service) form() {
	w := v.world
	w.after(time.Second, v.form)
	holder := w.holder()
	if v.alone < 0 || v.changing || !holder.primary || !v.reachable(holder) {
		return
	}
	for _, s := range w.servers {
		if _, owes := w.log.state.Owes(nameOf(s.id)); owes {
			return
		}
	}
	w.say("people form the service's servers anew, around %s", nameOf(holder.id))
	v.before, v.primary, v.changed, v.alone = v.primary, holder.id, w.now, -1
	v.align()
}
