package leasesim

import "time"

// A server is a Region's. It keeps a lease as engine/valkey's functions do: in its
// memory, by its own clock, for one epoch and while it is the same primary.
type server struct {
	world *world
	id    int

	skew   time.Duration // of its clock
	rate   float64       // at which it runs
	paused time.Duration // until then it does nothing

	epoch uint64
	over  bool // for good
	stop  time.Duration
	seen  time.Duration
	life  int // restarts
}

func newServer(w *world, id int) *server {
	return &server{
		world: w, id: id, skew: w.between(0, 20*time.Second), rate: w.rate(),
	}
}

// clock returns what its clock says.
func (s *server) clock() time.Duration {
	return s.skew + time.Duration(s.rate*float64(s.world.now))
}

// does has it do something, when it is not paused.
func (s *server) does(do func()) {
	if wait := s.paused - s.world.now; wait > 0 {
		life := s.life
		s.world.after(wait, func() {
			if s.life == life {
				s.does(do)
			}
		})
		return
	}
	do()
}

// grant is roam_v1_grant. life is of the server whose clock it goes by.
func (s *server) grant(epoch uint64, life int, stop time.Duration) (took bool) {
	if epoch < s.epoch || epoch == s.epoch && s.over || life != s.life {
		return life != s.life // it has started anew, and is asked for its clock again
	}
	s.epoch, s.over, s.stop, s.seen = epoch, stop == 0, stop, s.clock()
	s.world.say("server %d holds epoch %d until %v of its clock, in %v", s.id, epoch, stop, stop-s.clock())
	for _, other := range s.world.servers {
		if other != s && s.live() && other.live() {
			s.world.violation("server %d holds epoch %d and server %d epoch %d", s.id, s.epoch, other.id, other.epoch)
		}
	}
	return true
}

// live reports whether it would take a write now.
func (s *server) live() bool { return s.epoch > 0 && s.clock() < s.stop && s.clock() >= s.seen }

// fenced is what the script that writes asks.
func (s *server) fenced(epoch uint64) bool {
	now := s.clock()
	if now < s.seen {
		s.stop = 0
	}
	s.seen = now
	return s.epoch == 0 || epoch != s.epoch || now >= s.stop
}

func (s *server) restart() {
	s.world.say("server %d starts anew", s.id)
	s.epoch, s.over, s.stop, s.seen = 0, false, 0, 0
	s.life++
}

func (s *server) pause(d time.Duration) {
	s.world.say("server %d stops for %v", s.id, d)
	s.paused = s.world.now + d
}

// step has its clock step. If that is far, somebody writes before it has caught up: what
// steps back and stops in the same moment is beyond what a lease can bear.
func (s *server) step(d time.Duration) {
	s.world.say("clock of server %d steps by %v", s.id, d)
	s.skew += d
	if d < -s.world.config.Guard/2 {
		s.fenced(s.epoch)
	}
}

// write has somebody write now and then, in the server's epoch or in one that is over.
func (s *server) write() {
	w := s.world
	w.after(w.between(0, 600*time.Millisecond), func() {
		s.write()
		epoch := s.epoch
		if epoch > 1 && w.rng.IntN(10) == 0 {
			epoch = 1 + w.rng.Uint64N(epoch-1)
		}
		if w.now < s.paused || s.fenced(epoch) {
			return
		}
		if epoch < s.epoch {
			w.violation("server %d took a write of epoch %d in epoch %d", s.id, epoch, s.epoch)
		}
		w.out.Writes++
		w.lastHeld = w.now
		if s.epoch < w.newest {
			w.violation("server %d took a write of epoch %d, and epoch %d took one at %v", s.id, s.epoch, w.newest, w.newestAt)
		}
		if s.epoch > w.newest {
			w.newest, w.newestAt = s.epoch, w.now
		}
	})
}
