package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/roam-sessions/roam/internal/lease"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/quorum"
	"github.com/roam-sessions/roam/internal/steer"
)

const (
	// tick is how often what decides is told the time.
	tick = 50 * time.Millisecond
	// lookEvery is how often the server is looked at; lookHurried, while the mark of a
	// switchover is waited for.
	lookEvery   = 250 * time.Millisecond
	lookHurried = 2 * time.Millisecond
	// beatEvery is how often the holder's server has a heartbeat.
	beatEvery = 100 * time.Millisecond
	// silence is for how long the quorum's leader may be unheard before nothing is asked of
	// it: four of its heartbeats.
	silence = 800 * time.Millisecond
	// actTime bounds whatever is done at the server or with the quorum, but for salvage.
	actTime = 2 * time.Second
)

var (
	// ErrNotLeader says that only the quorum's leader can do that.
	ErrNotLeader = errors.New("this member does not lead the quorum")
	// ErrAmnesia says that a member's files are gone that others have heard of.
	ErrAmnesia = errors.New("the files of this member are gone")
)

// A Member is one member of the control plane. Its methods may be called by many
// goroutines.
type Member struct {
	config  Config
	quorum  *quorum.Member
	machine *machine
	client  *client
	voting  *voting
	start   time.Time
	mail    *mailbox
	done    <-chan struct{} // closed when the member ends
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	unread  atomic.Bool // it has a file of an earlier life, and has not applied it yet

	// The loop's.
	local     *steer.Local // nil: a witness, or there are no leases
	chief     *steer.Chief // nil: somebody else leads
	state     ledger.State
	grant     GrantFunc // from the clocks that were read last
	grantTry  uint64
	looking   bool
	salvaging bool
	parted    parting
	gathering bool
	server    steer.Server
	grew      time.Time // when the server's beat last grew
	reports   map[string]heard
	term      uint64 // that this member leads, or leads not

	mu     sync.Mutex // guards what follows
	leader string     // empty: nobody that is known
	view   *Status    // nil: nothing yet
}

// Open starts a member. It runs until Close or the end of ctx; close it then too. It
// fails with ErrAmnesia if its files are gone though others have heard of it; ctx bounds
// how long it asks them for that.
func Open(ctx context.Context, c Config) (*Member, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of the member: %w", err)
	}
	m := &Member{
		config: c, machine: newMachine(), start: time.Now(), mail: newMailbox(), client: newClient(c), reports: map[string]heard{},
	}
	if m.voting, err = openVoting(filepath.Join(c.Dir, "voter.json"), c.Lease, m.now()); err != nil {
		return nil, err
	}
	self, _ := c.peer(c.Self)
	path := filepath.Join(c.Dir, "quorum.db")
	begins, err := m.begins(ctx, path)
	if err != nil {
		return nil, err
	}
	if c.Server != nil && c.Server.Leased != nil {
		m.local = steer.NewLocal(steer.LocalConfig{Region: c.Self, Others: names(c.others()), Lease: c.Lease})
	}
	_, witnesses := c.witnesses()
	var peers []quorum.Peer
	var founders []uint64
	for _, p := range c.Members {
		if p.Name != c.Self || begins != enters {
			founders = append(founders, p.ID)
		}
		if p.Name != c.Self {
			peers = append(peers, quorum.Peer{ID: p.ID, Region: p.Name, Addr: p.Links})
		}
	}
	ctx, m.cancel = context.WithCancel(ctx)
	m.done = ctx.Done()
	m.machine.ended, m.machine.halt = m.done, m.halted
	m.quorum, err = quorum.Open(ctx, quorum.Config{
		Rules: quorum.Rules{ID: self.ID, Witnesses: witnesses}, Name: c.Deployment, Founders: founders, Peers: peers,
		Path: path, Create: begins != resumes, Listener: c.Listener, Keeper: c.Keeper, OnLead: func(l quorum.Leadership) { m.led(ctx, l) }, Log: c.Log,
		Dial: func(ctx context.Context, addr string) (net.Conn, error) { return c.Dial(ctx, "tcp", addr) },
	}, m.machine)
	if err != nil {
		m.cancel()
		return nil, err
	}
	m.unread.Store(false)
	// What the file has was news in an earlier life. To act on it once more, step by step,
	// would have the primary's server follow whoever led before.
	m.machine.tell(m.applied)
	m.publish() // nobody else is there yet
	m.wg.Go(func() { m.run(ctx) })
	m.wg.Go(func() { m.beat(ctx) })
	m.wg.Go(func() { m.reportAll(ctx) })
	m.wg.Go(func() { m.join(ctx) })
	return m, nil
}

// now returns the time by a clock that does not step.
func (m *Member) now() lease.Time { return lease.Time(time.Since(m.start)) }

// halted is told what this version can't live with.
func (m *Member) halted(err error) {
	m.config.Log.Error("this member stops: run the version of the others", "err", err)
	m.cancel()
}

// Close ends the member. The servers' lease, if it holds one, is left to end by itself:
// another node of the Region, or this one after a restart, goes on with it.
func (m *Member) Close() error {
	m.cancel()
	m.wg.Wait()
	err := m.quorum.Close()
	m.client.close()
	return err
}

// run owns what decides.
func (m *Member) run(ctx context.Context) {
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	var acts sync.WaitGroup
	defer acts.Wait()
	looks := time.NewTimer(0)
	defer looks.Stop()
	do := func(todo []steer.Act) {
		for _, a := range todo {
			m.act(ctx, &acts, a)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.mail.ready:
			hurried := m.hurried()
			for _, letter := range m.mail.take() {
				do(letter())
			}
			if !hurried && m.hurried() {
				looks.Reset(0)
			}
		case <-ticks.C:
			if m.local != nil {
				do(m.local.Tick(m.now()))
			}
			if m.chief != nil {
				do(m.chief.Tick(m.observe(), m.now()))
			}
			m.gather(ctx, &acts)
			m.publish()
		case <-looks.C:
			m.look(ctx, &acts)
			looks.Reset(m.nextLook())
		}
	}
}

// hurried reports whether the server is to be looked at as often as can be.
func (m *Member) hurried() bool { return m.local != nil && m.local.Hurried() }

func (m *Member) nextLook() time.Duration {
	if m.hurried() {
		return lookHurried
	}
	return lookEvery
}

// look asks the server how it is, if nobody does.
func (m *Member) look(ctx context.Context, acts *sync.WaitGroup) {
	if m.looking || m.config.Server == nil {
		return
	}
	m.looking = true
	acts.Go(func() {
		asking, cancel := context.WithTimeout(ctx, actTime)
		defer cancel()
		s, err := m.config.Server.Look(asking)
		if err != nil {
			s = steer.Server{}
		}
		s.Known = err == nil
		m.mail.put(func() []steer.Act {
			m.looking = false
			if s.Beat.Epoch != m.server.Beat.Epoch || s.Beat.N != m.server.Beat.N || m.grew.IsZero() {
				m.grew = time.Now()
			}
			s.Quiet = time.Since(m.grew)
			if !s.Known {
				s.Beat, s.Marked = m.server.Beat, m.server.Marked // it may not have lost them
			}
			m.server = s
			if m.local == nil {
				return nil
			}
			return m.local.Saw(s, m.now())
		})
	})
}

// beat has the holder's server have heartbeats.
func (m *Member) beat(ctx context.Context) {
	if m.local == nil {
		return
	}
	ticks := time.NewTicker(beatEvery)
	defer ticks.Stop()
	busy := make(chan struct{}, 1)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		m.mail.put(func() []steer.Act {
			epoch, ok := m.local.Holds()
			if !ok {
				return nil
			}
			select {
			case busy <- struct{}{}:
			default:
				return nil
			}
			m.wg.Go(func() {
				beating, cancel := context.WithTimeout(ctx, actTime)
				defer cancel()
				if err := m.config.Server.Beat(beating, epoch); err != nil && ctx.Err() == nil {
					m.config.Log.Debug("no heartbeat", "epoch", epoch, "err", err) // that there is none is seen
				}
				<-busy
			})
			return nil
		})
	}
}

// applied is told by the quorum's goroutine what is agreed.
func (m *Member) applied(s ledger.State, renewal bool) {
	m.mail.put(func() []steer.Act {
		m.state = s
		now := m.now()
		if renewal && m.chief != nil {
			m.chief.Renewed(now)
		}
		if m.local == nil {
			return nil
		}
		return m.local.Agreed(s, now)
	})
}

// led is told by the quorum's goroutine who leads.
func (m *Member) led(ctx context.Context, l quorum.Leadership) {
	name := ""
	for _, p := range m.config.Members {
		if p.ID == l.Leader {
			name = p.Name
		}
	}
	m.mu.Lock()
	m.leader = name
	m.mu.Unlock()
	m.mail.put(func() []steer.Act {
		m.term, m.chief = l.Term, nil
		if name == m.config.Self {
			m.wg.Go(func() { m.accede(ctx, l.Term) })
		}
		return nil
	})
}

// accede begins to lead when all that was agreed before is applied here, and founds the
// deployment if nobody has.
func (m *Member) accede(ctx context.Context, term uint64) {
	if err := m.quorum.Read(ctx); err != nil {
		return // the member ends
	}
	m.mail.put(func() []steer.Act {
		if m.term != term {
			return nil
		}
		chief, err := steer.NewChief(m.config.chief(), m.state, m.now())
		if err != nil {
			m.config.Log.Error("can't lead", "err", err)
			return nil
		}
		m.chief = chief
		m.config.Log.Info("leads the quorum", "term", term)
		return m.found()
	})
}

// found proposes what this member's file says, if nothing is agreed yet. The first epoch is
// beyond all that the servers have heard of, in a life of the deployment before this one.
func (m *Member) found() []steer.Act {
	if m.state.Setup.Version > 0 {
		return nil
	}
	setup := m.config.Setup
	setup.Version = 1
	if setup.Leases && m.config.Server != nil && !m.server.Known {
		term := m.term
		time.AfterFunc(lookEvery, func() { m.mail.put(func() []steer.Act { return m.foundAgain(term) }) })
		return nil
	}
	return []steer.Act{{Kind: steer.Propose, Command: ledger.Command{
		Describe: &ledger.Describe{Setup: setup, Epoch: m.server.Beat.Epoch + 1},
	}}}
}

func (m *Member) foundAgain(term uint64) []steer.Act {
	if m.chief == nil || m.term != term {
		return nil
	}
	return m.found()
}

// observe returns what a Chief goes by.
func (m *Member) observe() steer.Observation {
	o := steer.Observation{State: m.state, Wall: time.Now()}
	for _, name := range sorted(m.reports) {
		h := m.reports[name]
		o.Reports = append(o.Reports, h.report)
		o.Data = append(o.Data, h.data...)
	}
	return o
}

// Propose has a command agreed, and returns the state that has it. It fails with the
// ledger's refusals, or as quorum.Member.Propose does.
func (m *Member) Propose(ctx context.Context, c ledger.Command) (ledger.State, error) {
	c.At = time.Now().UTC()
	raw, err := c.Encode()
	if err != nil {
		return ledger.State{}, err
	}
	out, err := m.quorum.Propose(ctx, raw)
	if err != nil {
		return ledger.State{}, err
	}
	s, _ := m.machine.look()
	if refusal, is := out.(error); is {
		return s, refusal
	}
	return s, nil
}

// State returns what is agreed, as far as this member knows, and what is closed when it
// knows of something else.
func (m *Member) State() (ledger.State, <-chan struct{}) { return m.machine.look() }

// Leader returns who leads; empty: nobody that is known.
func (m *Member) Leader() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.leader
}

// Quorum returns how the quorum's part of this member is.
func (m *Member) Quorum() quorum.Status { return m.quorum.Status() }
