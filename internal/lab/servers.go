package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/fault"
	"github.com/roam-sessions/roam/internal/pause"
	"github.com/roam-sessions/roam/internal/valkeyserver"
)

const (
	// demoLogBytes bounds the log in a server: what a demo writes in hours.
	demoLogBytes = 16 << 20
	// reviveTimeout bounds how long a Region's servers may take to come back, with
	// what has to be loaded into them.
	reviveTimeout = 30 * time.Second
	// connectTimeout is for how long a server that was just started is tried to be
	// connected to, and connectAgain how long after each failure.
	connectTimeout = 15 * time.Second
	connectAgain   = 100 * time.Millisecond
)

// servers keeps records in real servers: two for each Region, which are killed when it
// is and come back empty, or where they replicate each other with what they had. What one Region asks of another's goes through proxies, over
// the Calls plane.
type servers struct {
	natively   *natively // nil: Regions push
	deployment *deployment
	program    valkeyserver.Program
	machines   map[*region]*machine
	routes     map[route]*remote
	watching   sync.WaitGroup
	stop       context.CancelFunc // ends the watching
}

// A machine is what a Region keeps records on.
type machine struct {
	main, side *valkeyserver.Server
	revived    atomic.Bool // it lost something, and nobody was told yet that it has it again
	sample     atomic.Pointer[kept]
}

// A route leads from a Region to another.
type route struct{ from, to *region }

// A remote is the other's engines, through proxies.
type remote struct {
	proxies    [2]*fault.Proxy
	main, side *valkey.Engine
}

func newServers(d *deployment, p valkeyserver.Program) *servers {
	s := &servers{
		deployment: d, program: p, stop: func() {},
		machines: map[*region]*machine{}, routes: map[route]*remote{},
	}
	if d.native() {
		s.natively = &natively{servers: s}
	}
	return s
}

func (s *servers) begin(ctx context.Context) error {
	for _, r := range s.deployment.regions {
		s.machines[r] = &machine{}
		for _, to := range s.deployment.byDistance(r) {
			s.routes[route{r, to}] = &remote{}
		}
	}
	var args []string
	if s.natively != nil {
		args = nativeArgs()
	}
	if err := each(s.machines, func(_ *region, m *machine) error { return m.start(ctx, s.program, args) }); err != nil {
		return err
	}
	if err := s.natively.begin(ctx); err != nil {
		return err
	}
	if err := each(s.routes, func(at route, to *remote) error { return s.connect(ctx, at, to) }); err != nil {
		return err
	}
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	for _, r := range s.deployment.regions {
		s.watching.Go(func() { s.watch(ctx, r) })
	}
	return nil
}

// together does several things at a time, and returns what failed.
func together(all ...func() error) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, do := range all {
		wg.Go(func() { errs[i] = do() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// each does something with all of a map at a time, and returns what failed.
func each[K comparable, V any](all map[K]V, do func(K, V) error) error {
	var list []func() error
	for k, v := range all {
		list = append(list, func() error { return do(k, v) })
	}
	return together(list...)
}

func (m *machine) start(ctx context.Context, p valkeyserver.Program, args []string) error {
	var err error
	if m.main, err = valkeyserver.Start(ctx, p, valkeyserver.Config{Args: args}); err != nil {
		return err
	}
	m.side, err = valkeyserver.Start(ctx, p, valkeyserver.Config{Args: args})
	return err
}

// both does something with both servers at a time.
func (m *machine) both(do func(*valkeyserver.Server) error) error {
	return each(map[*valkeyserver.Server]bool{m.main: true, m.side: true}, func(s *valkeyserver.Server, _ bool) error {
		if s == nil {
			return nil // it never started
		}
		return do(s)
	})
}

// connect makes the engines of one Region as another sees them. Each takes a dozen round
// trips.
func (s *servers) connect(ctx context.Context, at route, to *remote) error {
	m := s.machines[at.to]
	return together(
		func() (err error) {
			to.main, to.proxies[0], err = s.through(ctx, at, m.main, s.natively == nil)
			return err
		},
		func() (err error) {
			to.side, to.proxies[1], err = s.through(ctx, at, m.side, false)
			return err
		},
	)
}

func (s *servers) through(ctx context.Context, at route, server *valkeyserver.Server, replicated bool) (*valkey.Engine, *fault.Proxy, error) {
	p, err := s.deployment.net.Proxy(context.WithoutCancel(ctx), at.from.name, at.to.name, fault.Calls, server.Addr())
	if err != nil {
		return nil, nil, err
	}
	e, err := s.engine(ctx, at.to.id, p.Addr(), replicated)
	if err != nil {
		return nil, p, fmt.Errorf("reach %s from %s: %w", at.to.name, at.from.name, err)
	}
	return e, p, warm(ctx, e)
}

// warm has the engine connect: it dials a connection when it first needs it, which
// takes two round trips, and chooses among its connections by the partition. The first
// visitor would find all far Regions too slow to answer.
func warm(ctx context.Context, e engine.Engine) error {
	var keys [32]bool // all connections but for once in 2^31
	return each(maps.Collect(slices.All(keys[:])), func(i int, _ bool) error {
		for begun := time.Now(); ; {
			_, err := e.Read(ctx, crdt.UserKey(fmt.Sprint(i)), crdt.Token{})
			switch {
			case errors.Is(err, engine.ErrRefilling):
				return nil // it is new, and no peer has been asked yet
			case err == nil || time.Since(begun) > connectTimeout || !pause.For(ctx, connectAgain):
				return err
			}
		}
	})
}

// engine opens an engine of a server. A machine that is busy starting all of a demo may be
// too slow for a far link's connection at first.
func (s *servers) engine(ctx context.Context, id crdt.Region, addr string, replicated bool) (*valkey.Engine, error) {
	for begun := time.Now(); ; {
		e, err := valkey.Open(ctx, id, valkey.Config{
			Addrs: []string{addr}, Replicated: replicated, LogBytes: demoLogBytes, Log: s.deployment.lab.config.Log,
		})
		if err == nil || !errors.Is(err, engine.ErrUnreachable) || time.Since(begun) > connectTimeout {
			return e, err
		}
		if !pause.For(ctx, connectAgain) {
			return nil, err
		}
	}
}

func (s *servers) open(ctx context.Context, r *region) (own, error) {
	m := s.machines[r]
	main, err := s.engine(ctx, r.id, m.main.Addr(), s.natively == nil)
	if err != nil {
		return own{}, err
	}
	side, err := s.engine(ctx, r.id, m.side.Addr(), false)
	if err != nil {
		return own{}, errors.Join(err, main.Close())
	}
	if s.natively != nil {
		return own{main: main, side: side, close: true, news: &news{}}, nil
	}
	filled := func() {
		if m.revived.Swap(false) {
			s.deployment.tell(r, r.name+" has been given back what its peers have")
		}
	}
	return own{main: refilled{main, filled}, side: side, close: true}, nil
}

// refilled is a Region's own engine, which tells of the end of a refill.
type refilled struct {
	*valkey.Engine
	over func()
}

// SetRefilling tells the engine.
func (e refilled) SetRefilling(ctx context.Context, on bool) error {
	err := e.Engine.SetRefilling(ctx, on)
	if err == nil && !on {
		e.over()
	}
	return err
}

func (s *servers) stream(l *console.Link, from, to *region) {
	if s.natively != nil {
		s.natively.stream(l, from, to)
	}
}

func (s *servers) native() *natively { return s.natively }

func (s *servers) seen(from, to *region) (main, side engine.Engine) {
	r := s.routes[route{from, to}]
	return r.main, r.side
}

// kill ends a Region's servers, and then its process, which has nobody left to talk to.
func (s *servers) kill(r *region) error {
	s.deployment.net.Freeze(r.name)
	_ = s.machines[r].both(func(v *valkeyserver.Server) error { v.Kill(); return nil }) // nothing fails
	return r.process().Close()
}

// revive starts a Region's servers, and a new process.
func (s *servers) revive(ctx context.Context, r *region) (tale string, err error) {
	d := s.deployment
	ctx = context.WithoutCancel(ctx) // half a Region is of no use to whoever has left
	starting, cancel := context.WithTimeout(ctx, reviveTimeout)
	defer cancel()
	d.net.Kill(r.name) // connections begin anew
	if tale, err = s.restart(starting, r); err == nil {
		err = d.openProcess(ctx, r)
	}
	if err != nil {
		d.net.Kill(r.name)
		return "", errors.Join(err, s.machines[r].both(func(v *valkeyserver.Server) error { v.Kill(); return nil }))
	}
	return tale, nil
}

// restart starts the servers of a Region that is dead, and tells what is in them.
func (s *servers) restart(ctx context.Context, r *region) (tale string, err error) {
	m := s.machines[r]
	m.revived.Store(s.natively == nil)
	if err := m.both(func(v *valkeyserver.Server) error { return v.Restart(ctx) }); err != nil {
		return "", err
	}
	s.deployment.net.Revive(r.name)
	if s.natively != nil {
		return "with what it had", nil
	}
	return "with empty servers: its peers give it what they have", nil
}

// Close ends the watching, the engines, the proxies and the servers.
func (s *servers) Close() error {
	s.stop()
	s.watching.Wait()
	err := errors.Join(s.natively.Close(), each(s.routes, func(_ route, to *remote) error {
		var errs []error
		for _, e := range []*valkey.Engine{to.main, to.side} {
			if e != nil {
				errs = append(errs, e.Close())
			}
		}
		for _, p := range to.proxies {
			if p != nil {
				errs = append(errs, p.Close())
			}
		}
		return errors.Join(errs...)
	}))
	return errors.Join(err, each(s.machines, func(_ *region, m *machine) error { return m.both((*valkeyserver.Server).Stop) }))
}

// tell adds an event about a Region.
func (d *deployment) tell(r *region, text string) {
	d.lab.feed.add(console.Event{Kind: console.KindRegion, Region: r.name, Text: text})
}
