package lab

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/postgres"
	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/fault"
	"github.com/roam-sessions/roam/internal/pause"
	"github.com/roam-sessions/roam/internal/postgresserver"
)

const (
	// mainSchema and sideSchema are what a Region's server holds: two engines.
	mainSchema = "roam"
	sideSchema = "side"
	// demoConns is enough for the shops of a demo: there are eighteen engines.
	demoConns = 8
	// countText asks a database what it holds.
	countText = `SELECT count(*), coalesce(sum(octet_length(state)), 0)::bigint, (SELECT count(*) FROM ` + mainSchema + `.log) FROM ` + mainSchema + `.record`
)

// errPassive: one Region alone can't take all writes on PostgreSQL.
func errPassive() error {
	return &console.Refusal{
		Problem: "PostgreSQL is for active-active: nobody promotes a standby, or knows how old it is", Next: "stay, or start the demo on valkey",
	}
}

// databases keeps records in PostgreSQL: a server for each Region, which is killed when it
// is and comes back with what it had. What one Region asks of another's goes through
// proxies, over the Calls plane.
type databases struct {
	deployment *deployment
	program    postgresserver.Program
	servers    map[*region]*database
	routes     map[route]*reached
	watching   sync.WaitGroup
	stop       context.CancelFunc // ends the watching
}

// A database is what a Region keeps records in.
type database struct {
	server *postgresserver.Server // nil: it never started
	sample atomic.Pointer[kept]
}

// A reached is the other Region's engines, through a proxy.
type reached struct {
	proxy      *fault.Proxy
	main, side *postgres.Engine
}

func newDatabases(d *deployment, p postgresserver.Program) *databases {
	return &databases{deployment: d, program: p, stop: func() {}, servers: map[*region]*database{}, routes: map[route]*reached{}}
}

func (b *databases) begin(ctx context.Context) error {
	for _, r := range b.deployment.regions {
		b.servers[r] = &database{}
		for _, to := range b.deployment.byDistance(r) {
			b.routes[route{r, to}] = &reached{}
		}
	}
	if err := each(b.servers, func(_ *region, d *database) error { return d.start(ctx, b.program) }); err != nil {
		return err
	}
	if err := each(b.routes, func(at route, to *reached) error { return b.reach(ctx, at, to) }); err != nil {
		return err
	}
	ctx, b.stop = context.WithCancel(context.WithoutCancel(ctx))
	for r, d := range b.servers {
		b.watching.Go(func() { b.watch(ctx, r, d) })
	}
	return nil
}

// start starts a server and makes both schemas in it.
func (d *database) start(ctx context.Context, p postgresserver.Program) (err error) {
	if d.server, err = postgresserver.Start(ctx, p, postgresserver.Config{}); err != nil {
		return err
	}
	for _, schema := range []string{mainSchema, sideSchema} {
		if err := postgres.Migrate(ctx, postgres.Config{DSN: dsn(d.server.Addr()), Schema: schema}); err != nil {
			return err
		}
	}
	return nil
}

// dsn returns how a server of ours is connected to at an address.
func dsn(addr string) string { return "postgres://roam@" + addr + "/postgres?sslmode=disable" }

// far is dsn where each round trip counts: nothing is prepared, which takes one more.
func far(addr string) string { return dsn(addr) + "&default_query_exec_mode=exec" }

// reach makes the engines of one Region as another sees them.
func (b *databases) reach(ctx context.Context, at route, to *reached) (err error) {
	server := b.servers[at.to].server
	if to.proxy, err = b.deployment.net.Proxy(context.WithoutCancel(ctx), at.from.name, at.to.name, fault.Calls, server.Addr()); err != nil {
		return err
	}
	err = together(
		func() (err error) { to.main, err = b.engine(ctx, at.to, far(to.proxy.Addr()), mainSchema); return err },
		func() (err error) { to.side, err = b.engine(ctx, at.to, far(to.proxy.Addr()), sideSchema); return err },
	)
	if err == nil {
		err = together(func() error { return warm(ctx, to.main) }, func() error { return warm(ctx, to.side) })
	}
	if err != nil {
		return fmt.Errorf("reach %s from %s: %w", at.to.name, at.from.name, err)
	}
	return nil
}

// remoteTimeout is how long a call to another Region may take; zero is the default. A write
// to PostgreSQL is two round trips.
func (l *Lab) remoteTimeout() time.Duration {
	if l.config.Engine == Postgres {
		return 500 * time.Millisecond
	}
	return 0
}

// engine opens an engine of a Region. A machine that is busy starting all of a demo may be
// too slow for a far link's connection at first.
func (b *databases) engine(ctx context.Context, r *region, to, schema string) (*postgres.Engine, error) {
	for begun := time.Now(); ; {
		e, err := postgres.Open(ctx, r.id, postgres.Config{
			DSN: to, Schema: schema, Replicated: schema == mainSchema, MaxConns: demoConns, LogBytes: demoLogBytes,
			Log: b.deployment.lab.config.Log,
		})
		if err == nil || !errors.Is(err, engine.ErrUnreachable) && !errors.Is(err, engine.ErrUnavailable) || time.Since(begun) > connectTimeout {
			return e, err
		}
		if !pause.For(ctx, connectAgain) {
			return nil, err
		}
	}
}

func (b *databases) open(ctx context.Context, r *region) (own, error) {
	addr := dsn(b.servers[r].server.Addr())
	main, err := b.engine(ctx, r, addr, mainSchema)
	if err != nil {
		return own{}, err
	}
	side, err := b.engine(ctx, r, addr, sideSchema)
	if err != nil {
		return own{}, errors.Join(err, main.Close())
	}
	return own{main: main, side: side, close: true}, nil
}

func (b *databases) seen(from, to *region) (main, side engine.Engine) {
	r := b.routes[route{from, to}]
	return r.main, r.side
}

// kill ends a Region's server, and then its process, which has nobody left to talk to.
func (b *databases) kill(r *region) error {
	b.deployment.net.Freeze(r.name)
	b.servers[r].server.Kill()
	return r.process().Close()
}

// revive starts a Region's server, and a new process.
func (b *databases) revive(ctx context.Context, r *region) (tale string, err error) {
	d := b.deployment
	ctx = context.WithoutCancel(ctx) // half a Region is of no use to whoever has left
	starting, cancel := context.WithTimeout(ctx, reviveTimeout)
	defer cancel()
	d.net.Kill(r.name) // connections begin anew
	if err = b.servers[r].server.Restart(starting); err == nil {
		d.net.Revive(r.name)
		err = d.openProcess(ctx, r)
	}
	if err != nil {
		d.net.Kill(r.name)
		b.servers[r].server.Kill()
		return "", err
	}
	return "with what its database had", nil
}

// watch keeps a Region's sample fresh until ctx ends. Where its server can't be asked the
// sample stays as it was.
func (b *databases) watch(ctx context.Context, r *region, d *database) {
	for ctx.Err() == nil {
		if b.deployment.net.Alive(r.name) {
			if k, err := d.count(ctx); err == nil {
				d.sample.Store(&k)
			}
		}
		pause.For(ctx, sampleEvery) // the loop looks at ctx
	}
}

// count asks a server what it holds.
func (d *database) count(ctx context.Context) (k kept, err error) {
	ctx, cancel := context.WithTimeout(ctx, sampleTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn(d.server.Addr()))
	if err != nil {
		return k, err
	}
	defer func() { _ = conn.Close(ctx) }() // it was read only
	err = conn.QueryRow(ctx, countText).Scan(&k.records, &k.bytes, &k.log)
	return k, err
}

func (b *databases) kept(r *region) kept {
	if d := b.servers[r]; d != nil {
		if k := d.sample.Load(); k != nil {
			return *k
		}
	}
	return kept{}
}

func (b *databases) native() *natively { return nil }

func (b *databases) stream(*console.Link, *region, *region) {} // processes push

// Close ends the watching, the engines, the proxies and the servers.
func (b *databases) Close() error {
	b.stop()
	b.watching.Wait()
	err := each(b.routes, func(_ route, to *reached) error {
		var errs []error
		for _, e := range []*postgres.Engine{to.main, to.side} {
			if e != nil {
				errs = append(errs, e.Close())
			}
		}
		if to.proxy != nil {
			errs = append(errs, to.proxy.Close())
		}
		return errors.Join(errs...)
	})
	return errors.Join(err, each(b.servers, func(_ *region, d *database) error {
		if d.server == nil {
			return nil
		}
		return d.server.Stop()
	}))
}
