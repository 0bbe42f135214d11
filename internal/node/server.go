package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/steer"
)

// nudgeAfter is for how long a server that is linked may have heard nothing before it is
// to connect anew. A holder's server has ten heartbeats a second.
const nudgeAfter = 2 * time.Second

// A leased is this Region's server as the control plane uses it, where Regions replicate
// by themselves and one takes writes by lease. Until the engine is open nothing of it can
// be reached.
type leased struct {
	at map[string]string // by Region: host:port where its server is replicated from

	mu     sync.Mutex // guards what follows
	engine *valkey.Engine
	chain  *valkey.Chain

	mood mood // of look's goroutine: the control plane looks once at a time
}

// A mood is what looking remembers.
type mood struct {
	clock   time.Duration
	clocked time.Time // when the clock was asked; zero: never
	nudged  time.Time
}

// control returns what the control plane uses.
func (l *leased) control() *control.Server {
	return &control.Server{Leased: l, Steered: l, Look: l.look, Salvage: l.salvage}
}

// open says that the engine is open. It fails if there can be no lease at it.
func (l *leased) open(e engine.Engine) error {
	own, ok := engine.As[*valkey.Engine](e)
	if !ok {
		return errors.New("a lease needs an engine on a server")
	}
	chain, err := own.Chain()
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.engine, l.chain = own, chain
	return nil
}

// close lets go of the engine, which is open still.
func (l *leased) close() {
	l.mu.Lock()
	chain := l.chain
	l.engine, l.chain = nil, nil
	l.mu.Unlock()
	if chain != nil {
		_ = chain.Close() // it never fails
	}
}

// parts returns what is open.
func (l *leased) parts() (*valkey.Engine, *valkey.Chain, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.engine == nil {
		return nil, nil, engine.ErrUnreachable
	}
	return l.engine, l.chain, nil
}

// look asks how the server is.
func (l *leased) look(ctx context.Context) (steer.Server, error) {
	e, chain, err := l.parts()
	if err != nil {
		return steer.Server{}, err
	}
	role, err := chain.Role(ctx)
	if err != nil {
		return steer.Server{}, err
	}
	s := steer.Server{Primary: role.Primary, Linked: role.LinkUp && !role.Syncing && !role.Loading}
	for region, addr := range l.at {
		if addr == role.Follows {
			s.Follows = region
		}
	}
	if s.Marked, err = chain.Marked(ctx); err != nil {
		return steer.Server{}, err
	}
	beat, err := chain.Beaten(ctx)
	if err != nil {
		return steer.Server{}, err
	}
	if beat.N > 0 {
		s.Beat = judge.Beat{Epoch: beat.Epoch, N: beat.N, At: beat.At.Std()}
	}
	s.Clock = l.clock(ctx, e)
	l.nudge(ctx, chain, role)
	return s, nil
}

// clock returns how far the server's clock is ahead of this process's, asked once a
// second; nil: it could not be asked.
func (l *leased) clock(ctx context.Context, e *valkey.Engine) *time.Duration {
	if time.Since(l.mood.clocked) > time.Second {
		clocks, err := e.Clocks(ctx)
		if err != nil || len(clocks.Times()) == 0 {
			return nil
		}
		l.mood.clock = clocks.Times()[0] - time.Duration(crdt.TimeOf(time.Now()))*time.Millisecond
		l.mood.clocked = time.Now()
	}
	ahead := l.mood.clock
	return &ahead
}

// nudge has a server connect anew that hears nothing though it is linked: after a cut the
// old connection may be dumb for seconds.
func (l *leased) nudge(ctx context.Context, chain *valkey.Chain, r valkey.Role) {
	if r.Primary || !r.LinkUp || r.Silent < nudgeAfter || time.Since(l.mood.nudged) < nudgeAfter {
		return
	}
	l.mood.nudged = time.Now()
	_, _ = chain.Nudge(ctx, nudgeAfter) // it is tried again
}

// Clocks asks for the clocks of the primaries.
func (l *leased) Clocks(ctx context.Context) ([]time.Duration, control.GrantFunc, error) {
	e, _, err := l.parts()
	if err != nil {
		return nil, nil, err
	}
	clocks, err := e.Clocks(ctx)
	if err != nil {
		return nil, nil, err
	}
	return clocks.Times(), func(ctx context.Context, epoch uint64, lasts time.Duration) error {
		return e.Grant(ctx, epoch, clocks, lasts)
	}, nil
}

// End ends an epoch for good. A server that has had a later one has ended it too.
func (l *leased) End(ctx context.Context, epoch uint64) error {
	e, _, err := l.parts()
	if err != nil {
		return err
	}
	if err := e.EndLease(ctx, epoch); !errors.Is(err, engine.ErrNotPrimary) {
		return err
	}
	return nil
}

func (l *leased) chained(do func(*valkey.Chain) error) error {
	_, chain, err := l.parts()
	if err != nil {
		return err
	}
	return do(chain)
}

// Mark writes down that an epoch is over.
func (l *leased) Mark(ctx context.Context, epoch uint64) error {
	return l.chained(func(c *valkey.Chain) error { return c.Mark(ctx, epoch) })
}

// Beat writes a heartbeat.
func (l *leased) Beat(ctx context.Context, epoch uint64) error {
	return l.chained(func(c *valkey.Chain) error { return c.Beat(ctx, epoch) })
}

// Promote has the server take writes.
func (l *leased) Promote(ctx context.Context) error {
	return l.chained(func(c *valkey.Chain) error { return c.Promote(ctx) })
}

// Follow has the server follow that of another Region.
func (l *leased) Follow(ctx context.Context, region string) error {
	host, port, err := net.SplitHostPort(l.at[region])
	if err != nil {
		return fmt.Errorf("where the server of %q is replicated from: %w", region, err)
	}
	return l.chained(func(c *valkey.Chain) error { return c.Follow(ctx, host, port) })
}
