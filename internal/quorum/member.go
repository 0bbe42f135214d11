package quorum

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync/atomic"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/roam-sessions/roam/internal/pki"
)

const (
	// DefaultTick is a tick of a Core.
	DefaultTick = 100 * time.Millisecond
	// DefaultSilence is how long a link may be silent before it is dialled anew. A
	// stalled TCP connection takes as long to wake by itself.
	DefaultSilence = 3 * time.Second

	// inboxMessages bounds what was heard and not yet looked at; then peers wait.
	inboxMessages = 1024
	// gathered bounds how many inputs are taken in before what comes of them is done:
	// one write to the disk serves them all.
	gathered = 64
)

var (
	// ErrStopped says that the member was closed, or could not go on: see Status.
	ErrStopped = errors.New("member has stopped")
	// ErrUnknown says that a command may have been applied, may yet be, or may never.
	ErrUnknown = errors.New("it is not known whether it was applied")
)

// A StateMachine is what commands are applied to. Its methods are called by one
// goroutine at a time, must not wait for the Member's, and must do the same at every
// member: no clock, no dice.
type StateMachine interface {
	// Apply applies a command and returns what Propose is to return. The index grows,
	// with gaps. The bytes must not be changed.
	Apply(index uint64, command []byte) any
	// Snapshot returns all of the state, in at most MaxSnapshotBytes.
	Snapshot() []byte
	// Restore replaces the state by what Snapshot returned, here or elsewhere; by the
	// state of the beginning, if there are no bytes. After an error the member stops.
	Restore(state []byte) error
}

// Config is what a Member is.
type Config struct {
	// Rules are those of its Core. A Seed of zero is drawn.
	Rules Rules
	// Name is what the log is called, such as the deployment. With Founders it tells
	// logs apart: members of two never talk.
	Name string
	// Founders are the numbers of the first voters, the same at all members. One that
	// is not among them waits until it is added.
	Founders []uint64
	// Peers are all other members that there may be.
	Peers []Peer
	// Path is the file's. Two others are beside it, with .lock and .new behind the name.
	Path string
	// Create says that this member was never started, so that the file is made. A
	// member whose file is lost is not new: it has promised what it does not know.
	Create bool
	// Listener is where peers dial. It is closed with the member, or if Open fails.
	Listener net.Listener
	// Dial opens a connection to a peer's Addr; nil: TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Keeper has the certificate of this member's Region; nil: no TLS, and peers are
	// believed, as on loopback.
	Keeper *pki.Keeper
	// Tick is how long a tick is; 0: DefaultTick.
	Tick time.Duration
	// Silence is how long a link may be silent; 0: DefaultSilence.
	Silence time.Duration
	// OnLead is told who leads when that changes, by the goroutine of StateMachine.
	OnLead func(Leadership)
	// Log is told what goes wrong; nil: nobody is.
	Log *slog.Logger
}

// Status is how a member is.
type Status struct {
	ID       uint64
	Lead     Leadership
	Applied  uint64   // index
	Voters   []uint64 // as of what this member has applied
	Learners []uint64
	Linked   []uint64 // peers that hear this member
	// Silent is for how long the leader was not heard, in whole ticks; zero where there is
	// none, or this member leads.
	Silent time.Duration
	// Err is why it has stopped; nil while it runs.
	Err error
}

// A Member is one member of a quorum, with its file and its links. Its methods may be
// called by many goroutines.
type Member struct {
	cfg      Config
	core     *Core // the loop's, as is what follows
	store    *store
	writes   map[uint64]chan<- result
	reads    map[uint64]chan<- result
	links    *links
	calls    chan func()
	inbox    chan incoming
	identity atomic.Uint64
	status   atomic.Pointer[Status]
	silent   atomic.Int64 // ticks
	cancel   context.CancelFunc
	down     chan struct{} // closed when the last goroutine is gone
	replayed chan struct{} // closed when what the file had is applied
}

// result is what came of a command or a read.
type result struct {
	value any
	err   error
}

// Open starts a member, and returns when what its file has was applied as far as it was
// when the member ended, or it has stopped. It runs until Close or the end of ctx; close it
// then too. It fails with ErrMissing or ErrCorrupt for a file that is not there or broken,
// having changed nothing.
func Open(ctx context.Context, cfg Config, machine StateMachine) (_ *Member, err error) {
	var s *store
	defer func() {
		if err != nil {
			if s != nil {
				err = errors.Join(err, s.close())
			}
			_ = cfg.Listener.Close() // err says more
		}
	}()
	if cfg, err = cfg.withDefaults(); err != nil {
		return nil, err
	}
	founded, err := Found(cfg.Name, cfg.Founders)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(cfg.Founders, cfg.Rules.ID) {
		founded = Stored{}
	}
	s, stored, err := openStore(cfg.Path, cfg.Create, founded)
	if err != nil {
		return nil, fmt.Errorf("open member %d: %w", cfg.Rules.ID, err)
	}
	core, err := New(cfg.Rules, stored)
	if err != nil {
		return nil, fmt.Errorf("open member %d: %w", cfg.Rules.ID, err)
	}
	m := &Member{
		cfg: cfg, core: core, store: s, writes: map[uint64]chan<- result{}, reads: map[uint64]chan<- result{},
		calls: make(chan func()), inbox: make(chan incoming, inboxMessages), down: make(chan struct{}),
		replayed: make(chan struct{}),
	}
	m.identity.Store(core.Identity())
	m.status.Store(&Status{ID: cfg.Rules.ID})
	m.links = m.newLinks(stored.Life)
	ctx, m.cancel = context.WithCancel(ctx)
	go m.run(ctx, machine)
	select {
	case <-m.replayed:
	case <-m.down:
	}
	return m, nil
}

func (c Config) withDefaults() (Config, error) {
	if c.Tick == 0 {
		c.Tick = DefaultTick
	}
	if c.Silence == 0 {
		c.Silence = DefaultSilence
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Dial == nil {
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return (&net.Dialer{KeepAlive: c.Silence}).DialContext(ctx, "tcp", addr)
		}
	}
	if c.Rules.Seed == 0 {
		var b [8]byte
		_, _ = rand.Read(b[:]) // it never fails
		c.Rules.Seed = binary.NativeEndian.Uint64(b[:])
	}
	seen := map[uint64]bool{0: true, c.Rules.ID: true}
	for _, p := range c.Peers {
		if seen[p.ID] || c.Keeper != nil && p.Region == "" {
			return c, fmt.Errorf("quorum: peer %d of Region %q is there twice, or nobody", p.ID, p.Region)
		}
		seen[p.ID] = true
	}
	return c, nil
}

func (m *Member) newLinks(life uint64) *links {
	l := &links{
		id: m.cfg.Rules.ID, life: life, identity: &m.identity, keeper: m.cfg.Keeper, listener: m.cfg.Listener, dial: m.cfg.Dial,
		silence: m.cfg.Silence, log: m.cfg.Log, inbox: m.inbox, out: map[uint64]*outgoing{},
		room: make(chan struct{}, maxConns(len(m.cfg.Peers))), in: map[uint64]*wire{}, lives: map[uint64]uint64{},
	}
	for _, p := range m.cfg.Peers {
		l.out[p.ID] = &outgoing{links: l, peer: p, queue: make(chan *pb.Message, queueMessages)}
	}
	return l
}

// Close stops the member and returns when it has. It fails if the file could not be
// closed.
func (m *Member) Close() error {
	m.cancel()
	<-m.down
	if err := m.Status().Err; !errors.Is(err, ErrStopped) {
		return err
	}
	return nil
}

// Done is closed when the member has stopped, by Close or because it could not go on.
func (m *Member) Done() <-chan struct{} { return m.down }

// Status returns how the member is, as of its last step.
func (m *Member) Status() Status {
	s := *m.status.Load()
	s.Silent = time.Duration(m.silent.Load()) * m.cfg.Tick
	for _, p := range m.cfg.Peers {
		if m.links.out[p.ID].up.Load() {
			s.Linked = append(s.Linked, p.ID)
		}
	}
	return s
}

// Propose has a command applied by all members, once, and returns what Apply here
// returned. It waits for as long as there is no majority: give ctx a deadline. It
// fails with ErrTooLarge or ErrFull if nothing was done, and with ErrUnknown if ctx
// ended, the member stopped, or it was applied where this member did not see it.
func (m *Member) Propose(ctx context.Context, command []byte) (any, error) {
	command = slices.Clone(command)
	return m.write(ctx, "propose", func() (uint64, error) { return m.core.Propose(command) })
}

// Change changes who the members are. It fails as Propose does, and with ErrChange.
func (m *Member) Change(ctx context.Context, steps ...Change) error {
	steps = slices.Clone(steps)
	_, err := m.write(ctx, "change members", func() (uint64, error) { return m.core.Change(steps) })
	return err
}

func (m *Member) write(ctx context.Context, what string, begin func() (uint64, error)) (any, error) {
	done := make(chan result, 1)
	var seq uint64
	var failed error
	err := m.call(ctx, func() {
		if seq, failed = begin(); failed == nil {
			m.writes[seq] = done
		}
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	select {
	case r := <-done:
		if r.err != nil {
			return nil, fmt.Errorf("%s: %w", what, r.err)
		}
		return r.value, nil
	case <-ctx.Done():
		m.forget(func() {
			m.core.Abandon(seq)
			delete(m.writes, seq)
		})
		return nil, fmt.Errorf("%s: %w: %w", what, ErrUnknown, ctx.Err())
	}
}

// Read returns when this member's state machine has applied all that was acknowledged
// anywhere before the call. What is then read from it is linearizable. It waits as
// Propose does.
func (m *Member) Read(ctx context.Context) error {
	done := make(chan result, 1)
	var seq uint64
	var failed error
	err := m.call(ctx, func() {
		if seq, failed = m.core.Read(); failed == nil {
			m.reads[seq] = done
		}
	})
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	select {
	case r := <-done:
		if r.err != nil {
			return fmt.Errorf("read: %w", r.err)
		}
		return nil
	case <-ctx.Done():
		m.forget(func() {
			m.core.AbandonRead(seq)
			delete(m.reads, seq)
		})
		return fmt.Errorf("read: %w", ctx.Err())
	}
}

// Transfer has another member lead, or this one, as Core.Transfer has it. It returns
// when that is asked for; OnLead and Status say what comes of it.
func (m *Member) Transfer(ctx context.Context, to uint64) error {
	var failed error
	err := m.call(ctx, func() { failed = m.core.Transfer(to) })
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("transfer to %d: %w", to, err)
	}
	return nil
}

// call has the loop do something with the Core, and returns when it has.
func (m *Member) call(ctx context.Context, do func()) error {
	done := make(chan struct{})
	select {
	case m.calls <- func() { do(); close(done) }:
	case <-ctx.Done():
		return ctx.Err()
	case <-m.down:
		return ErrStopped
	}
	select {
	case <-done:
		return nil
	case <-m.down:
	}
	select {
	case <-done: // it was the last thing done
		return nil
	default:
		return ErrStopped
	}
}

// forget tells the loop that nobody waits any more. It does not wait for long: the
// loop only ever waits for the disk.
func (m *Member) forget(do func()) {
	select {
	case m.calls <- do:
	case <-m.down:
	}
}
