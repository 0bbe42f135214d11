package sim

import (
	"math/rand/v2"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/replica"
)

// A site is one Region: its server, its side store, its app, and what its
// replica knows.
type site struct {
	w      *world
	region crdt.Region
	server *server
	side   *server // nil for none
	filled bool    // its engine has been given all that it lost
	ill    instant // when its engine last came back, or will
	app    *app
	ledger *replica.Ledger
	out    map[crdt.Region]*link // by peer
	in     map[crdt.Region]*link // by origin
}

func newSite(w *world, region crdt.Region, d drawn) *site {
	s := &site{w: w, region: region, filled: true, out: map[crdt.Region]*link{}, in: map[crdt.Region]*link{}}
	dice := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(w.seed, n)) }
	s.server = newServer(w, region, dice(100+uint64(region)), d.engine)
	if d.side {
		s.side = newServer(w, region, dice(200+uint64(region)), d.engine)
	}
	var peers []crdt.Region
	for r := 1; r <= d.regions; r++ {
		if id := crdt.Region(r); id != region { //nolint:gosec // a handful
			peers = append(peers, id)
		}
	}
	s.ledger = replica.NewLedger(peers)
	return s
}

// servers returns the Region's own server and side store.
func (s *site) servers() []*server {
	if s.side == nil {
		return []*server{s.server}
	}
	return []*server{s.server, s.side}
}

// alive reports whether the Region's engine answers.
func (s *site) alive() bool { return s.server.up && s.w.queue.now >= s.server.busy }

// steady is the clock of the replica's process, which does not step.
func (s *site) steady() crdt.Time { return s.w.queue.now.crdt() }

// heard returns how old the last news of a Region is, as replica.Replica does.
func (s *site) heard(origin crdt.Region) (time.Duration, bool) {
	l := s.in[origin]
	at := l.heardAt
	if l.up {
		at = max(at, l.r.HeardAt())
	}
	return s.steady().Sub(at), at != 0
}

// lag returns how late writes of a Region get here.
func (s *site) lag(origin crdt.Region) time.Duration {
	l := s.out[origin]
	if !l.up || l.s.RTT() == 0 {
		return 0
	}
	return l.s.RTT()/2 + 5*time.Millisecond
}

// stable reports whether every Region is known to have a write of this one.
func (s *site) stable(d crdt.Dot) bool {
	return d.Actor.Region() == s.region && s.ledger.Stable().Has(d)
}

// failed ends what the Region's engine had under way, as its connections break.
func (s *site) failed() {
	for _, l := range s.w.links {
		if l.origin == s || l.peer == s {
			l.end(errFailover)
		}
	}
}

const sweepEvery = 5 * time.Second

func (s *site) sweep() {
	for _, server := range s.servers() {
		if server.up {
			server.sweep()
		}
	}
	s.w.queue.after(s.w.slow(sweepEvery), s.sweep)
}

// blank has the replica ask all peers for their states, as it does for an engine
// that lost everything.
func (s *site) blank() {
	s.filled = false
	s.server.refilling(true)
	for _, l := range s.in {
		l.want, l.heardAt = 1<<crdt.Partitions-1, 0
	}
}

// refilled looks whether all peers have given their states.
func (s *site) refilled() {
	if s.filled || !s.server.up {
		return
	}
	for _, l := range s.in {
		if l.wants() != 0 {
			return
		}
	}
	s.filled = true
	s.server.refilling(false)
}
