package controlsim

import (
	"time"

	"github.com/roam-sessions/roam/internal/ledger"
)

// A story is what goes wrong, and what operators do.
type story struct {
	world  *world
	over   bool          // clients write no more
	nags   bool          // somebody of ill will asks for the next epoch all the time
	quiet  time.Duration // until then nothing else goes wrong
	forced []forced
	dead   *server // the primary that died while all else was well
	died   time.Duration
}

// forced is a fault at a point of what goes on.
type forced struct {
	point string
	do    func()
}

// points are where a fault can be forced: steps that were agreed, and what servers did.
func points() []string {
	return []string{"planned", "draining", "ended", "marked", "promoted", "gave", "repointing", "done", "deposed", "granted"}
}

// point is told that something has come to a point.
func (w *world) point(name string) {
	st := &w.story
	for i, f := range st.forced {
		if f.point == name {
			st.forced = append(st.forced[:i:i], st.forced[i+1:]...)
			f.do()
			return
		}
	}
}

func (st *story) begin(w *world) {
	st.world = w
	w.after(w.between(7*time.Second, 10*time.Second), st.scene)
	w.after(12*time.Second, st.fault)
	w.after(12*time.Second, st.operate)
	if st.nags = w.one(3); st.nags {
		w.after(12*time.Second, st.nag)
		w.after(w.between(10*time.Second, 12*time.Second), st.siege)
		w.after(w.between(33*time.Second, 38*time.Second), st.siege)
	}
}

// nag has somebody of ill will ask for the next epoch as often as can be.
func (st *story) nag() {
	w := st.world
	if w.now >= eventful {
		return
	}
	if w.now >= st.quiet {
		if w.one(3) {
			st.force()
		}
		st.depose()
	}
	w.after(w.between(0, 4*time.Second), st.nag)
}

func (st *story) depose() {
	w, s := st.world, st.world.log.state
	if !s.Lease.Deposed {
		c := ledger.Depose{Epoch: s.Lease.Epoch, Wish: nameOf(w.rng.IntN(len(w.servers))), Why: "nagging"}
		w.members[w.rng.IntN(len(w.members))].propose(ledger.Command{Depose: &c}, nil)
	}
}

// scene is what a run begins with.
func (st *story) scene() {
	w := st.world
	switch w.rng.IntN(8) {
	case 0, 1, 2:
		st.die()
	case 3, 4, 5:
		st.force()
		st.plan()
	case 6: // one after the other
		st.die()
		w.after(w.between(4*time.Second, 12*time.Second), func() {
			st.dead = nil // this is no clean one
			st.lose(w.holder())
		})
	default:
	}
}

// die has the primary die while all is well and another Region's member leads. From then on
// it is measured how long it takes until somebody takes writes.
func (st *story) die() {
	w, s := st.world, st.world.holder()
	l := w.log.leader
	well := w.service == nil && w.judge.Mode == "automatic" && l != nil && l.chief != nil && l.id != s.id && w.log.state.Handover.ID == 0
	for _, o := range w.servers {
		well = well && (o == s) == o.primary && (o == s || o.linked)
	}
	if well {
		st.dead, st.died, st.quiet = s, w.now, w.now+15*time.Second
		w.after(15*time.Second, func() {
			if st.dead != nil {
				w.out.FailedOver = append(w.out.FailedOver, 15*time.Second)
			}
			st.dead = nil
		})
	}
	st.lose(s)
}

// lose has a Region be lost, in one way or another.
func (st *story) lose(s *server) {
	w, m := st.world, st.world.members[s.id]
	d := w.between(8*time.Second, 25*time.Second)
	switch w.rng.IntN(4) {
	case 0:
		m.crash()
		w.after(d, m.start)
		s.kill(w.one(3))
		w.after(d, s.start)
	case 1: // its links are lost a moment before
		if st.dead == nil && w.one(2) {
			w.isolate(s.id)
			w.after(w.between(50*time.Millisecond, time.Second), func() {
				if w.now < eventful {
					s.kill(w.one(3))
					w.after(d, s.start)
				}
				w.mend()
			})
			return
		}
		s.kill(w.one(3))
		w.after(d, s.start)
	case 2:
		st.pause(s, d)
	case 3:
		w.isolate(s.id)
		w.after(d, w.mend)
	}
}

func (st *story) pause(s *server, d time.Duration) {
	s.pause(max(0, min(d, eventful-st.world.now)))
}

// taken is told that a server takes a write.
func (st *story) taken(s *server, _ uint64) {
	if st.dead != nil && s != st.dead {
		st.world.out.FailedOver = append(st.world.out.FailedOver, st.world.now-st.died)
		st.dead = nil
	}
}

// force has a fault come at a point of a switchover.
func (st *story) force() {
	w := st.world
	point := points()[w.rng.IntN(len(points()))]
	who, delay, back := w.rng.IntN(8), w.between(0, 60*time.Millisecond), w.between(100*time.Millisecond, 10*time.Second)
	if w.one(4) {
		delay = w.between(0, 2*time.Second)
	}
	lost := w.one(4)
	if w.one(6) { // the target, before it knows that all know of its beginning
		point, who, delay = "repointing", 1, 0
	}
	st.forced = append(st.forced, forced{point, func() {
		from, to := w.region(w.log.state.Handover.From), w.region(w.log.state.Handover.To)
		if from < 0 || to < 0 {
			from, to = w.holder().id, w.rng.IntN(len(w.servers))
		}
		w.say("forced at %s", point)
		w.after(delay, func() {
			if w.now < eventful {
				st.strike(who, from, to, lost, back)
			}
		})
	}})
}

// strike strikes one of those that take part in a switchover.
func (st *story) strike(who, from, to int, lost bool, back time.Duration) {
	w := st.world
	crash := func(m *member) {
		m.crash()
		w.after(back, m.start)
	}
	kill := func(s *server) {
		s.kill(lost)
		w.after(back, s.start)
	}
	switch who {
	case 0:
		crash(w.members[from])
	case 1:
		crash(w.members[to])
	case 2:
		kill(w.servers[from])
	case 3:
		kill(w.servers[to])
	case 4:
		if w.log.leader != nil {
			crash(w.log.leader)
		}
	case 5:
		crash(w.members[from])
		kill(w.servers[from])
	case 6:
		crash(w.members[to])
		kill(w.servers[to])
	case 7: // it is there again before anybody has seen that it was gone
		w.servers[from].kill(false)
		w.servers[from].tear()
		w.after(w.between(0, 50*time.Millisecond), w.servers[from].start)
	}
}

// fault makes something go wrong, or well again, now and then.
func (st *story) fault() {
	w := st.world
	w.after(w.between(0, 3*time.Second), func() {
		switch {
		case w.now >= eventful:
			return
		case w.now >= st.quiet:
			st.fail()
		}
		st.fault()
	})
}

func (st *story) fail() {
	w := st.world
	m, s := w.members[w.rng.IntN(len(w.members))], w.servers[w.rng.IntN(len(w.servers))]
	if w.now < w.log.stalled && w.one(2) { // what the quorum knows is all that there is
		m.crash()
		w.after(w.between(10*time.Millisecond, 3*time.Second), m.start)
		return
	}
	switch w.rng.IntN(15) {
	case 0:
		w.isolate(m.id)
	case 1, 2: // not heard by some, or not hearing
		w.set(m.id, w.rng.IntN(len(w.members)), true)
	case 3:
		m.crash()
		w.after(w.between(10*time.Millisecond, 10*time.Second), m.start)
	case 4: // the holder loses the leader
		if l := w.log.leader; l != nil {
			w.set(w.holder().id, l.id, true)
			w.set(l.id, w.holder().id, true)
		}
	case 5:
		s.kill(w.one(4))
		w.after(w.between(10*time.Millisecond, 10*time.Second), s.start)
	case 6:
		st.pause(s, w.between(0, 12*time.Second))
	case 7: // a step that is noticed by whoever writes, or one that is borne
		d := w.between(-300*time.Millisecond, 300*time.Millisecond)
		if w.now >= s.paused && w.one(2) {
			d = w.between(-5*time.Second, 5*time.Second)
		}
		s.step(d)
	case 8: // disks that hang, or elections without an end
		st.stall(min(w.between(0, 20*time.Second), eventful-w.now))
	case 10:
		st.split(w.between(3*time.Second, 15*time.Second))
	case 9:
		st.lose(w.holder())
	default:
		w.mend()
	}
}

// stall has the quorum agree to nothing for a while. Somebody of ill will is the first to
// ask for something then.
func (st *story) stall(d time.Duration) {
	w := st.world
	w.log.stalled = w.now + d
	w.say("the quorum agrees to nothing until %v", w.log.stalled)
	if st.nags {
		w.after(d+w.between(0, 100*time.Millisecond), st.depose)
	}
}

// split cuts members into two halves for a while.
func (st *story) split(d time.Duration) {
	w := st.world
	w.cleave(w.rng.IntN(1 << len(w.members)))
	w.after(d, w.mend)
}

// operate has an operator do something now and then.
func (st *story) operate() {
	w := st.world
	w.after(w.between(time.Second, 9*time.Second), func() {
		switch {
		case w.now >= eventful:
			return
		case w.now >= st.quiet:
			st.command()
		}
		st.operate()
	})
}

func (st *story) command() {
	w, s := st.world, st.world.log.state
	to := nameOf(w.rng.IntN(len(w.servers)))
	tell := func(c ledger.Command) { w.members[w.rng.IntN(len(w.members))].propose(c, nil) }
	switch w.rng.IntN(11) {
	case 10:
		to := w.servers[w.rng.IntN(len(w.servers))]
		if w.service != nil {
			w.service.detach(tell)
			w.service.ask(to.id, false)
			return
		}
		st.meddle(to)
	case 0: // the primary may be alive
		l := w.log.leader
		if to != s.Lease.Holder && l != nil && l.chief != nil && (w.one(3) || passes(l, to, false)) {
			tell(ledger.Command{Depose: &ledger.Depose{Epoch: s.Lease.Epoch, Wish: to, Why: "an operator wants it"}})
		}
	case 1, 2: // it may be promoted again
		for _, region := range s.Watch.Judge.Left {
			tell(ledger.Command{Readmit: &ledger.Readmit{Region: region}})
		}
	case 3:
		tell(ledger.Command{Steer: &ledger.Steer{Mode: []string{"automatic", "automatic", "advise", "off"}[w.rng.IntN(4)]}})
	case 4: // it is cancelled
		tell(ledger.Command{Advance: &ledger.Advance{Epoch: s.Handover.Epoch, Step: ledger.Failed, Why: "an operator wants it"}})
	default:
		if w.one(2) {
			st.force()
		}
		st.plan()
	}
}

// plan has an operator move the lease, most often to a Region that is fit.
func (st *story) plan() {
	w, l := st.world, st.world.log.leader
	for range 3 {
		to := nameOf(w.rng.IntN(len(w.servers)))
		if to == w.log.state.Lease.Holder || (!w.one(3) || w.service != nil) && (l == nil || l.chief == nil || !passes(l, to, true)) {
			continue
		}
		w.members[w.rng.IntN(len(w.members))].propose(ledger.Command{Plan: &ledger.Plan{To: to}}, nil)
		return
	}
}

// passes reports whether all is there that a switchover to a Region needs, as the leader
// knows.
func passes(l *member, to string, planned bool) bool {
	for _, c := range l.chief.Precheck(l.observe(), to, planned) {
		if !c.OK {
			return false
		}
	}
	return true
}
