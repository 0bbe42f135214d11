package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
)

// A server is what keeps the records of one Region, or is its side store: a
// primary, and a copy of it that is given the primary's calls some time later.
type server struct {
	w      *world
	region crdt.Region
	queue  *queue
	dice   *rand.Rand
	config memory.Config

	core    *memory.Core
	copy    *memory.Core
	calls   []call        // that the copy has not been given yet
	lag     time.Duration // of the copy
	skew    time.Duration // of the primary's clock
	up      bool
	refuses bool // while it is down: connections are refused, not lost
	life    int  // counts primaries, so that what was asked of one ends with it
	busy    instant
	hangs   int
}

// A call changed the primary and will change the copy.
type call struct {
	due instant
	now crdt.Time
	do  func(*memory.Core, crdt.Time)
}

func newServer(w *world, region crdt.Region, dice *rand.Rand, c memory.Config) *server {
	s := &server{w: w, region: region, queue: w.queue, dice: dice, config: c, up: true}
	s.core = memory.NewCore(s.newActor(), c)
	s.copy = s.core.Clone()
	s.redraw()
	return s
}

func (s *server) newActor() crdt.Actor { return crdt.NewActor(s.region, s.dice.Uint32()) }

// mostSkew is how wrong a clock may be, either way.
const mostSkew = 20 * time.Second

// mostAhead is how far ahead an engine's clock may be that has jumped.
const mostAhead = mostSkew + 10*time.Second

// redraw gives the primary another clock and the copy another lag. Both change
// only with the primary: while one actor writes, its clock may jump ahead and
// not back, which replica.Ledger.Stable relies on.
func (s *server) redraw() {
	s.lag = time.Duration([]int{4, 40, 400, 1500}[s.dice.IntN(4)]) * time.Millisecond
	s.skew = 0
	if s.dice.IntN(2) == 0 {
		s.skew = time.Duration(s.dice.Int64N(2*int64(mostSkew))) - mostSkew
	}
}

func (s *server) now() crdt.Time { return s.queue.now.add(s.skew).crdt() }

// do has the primary do something that changes it, and the copy later.
func (s *server) do(f func(*memory.Core, crdt.Time)) {
	now := s.now()
	f(s.core, now)
	s.follow(now, f)
}

// held returns when the copy will have all that the primary has now.
func (s *server) held() instant {
	if n := len(s.calls); n > 0 {
		return s.calls[n-1].due
	}
	return s.queue.now
}

func (s *server) follow(now crdt.Time, f func(*memory.Core, crdt.Time)) {
	due := s.queue.now.add(s.lag)
	if n := len(s.calls); n > 0 {
		due = max(due, s.calls[n-1].due)
	}
	s.calls = append(s.calls, call{due, now, f})
	s.catchUp()
}

// read returns what the primary has of k.
func (s *server) read(k crdt.Key) (crdt.Record, error) {
	rec := s.core.Read(s.now(), k)
	if s.core.Refilling(k) {
		return rec, engine.ErrRefilling
	}
	return rec, nil
}

// refilling notes whether the primary is being given back what it lost.
func (s *server) refilling(on bool) {
	s.do(func(c *memory.Core, _ crdt.Time) { c.SetRefilling(on) })
}

// apply applies op at the primary.
func (s *server) apply(k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	if site := s.w.sites[s.region]; s == site.server && s.w.primary != 0 && s.w.primary != s.region {
		return crdt.Dot{}, engine.ErrNotPrimary
	}
	now := s.now()
	dot, err := s.core.Apply(now, k, op)
	if err == nil && !dot.IsZero() {
		s.follow(now, func(c *memory.Core, now crdt.Time) {
			_, _ = c.Apply(now, k, op) // does what it did at the primary
		})
	}
	return dot, err
}

// ingest takes in a batch from a peer.
func (s *server) ingest(from crdt.Region, b engine.Batch) (res engine.Ingested, err error) {
	b.Frags = slices.Clone(b.Frags)
	now := s.now()
	if res, err = s.core.Ingest(now, from, b); err != nil {
		return res, err
	}
	s.follow(now, func(c *memory.Core, now crdt.Time) { _, _ = c.Ingest(now, from, b) })
	return res, nil
}

// catchUp gives the copy what is due.
func (s *server) catchUp() {
	n := 0
	for n < len(s.calls) && s.calls[n].due <= s.queue.now {
		c := s.calls[n]
		c.do(s.copy, c.now)
		n++
	}
	s.calls = s.calls[n:]
}

// down takes the primary away.
func (s *server) down() {
	s.up, s.refuses = false, s.dice.IntN(2) == 0
	s.life++
}

// failOver makes the copy the primary; what it was not given is lost.
func (s *server) failOver() {
	s.catchUp()
	s.core, s.calls = s.copy, nil
	s.core.Promote(s.newActor())
	s.copy = s.core.Clone()
	s.redraw()
	s.up = true
	s.life++
}

// forget loses everything: primary, copy and log.
func (s *server) forget() {
	s.core, s.calls = memory.NewCore(s.newActor(), s.config), nil
	s.copy = s.core.Clone()
	s.redraw()
	s.up = true
	s.life++
}

// sweep drops what is past its time, as engines do now and then.
func (s *server) sweep() {
	s.do(func(c *memory.Core, now crdt.Time) {
		for p := range uint16(crdt.Partitions) {
			for c.Sweep(now, p, 1<<10) {
			}
		}
	})
}
