package controlsim

import (
	"slices"
	"strconv"
	"time"

	"github.com/roam-sessions/roam/internal/judge"
)

const (
	// rests is for how long a server takes no writes that has marked the end of an epoch.
	rests = 3 * time.Second
	// spoolLag is how far a node's spool is behind its server's log, at least, and where the
	// node's disk is slow.
	spoolLag = 100 * time.Millisecond
	// unsynced is how old what is not on a server's disk may be.
	unsynced     = time.Second
	slowSpoolLag = time.Second
)

// A server is a Region's. It replicates another one as Valkey does, and keeps a lease as
// engine/valkey's functions do: in its memory, by its own clock, for one epoch and while
// it is the same primary.
type server struct {
	world *world
	id    int

	up      bool
	life    int           // restarts
	skew    time.Duration // of its clock
	rate    float64       // at which it runs
	paused  time.Duration // until then it does nothing
	resting time.Duration // until then it writes nothing

	primary bool
	follows int
	linked  bool
	link    int  // counts connections, so that what was on one that is gone is lost
	flying  bool // something is on its way here
	copying bool // it is being given all data

	replid  int // of its history, and the one before up to the entry before
	before  int
	upto    int
	history []record
	data    set              // all writes that it has
	entries [mostMembers]set // those that came in what each server wrote, as it took them
	brought [mostMembers]set // and as it took them in from elsewhere
	marked  uint64
	beat    judge.Beat

	lease  held
	whole  uint64 // since this epoch it has kept what it took; 0: somebody made it follow another one
	byHand bool   // somebody made it a primary

	own     set // what it ever took itself
	spool   set // what its node has of what it took
	took    []taken
	spooled int
	lags    time.Duration // what is spooled, behind what is taken
	burnt   bool          // its disk was lost, and it was given no data since
	gone    bool          // it is to come back when somebody else holds the lease
}

// A held is a lease.
type held struct {
	epoch  uint64 // 0: there was none
	over   bool   // for good
	stop   time.Duration
	seen   time.Duration
	replid int
}

// A record is one entry of a history.
type record struct {
	kind  recordKind
	by    int // the server that wrote it
	write int
	epoch uint64
	at    time.Duration // of a beat, by the clock of its server
	when  time.Duration // it was written
}

type recordKind uint8

const (
	written recordKind = iota
	adopted            // another one took it
	mark
	beating
)

// taken is a write that was taken, and when.
type taken struct {
	write int
	at    time.Duration
}

// run names the process.
func (s *server) run() string { return strconv.Itoa(s.life) }

// clock returns what its clock says.
func (s *server) clock() time.Duration {
	return s.skew + time.Duration(s.rate*float64(s.world.now))
}

// does has it do something when it is not paused, and what writes when it does not rest
// either. What still waits when it rests anew is given up by then.
func (s *server) does(writes bool, do func()) {
	w, life := s.world, s.life
	switch {
	case !s.up:
	case s.paused > w.now:
		w.after(s.paused-w.now, func() {
			if s.life == life {
				s.does(writes, do)
			}
		})
	case writes && s.resting > w.now:
		w.after(s.resting-w.now, func() {
			if s.life == life && s.paused <= w.now && s.resting <= w.now {
				do()
			}
		})
	default:
		do()
	}
}

// grants is roam_v1_grant, with the ID of the server whose clock it goes by. over: it does
// not take it, for good; neither: it is asked for its clock again.
func (s *server) grants(epoch uint64, replid int, stop time.Duration) (took, over bool) {
	l := &s.lease
	switch {
	case !s.primary, epoch < l.epoch, epoch == l.epoch && l.over:
		return false, true
	case replid != s.replid:
		return false, false
	}
	first := epoch != l.epoch
	s.lease = held{epoch, false, stop, s.clock(), s.replid}
	if s.whole == 0 {
		s.whole = epoch
	}
	s.world.trace(epoch)
	s.world.oracle.granted(s, first)
	return true, false
}

// ends has it let go of an epoch, for good.
func (s *server) ends(epoch uint64) {
	if l := &s.lease; s.primary && epoch >= l.epoch && (epoch > l.epoch || !l.over) {
		s.lease = held{epoch, true, 0, s.clock(), s.replid}
	}
	s.world.oracle.ended(epoch)
}

// live reports whether it would take a write of its epoch now.
func (s *server) live() bool {
	l := &s.lease
	return s.up && s.primary && l.epoch > 0 && !l.over && l.replid == s.replid && s.clock() < l.stop && s.clock() >= l.seen
}

// fenced is what the script that writes asks.
func (s *server) fenced(epoch uint64) bool {
	l, now := &s.lease, s.clock()
	if l.epoch == 0 {
		return true
	}
	if now < l.seen {
		l.stop = 0
	}
	l.seen = now
	return epoch != l.epoch || now >= l.stop || l.over || l.replid != s.replid
}

// takes has it take a client's write, and returns its number.
func (s *server) takes(epoch uint64) (write int, ok bool) {
	if !s.primary || s.fenced(epoch) {
		return 0, false
	}
	write = s.world.oracle.take(s, epoch)
	s.own.add(write)
	s.took = append(s.took, taken{write, s.world.now})
	s.append(record{kind: written, write: write, epoch: epoch})
	return write, true
}

// adopts has it take in writes that others took.
func (s *server) adopts(epoch uint64, writes set) bool {
	if !s.primary || s.fenced(epoch) {
		return false
	}
	for _, write := range writes.without(s.data).all() {
		s.took = append(s.took, taken{write, s.world.now})
		s.append(record{kind: adopted, write: write, epoch: epoch})
	}
	return true
}

// marks writes down that an epoch is over, and rests then.
func (s *server) marks(epoch uint64) bool {
	if !s.primary {
		return false
	}
	if epoch > s.marked {
		s.append(record{kind: mark, epoch: epoch})
		s.world.say("server %s marks epoch %d", nameOf(s.id), epoch)
	}
	s.resting = s.world.now + rests
	s.world.oracle.marked(s, epoch)
	return true
}

// beats writes a heartbeat.
func (s *server) beats(epoch uint64) {
	if s.primary && epoch > s.marked && epoch >= s.beat.Epoch {
		s.append(record{kind: beating, epoch: epoch, at: s.clock()})
	}
}

// append writes something.
func (s *server) append(r record) {
	r.by, r.when = s.id, s.world.now
	s.history = append(s.history, r)
	s.learns(r)
	s.feed()
}

// learns takes in an entry of a history.
func (s *server) learns(r record) {
	switch r.kind {
	case written:
		s.data.add(r.write)
		s.entries[r.by].add(r.write)
	case adopted: // under another name than what it took itself, which a receipt is about
		s.data.add(r.write)
		s.brought[r.by].add(r.write)
	case mark:
		s.marked = max(s.marked, r.epoch)
	case beating:
		s.beat = judge.Beat{Epoch: r.epoch, N: s.beat.N + 1, At: noon.Add(r.at)}
	}
}

// forgets has it have nothing.
func (s *server) forgets() {
	s.history, s.data, s.marked, s.beat = nil, nil, 0, judge.Beat{}
	s.entries, s.brought = [mostMembers]set{}, [mostMembers]set{}
}

// spools has the node keep what its server took, a moment later.
func (s *server) spools() {
	w := s.world
	if !s.up || s.paused > w.now {
		return
	}
	for s.spooled < len(s.took) && s.took[s.spooled].at+s.lags <= w.now {
		s.spool.add(s.took[s.spooled].write)
		s.spooled++
	}
}

// tear loses the last of what its disk has, as a machine that is switched off does.
func (s *server) tear() {
	w := s.world
	n, since := len(s.history), w.now-w.between(0, unsynced)
	for n > 0 && s.history[n-1].when > since {
		n--
	}
	if n == len(s.history) {
		return
	}
	w.say("server %s has lost %d entries", nameOf(s.id), len(s.history)-n)
	had := s.data
	kept := s.history[:n:n]
	s.forgets()
	for _, r := range kept {
		s.learns(r)
	}
	s.history = kept
	s.took = slices.DeleteFunc(s.took[s.spooled:], func(t taken) bool { return !s.data.has(t.write) })
	s.spooled = 0
	w.oracle.tears(had.without(s.data).without(s.spool))
}

// kill has it be gone, with its disk or not. Of two disks one is never lost while what the
// other one had is not everywhere again.
func (s *server) kill(lost bool) {
	lost = lost && s.world.service == nil // a managed one has replicas of its own
	for _, o := range s.world.servers {
		lost = lost && (o == s || !o.gone && o.data.len() > 0)
	}
	if s.up {
		s.world.say("server %s is killed, its disk lost: %v", nameOf(s.id), lost)
	}
	s.up, s.linked, s.flying, s.copying, s.paused, s.resting = false, false, false, false, 0, 0
	s.life++
	s.link++
	s.lease = held{}
	s.drop()
	if !lost && s.world.one(3) {
		s.tear()
	}
	if lost {
		s.world.oracle.burns(s)
		s.burnt, s.gone = true, true
		s.forgets()
		s.took, s.spooled = nil, 0
	}
}

// awaited reports whether the control plane waits for this server, which must not come
// back empty then: others would copy it.
func (s *server) awaited() bool {
	st, me := s.world.log.state, nameOf(s.id)
	h := s.world.holder()
	return st.Lease.Holder == me || st.Lease.Deposed && st.Lease.Wish == me || st.Handover.Pending() && st.Handover.To == me ||
		!h.up || h.gone || !h.primary
}

// start has it come back, as a primary without a lease, or as the replica that it was.
func (s *server) start() {
	w := s.world
	if s.up {
		return
	}
	if s.gone && s.awaited() {
		w.after(time.Second, s.start)
		return
	}
	s.up, s.gone, s.whole = true, false, 0
	w.say("server %s starts", nameOf(s.id))
	s.renames()
	s.before = 0
	if w.service != nil && !s.primary {
		s.connect()
		return
	}
	if s.primary || w.one(2) {
		s.primary = true
		return
	}
	s.connect()
}

// renames gives its history another ID.
func (s *server) renames() {
	s.world.log.replids++
	s.replid = s.world.log.replids
}

// pause stops the process for a while.
func (s *server) pause(d time.Duration) {
	s.world.say("server %s stops for %v", nameOf(s.id), d)
	s.paused = s.world.now + d
}

// step has its clock step. If that is far, somebody writes before it has caught up: what
// steps back and stops in the same moment is beyond what a lease can bear.
func (s *server) step(d time.Duration) {
	s.world.say("clock of server %s steps by %v", nameOf(s.id), d)
	s.skew += d
	if d < -s.world.lease.Guard/2 {
		s.fenced(s.lease.epoch)
	}
}
