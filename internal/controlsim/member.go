package controlsim

import (
	"time"

	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/lease"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/steer"
)

const (
	// period is how often members report.
	period = time.Second
	// lookEvery is how often a server is looked at; lookHurried, while the mark of a
	// switchover is waited for.
	lookEvery   = 250 * time.Millisecond
	lookHurried = 10 * time.Millisecond
	// beatEvery is how often the holder's server has a heartbeat.
	beatEvery = 100 * time.Millisecond
	// actTime is how long somebody waits for what was asked for.
	actTime = 2 * time.Second
)

// A member is one of the control plane. What it has applied, and what its voter has
// consented to, is on its disk.
type member struct {
	world   *world
	id      int
	name    string
	witness bool

	up    bool
	life  int
	begun time.Duration // of its clock
	rate  float64       // at which that runs
	ahead time.Duration // by how much its wall clock is wrong

	state     ledger.State
	applied   int
	learning  bool
	deaf      time.Duration // until then it is not told what was agreed
	chain     time.Duration // when what steers the server has its turn
	sent      time.Duration // and arrives there
	slow      time.Duration // until then what it asks of its server takes long
	consented uint64        // on disk
	voter     *lease.Voter

	leads    int // the term that it leads, as it believes; 0: it does not
	accedes  int // the entry that it must have applied before it decides
	standing bool
	chief    *steer.Chief

	local     *steer.Local // nil: a witness
	read      reading
	try       uint64 // that read is of
	looks     int
	looking   bool
	salvaging bool
	server    steer.Server
	led       int // the life of its server, plus one, in which that was seen to be a primary last
	followed  int // and a replica
	grew      time.Duration
	reports   [mostMembers]heard
	seen      []steer.Report // of the last observation
}

// heard is what a member reported last.
type heard struct {
	steer.Report
	heard   [mostMembers]bool // which others it hears
	skew    time.Duration     // of its clock to ours
	arrived lease.Time
	ok      bool
}

func (m *member) now() lease.Time { return lease.Time(m.rate * float64(m.world.now-m.begun)) }

// wall returns how long ago its clock says that noon was.
func (m *member) wall() time.Duration {
	return m.ahead + time.Duration(m.rate*float64(m.world.now))
}

func (m *member) start() {
	if m.up {
		return
	}
	w := m.world
	m.up, m.begun, m.rate = true, w.now-w.between(0, time.Hour), w.rate()
	m.ahead = w.between(-time.Second, time.Second)
	m.life++
	m.voter = lease.NewVoter(w.lease, m.consented, m.now())
	m.leads, m.chief, m.standing, m.learning = 0, nil, false, false
	m.looking, m.salvaging, m.server, m.reports = false, false, steer.Server{}, [mostMembers]heard{}
	m.read, m.grew, m.led, m.followed = reading{}, w.now, 0, 0
	w.say("%s starts", m.name)
	if !m.witness {
		var others []string
		for _, o := range w.members {
			if o != m {
				others = append(others, o.name)
			}
		}
		m.local = steer.NewLocal(steer.LocalConfig{Region: m.name, Others: others, Lease: w.lease})
		m.do(m.local.Agreed(m.state, m.now()))
		m.look()
		m.beat()
	}
	m.tick()
	m.later(w.between(0, period), m.report)
}

func (m *member) crash() {
	if m.up {
		m.world.say("%s crashes", m.name)
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
		m.tick()
		m.learnSoon()
		if m.local != nil {
			m.do(m.local.Tick(m.now()))
		}
		m.lead()
	})
}

// learnSoon has a member that is behind catch up.
func (m *member) learnSoon() {
	if m.applied < len(m.world.log.entries) {
		m.learn()
	}
}

// lead does what leaders do, and what is done to have one.
func (m *member) lead() {
	w := m.world
	switch {
	case m.leads == 0:
		m.stand()
		return
	case m.leads != w.log.term && w.one(8), !m.majority() && w.one(30):
		m.leads, m.chief = 0, nil // it has heard, or hears nobody
		return
	}
	if m.chief == nil && w.leads(m) && m.applied >= m.accedes {
		chief, err := steer.NewChief(m.world.chief(m), m.state, m.now())
		if err != nil {
			w.violation("shell", "no Chief: %v", err)
			return
		}
		m.chief = chief
		w.say("%s decides", m.name)
	}
	if m.chief == nil {
		return
	}
	if m.state.Setup.Version == 0 {
		m.propose(ledger.Command{Describe: &ledger.Describe{Setup: w.setup(), Epoch: m.server.Beat.Epoch + 1}}, nil)
		return
	}
	m.do(m.chief.Tick(m.observe(), m.now()))
}

// setup returns what everybody's roam.yaml says.
func (w *world) setup() ledger.Setup {
	return ledger.Setup{Version: 1, Regions: w.judge.Regions, Leases: true, Primary: nameOf(0)}
}

// chief returns what a leader goes by.
func (w *world) chief(m *member) steer.ChiefConfig {
	c := steer.ChiefConfig{Self: m.name, Lease: w.lease, Judge: w.judge}
	if w.service != nil {
		c.Promotion = serviceTime
	}
	for _, o := range w.members {
		c.Members = append(c.Members, o.name)
		if o.witness {
			c.Witnesses = append(c.Witnesses, o.name)
		}
	}
	return c
}

// observe returns what a Chief goes by.
func (m *member) observe() steer.Observation {
	o := steer.Observation{State: m.state, Wall: noon.Add(m.wall()), Reports: m.seen[:0]}
	for i := range m.world.members {
		if h := &m.reports[i]; h.ok {
			o.Reports = append(o.Reports, h.Report)
		}
	}
	m.seen = o.Reports
	return o
}

// report tells all members what this one sees, once a period.
func (m *member) report() {
	w := m.world
	h := heard{ok: true, skew: m.wall()}
	for i, o := range w.members {
		h.heard[i] = o != m && m.hears(i)
	}
	h.Member, h.Server = m.name, m.server
	h.Views = make([]judge.View, 0, len(w.servers))
	for i := range w.servers {
		if i == m.id {
			h.Views = append(h.Views, judge.View{
				Region: m.name, In: judge.Up, Out: judge.Up, Engine: sight(m.server.Known), Beat: m.server.Beat, Clock: m.server.Clock,
			})
			continue
		}
		h.Views = append(h.Views, m.sees(i))
	}
	for _, o := range w.members {
		if o == m {
			m.hear(m.id, h)
			continue
		}
		w.send(m.id, o.id, func() {
			if o.up {
				o.hear(m.id, h)
			}
		})
	}
	m.later(time.Duration(float64(period)/m.rate), m.report)
}

// hear takes in a report.
func (m *member) hear(from int, h heard) {
	h.At, h.arrived = noon.Add(m.wall()), m.now()
	h.skew -= m.wall()
	m.reports[from] = h
}

// hears reports whether another member was heard a moment ago.
func (m *member) hears(i int) bool {
	return m.reports[i].ok && m.now().Sub(m.reports[i].arrived) <= 3*period/2
}

// sees returns what this member sees of another Region.
func (m *member) sees(i int) judge.View {
	v := judge.View{Region: nameOf(i)}
	h := &m.reports[i]
	if !h.ok {
		if m.world.now > 3*period {
			v.In = judge.Down
		}
		return v
	}
	v.Beat = h.Server.Beat
	if !m.hears(i) {
		v.In = judge.Down
		return v
	}
	v.In, v.Out, v.Engine = judge.Up, judge.Down, sight(h.Server.Known)
	if h.heard[m.id] {
		v.Out = judge.Up
	}
	if h.Server.Clock != nil {
		ahead := *h.Server.Clock + h.skew
		v.Clock = &ahead
	}
	return v
}

func sight(up bool) judge.Sight {
	if up {
		return judge.Up
	}
	return judge.Down
}

// look looks at the server now and then, one look at a time.
func (m *member) look() {
	w := m.world
	every := lookEvery
	if m.local.Hurried() {
		every = lookHurried
	}
	m.later(every, m.look)
	if m.looking {
		return
	}
	m.looking = true
	m.looks++
	look := m.looks
	m.later(actTime, func() {
		if m.looking && m.looks == look {
			m.looking = false
			m.saw(steer.Server{})
		}
	})
	server := w.servers[m.id]
	m.chained(false, nil, func() {
		s := m.seesServed(server)
		m.later(w.between(0, 3*time.Millisecond), func() {
			if m.looking && m.looks == look {
				m.looking = false
				m.saw(s)
			}
		})
	})
}

// see returns how a server is.
func (m *member) see(s *server) steer.Server {
	ahead := s.clock() - m.wall()
	out := steer.Server{
		Known: true, Run: s.run(), Primary: s.primary, Linked: !s.primary && s.linked, Marked: s.marked, Beat: s.beat, Clock: &ahead,
	}
	if s.primary {
		m.led, out.Turned = s.life+1, m.followed == s.life+1
		return out
	}
	m.followed, out.Turned = s.life+1, m.led == s.life+1
	out.Follows = nameOf(s.follows)
	return out
}

// seesServed is see, as it is where a service manages the servers.
func (m *member) seesServed(s *server) steer.Server {
	out := m.see(s)
	if v := m.world.service; v != nil {
		return v.see(m, s, out)
	}
	return out
}

// saw takes in a look at the server.
func (m *member) saw(s steer.Server) {
	w := m.world
	if s.Beat != m.server.Beat {
		m.grew = w.now
	}
	s.Quiet = w.now - m.grew
	if !s.Known {
		s.Beat, s.Marked = m.server.Beat, m.server.Marked
	}
	m.server = s
	m.do(m.local.Saw(s, m.now()))
}

// beat has the holder's server have heartbeats.
func (m *member) beat() {
	m.later(beatEvery, func() {
		m.beat()
		if epoch, ok := m.local.Holds(); ok {
			m.chained(true, nil, func() { m.world.servers[m.id].beats(epoch) })
		}
		m.world.servers[m.id].spools()
	})
}
