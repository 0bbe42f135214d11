package steered

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/receipt"
	"github.com/roam-sessions/roam/internal/salvage"
	"github.com/roam-sessions/roam/internal/steer"
)

// nudgeAfter is for how long a server that is linked may have heard nothing before it is
// to connect anew. A holder's server has ten heartbeats a second.
const nudgeAfter = 2 * time.Second

// strangeAfter is for how long a server may have data and no heartbeat until somebody is
// told: one that has just become a primary has its first in a moment.
const strangeAfter = 10 * time.Second

// redialEvery is between two looks where the name of a managed server leads.
const redialEvery = time.Second

// none is later than any epoch.
const none = math.MaxUint64

// A Config is what a Server is made of.
type Config struct {
	// Self is its Region.
	Self string
	// At is the host:port, by Region, where each one's server is replicated from, as seen
	// from this one's; with a Service it may be empty. All Regions are in it. Required.
	At map[string]string
	// Service manages the servers; nil: nodes do.
	Service Service
	// Open opens the engine of another Region, for a while. Required.
	Open func(ctx context.Context, region string) (engine.Engine, error)
	// Spool is what this Region's node keeps of the log while its server is the primary;
	// nil: nothing.
	Spool *salvage.Spool
	// Lists are where all that is salvaged is named; nil: nowhere, and a receipt names the
	// first writes alone.
	Lists *receipt.Folder
	// Log is told how salvage goes. Default: discarded.
	Log *slog.Logger
}

// A Service manages the servers of all Regions, as one deployment: whom they follow, and which
// is the primary, is its to change. It takes its time, and may do so unasked.
type Service interface {
	// State returns what it says, as of some moments ago. Primary is what the server says of
	// itself: where that is something else, it is asked anew.
	State(primary bool) Managed
	// Promote asks it to have this Region's server take writes; detach: as one of its own,
	// that nobody follows, if it does so in no other way. It fails with control.ErrUnderWay
	// until that is so.
	Promote(detach bool) error
}

// A Managed is what a Service says of a Region's server.
type Managed struct {
	// Primary is the Region whose server it has be the primary; empty: none, or none that is
	// known.
	Primary string
	// Fit: this Region's could be promoted now.
	Fit bool
	// Alone: it was taken out, and is on its own.
	Alone bool
	Text  string // for people
}

// A chain is what is told of a Region's server, and to it: of one that is no cluster's, or of
// all shards of a cluster as if they were one.
type chain interface {
	Role(ctx context.Context) (valkey.Role, error)
	Marked(ctx context.Context) (uint64, error)
	Mark(ctx context.Context, epoch uint64) error
	Beaten(ctx context.Context) (valkey.Beat, error)
	Beat(ctx context.Context, epoch uint64) error
	Redial(ctx context.Context) error
	Close() error
}

// A Server is a Region's. Until Open nothing of it can be reached. Its methods may be called
// by many goroutines.
type Server struct {
	config Config

	mu     sync.Mutex // guards what follows
	engine *valkey.Engine
	chain  chain
	steers *valkey.Chain // the same, where nodes steer; nil: a Service does
	// run is of the server's process, as seen last, and replid of its data. In the run reigned it has kept all that it
	// took in the epoch whole and in later ones; none: it has taken no lease since it started,
	// or was seen as a replica.
	run, replid, reigned string
	whole                uint64

	// spooled is the epoch of which the spool was brought home; salvage's, which runs once
	// at a time.
	spooled uint64

	looking sync.Mutex // one looks at a time; guards mood, and is taken before mu
	mood    mood
}

// A mood is what looking remembers.
type mood struct {
	clock   time.Duration
	clocked time.Time // when the clock was asked; zero: never
	nudged  time.Time
	dialled time.Time // the connection was let go
	// led and followed are the runs of its process in which it was seen to be a primary last,
	// and a replica.
	led, followed string
	foreign       time.Time // since when the server is taken for a stranger's; zero: it is not
	warned        bool      // somebody was told
}

// New returns the server of a Region.
func New(c Config) *Server {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{config: c, whole: none}
}

// Control returns what the control plane uses.
func (s *Server) Control() *control.Server {
	return &control.Server{Leased: s, Steered: s, Look: s.look, Salvage: s.salvage}
}

// Open says that the engine is open. It fails if there can be no lease at it: at a cluster's
// servers only where a Service manages them.
func (s *Server) Open(e engine.Engine) error {
	own, ok := engine.As[*valkey.Engine](e)
	if !ok {
		return errors.New("a lease needs an engine on a server")
	}
	c, steers, err := s.chainOf(own)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engine, s.chain, s.steers = own, c, steers
	return nil
}

// chainOf returns what tells of an engine's server, and what steers it; nil: a Service does.
func (s *Server) chainOf(e *valkey.Engine) (chain, *valkey.Chain, error) {
	managed := s.config.Service != nil
	switch {
	case e.Cluster() && managed:
		c, err := e.Chains()
		return c, nil, err
	case e.Cluster():
		return nil, nil, fmt.Errorf("%w: have a Global Datastore manage it (control.datastore), or use servers without cluster mode", valkey.ErrCluster)
	}
	c, err := e.Chain()
	if managed {
		return c, nil, err
	}
	return c, c, err
}

// Close lets go of the engine, which is open still.
func (s *Server) Close() {
	s.mu.Lock()
	chain := s.chain
	s.engine, s.chain, s.steers = nil, nil, nil
	s.mu.Unlock()
	if chain != nil {
		_ = chain.Close() // it never fails
	}
}

// parts returns what is open.
func (s *Server) parts() (*valkey.Engine, chain, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine == nil {
		return nil, nil, engine.ErrUnreachable
	}
	return s.engine, s.chain, nil
}

// look asks how the server is.
func (s *Server) look(ctx context.Context) (steer.Server, error) {
	s.looking.Lock()
	defer s.looking.Unlock()
	e, chain, err := s.parts()
	if err != nil {
		return steer.Server{}, err
	}
	role, err := chain.Role(ctx)
	if err != nil {
		return steer.Server{}, err
	}
	s.mu.Lock()
	if s.run, s.replid = role.RunID, role.Replid; !role.Primary {
		s.whole = none
	}
	s.mu.Unlock()
	out := steer.Server{Run: role.RunID, Primary: role.Primary, Turned: s.turned(role), Linked: role.LinkUp && !role.Syncing && !role.Loading}
	s.follows(&out, role)
	if out.Marked, err = chain.Marked(ctx); err != nil {
		return steer.Server{}, err
	}
	beat, err := chain.Beaten(ctx)
	if err != nil {
		return steer.Server{}, err
	}
	out.Beat = beatOf(beat)
	out.Clock = s.clock(ctx, e)
	if s.config.Service == nil {
		out.Foreign = s.foreign(role, out)
		s.nudge(ctx, role)
		return out, nil
	}
	if out.Turned && !out.Primary {
		s.redial(ctx, chain)
		return steer.Server{}, errMoved
	}
	return out, nil
}

// beatOf returns a beat as it is reported. What is not known of it is zero.
func beatOf(b valkey.Beat) judge.Beat {
	out := judge.Beat{Epoch: b.Epoch, N: b.N}
	if b.At > 0 {
		out.At = b.At.Std()
	}
	return out
}

// follows says whom the server follows: by its own word, or, as who is managed follows what it
// has no name for, by its Service's. Whom a Service has as the primary has been made it.
func (s *Server) follows(out *steer.Server, role valkey.Role) {
	if s.config.Service == nil {
		for region, addr := range s.config.At {
			if addr == role.Follows {
				out.Follows = region
			}
		}
		return
	}
	m := s.config.Service.State(role.Primary)
	out.Service, out.Held, out.Alone = m.Text, !m.Fit && m.Primary != s.config.Self, m.Alone
	out.Turned = m.Primary == s.config.Self
	if !role.Primary && !out.Turned {
		out.Follows = m.Primary
	}
}

// errMoved says that a server is no primary by its own word, and is one by its Service's: it is
// about to be one, or within the Region another one has taken its place, and its name.
var errMoved = fmt.Errorf("%w: its name is to lead to a primary", engine.ErrUnreachable)

// redial has the server be found anew by its name.
func (s *Server) redial(ctx context.Context, c chain) {
	if time.Since(s.mood.dialled) < redialEvery {
		return
	}
	s.mood.dialled = time.Now()
	_ = c.Redial(ctx) // it is done again
}

// clock returns how far the server's clock is ahead of this process's, asked once a
// second; nil: it could not be asked. Of several it is the one that is farthest off: each of
// them ends leases and makes stamps, and an average would hide it.
func (s *Server) clock(ctx context.Context, e *valkey.Engine) *time.Duration {
	if time.Since(s.mood.clocked) > time.Second {
		clocks, err := e.Clocks(ctx)
		if err != nil || len(clocks.Times()) == 0 {
			return nil
		}
		s.mood.clock, s.mood.clocked = farthest(clocks.Times(), time.Duration(crdt.TimeOf(time.Now()))*time.Millisecond), time.Now()
	}
	ahead := s.mood.clock
	return &ahead
}

// farthest returns by how much that of some times is ahead that differs most from now.
func farthest(times []time.Duration, now time.Duration) (ahead time.Duration) {
	for _, t := range times {
		if off := t - now; off.Abs() > ahead.Abs() {
			ahead = off
		}
	}
	return ahead
}

// turned reports whether the server had the other role before, in the same run.
func (s *Server) turned(r valkey.Role) bool {
	if r.Primary {
		s.mood.led = r.RunID
		return r.RunID == s.mood.followed
	}
	s.mood.followed = r.RunID
	return r.RunID == s.mood.led
}

// foreign reports whether the server has data, and nothing by which it is known to be of
// this deployment: it would be given the primary's, and its own be gone.
func (s *Server) foreign(r valkey.Role, seen steer.Server) bool {
	is := r.Primary && r.Keys > 0 && seen.Marked == 0 && seen.Beat.N == 0
	switch {
	case !is:
		s.mood.foreign = time.Time{}
	case s.mood.foreign.IsZero(): // a new primary has no heartbeat yet
		s.mood.foreign = time.Now()
	case !s.mood.warned && time.Since(s.mood.foreign) > strangeAfter:
		s.mood.warned = true
		s.config.Log.Warn("the server has data that is not known to be of this deployment: it is not made to follow before it is empty", "keys", r.Keys)
	}
	return is
}

// nudge has a server connect anew that hears nothing though it is linked: after a cut the
// old connection may be dumb for seconds.
func (s *Server) nudge(ctx context.Context, r valkey.Role) {
	if r.Primary || !r.LinkUp || r.Silent < nudgeAfter || time.Since(s.mood.nudged) < nudgeAfter {
		return
	}
	s.mood.nudged = time.Now()
	_ = s.steered(func(c *valkey.Chain) error { // it is tried again
		_, err := c.Nudge(ctx, nudgeAfter)
		return err
	})
}

// intact reports whether the server has not started anew since it held the lease of an
// epoch, nor followed another one.
func (s *Server) intact(ctx context.Context, epoch uint64) bool {
	_, chain, err := s.parts()
	if err != nil {
		return false
	}
	role, err := chain.Role(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	return err == nil && role.RunID != "" && role.RunID == s.reigned && role.Primary && epoch >= s.whole
}

// errAnew says that the server has started anew since it was looked at.
var errAnew = fmt.Errorf("%w: the server has started anew", engine.ErrUnreachable)

// Clocks asks for the clock of the server as it was looked at.
func (s *Server) Clocks(ctx context.Context, run string) ([]time.Duration, control.GrantFunc, error) {
	e, _, err := s.parts()
	if err != nil {
		return nil, nil, err
	}
	clocks, err := e.Clocks(ctx)
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	same := s.run == run && clocks.History() == s.replid
	s.mu.Unlock()
	if !same {
		return nil, nil, errAnew
	}
	return clocks.Times(), func(ctx context.Context, epoch uint64, lasts time.Duration) error {
		err := e.Grant(ctx, epoch, clocks, lasts)
		if err == nil {
			s.mu.Lock()
			if s.reigned != s.run || s.whole == none {
				s.reigned, s.whole = s.run, epoch
			}
			s.mu.Unlock()
		}
		return err
	}, nil
}

// End ends an epoch for good. A server that has had a later one has ended it too.
func (s *Server) End(ctx context.Context, epoch uint64) error {
	e, _, err := s.parts()
	if err != nil {
		return err
	}
	if err := e.EndLease(ctx, epoch); !errors.Is(err, engine.ErrNotPrimary) {
		return err
	}
	return nil
}

func (s *Server) chained(do func(chain) error) error {
	_, c, err := s.parts()
	if err != nil {
		return err
	}
	return do(c)
}

// steered does something to a server that no Service manages.
func (s *Server) steered(do func(*valkey.Chain) error) error {
	s.mu.Lock()
	c := s.steers
	s.mu.Unlock()
	if c == nil {
		return engine.ErrUnreachable
	}
	return do(c)
}

// Mark writes down that an epoch is over.
func (s *Server) Mark(ctx context.Context, epoch uint64, run string) error {
	return s.chained(func(c chain) error {
		role, err := c.Role(ctx)
		if err == nil && role.RunID != run {
			err = errAnew
		}
		if err != nil {
			return err
		}
		return c.Mark(ctx, epoch)
	})
}

// Beat writes a heartbeat.
func (s *Server) Beat(ctx context.Context, epoch uint64) error {
	return s.chained(func(c chain) error { return c.Beat(ctx, epoch) })
}

// Promote has the server take writes.
func (s *Server) Promote(ctx context.Context, detach bool) error {
	if s.config.Service == nil {
		return s.steered(func(c *valkey.Chain) error { return c.Promote(ctx) })
	}
	return s.chained(func(c chain) error {
		if role, err := c.Role(ctx); err != nil || role.Primary {
			return err
		}
		if err := s.config.Service.Promote(detach); err != nil {
			return err
		}
		return control.ErrUnderWay // the server does not say so yet
	})
}

// Tail returns how far the server's log goes.
func (s *Server) Tail(ctx context.Context) (fork string, err error) {
	e, _, err := s.parts()
	if err != nil {
		return "", err
	}
	at, err := e.Tail(ctx)
	if err != nil {
		return "", err
	}
	return forkOf(at), nil
}

// Follow has the server follow that of another Region. One that is managed follows whom its
// Service wants.
func (s *Server) Follow(ctx context.Context, region string) error {
	if s.config.Service != nil {
		return control.ErrUnderWay
	}
	host, port, err := net.SplitHostPort(s.config.At[region])
	if err != nil {
		return fmt.Errorf("where the server of %q is replicated from: %w", region, err)
	}
	return s.steered(func(c *valkey.Chain) error { return c.Follow(ctx, host, port) })
}
