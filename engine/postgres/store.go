package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// A dialect is what a server understands.
type dialect int

const (
	pg dialect = iota
	dsql
)

// lanes is how many queues there are for writes that would wait for each other, or
// undo each other, at the server: they wait here, where they hold no connection.
const lanes = 256

// A store is what engines of both dialects have.
type store struct {
	config   Config
	here     crdt.Region
	pool     *pgxpool.Pool
	retryFor time.Duration // how long what may pass is tried, if the context does not end before

	closed chan struct{}
	close  sync.Once
	stop   context.CancelFunc // ends the goroutines
	work   sync.WaitGroup     // all of them

	renewing sync.Mutex // guards renewed
	renewed  time.Time  // when connections were last made anew

	lanes [lanes]chan struct{} // holds one while somebody is in it
}

// openStore connects, and brings the schema up to date or finds that it is.
func openStore(ctx context.Context, here crdt.Region, c Config, d dialect) (*store, error) {
	c = c.withDefaults()
	poolConfig, err := c.check(here, d)
	if err != nil {
		return nil, err
	}
	if c.draw == nil {
		c.draw = func() crdt.Actor { return drawActor(here) }
	}
	s := &store{config: c, here: here, closed: make(chan struct{})}
	for i := range s.lanes {
		s.lanes[i] = make(chan struct{}, 1)
	}
	if s.pool, err = newPool(ctx, poolConfig); err != nil {
		return nil, err
	}
	if c.Migrate {
		err = s.migrate(ctx, d)
	} else {
		err = s.checkVersion(ctx, d)
	}
	if err != nil {
		s.pool.Close()
		return nil, err
	}
	return s, nil
}

// newPool returns a pool that connects when it is asked for a connection.
func newPool(ctx context.Context, c *pgxpool.Config) (*pgxpool.Pool, error) {
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), c)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrUnreachable, err)
	}
	return pool, nil
}

// Close lets go of the connections and returns when the last goroutine is gone. Calls
// under way are waited for, some seconds at most. It never fails.
func (s *store) Close() error {
	s.close.Do(func() {
		close(s.closed)
		s.stop()
		s.work.Wait()
		s.pool.Close()
	})
	return nil
}

// queue waits for a lane and returns what leaves it.
func (s *store) queue(ctx context.Context, lane int) (leave func(), err error) {
	in := s.lanes[lane]
	select {
	case in <- struct{}{}:
		return func() { <-in }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", engine.ErrUnreachable, engine.Ended(ctx))
	}
}

// now returns a time of the server's clock.
func (s *store) now(t time.Time) crdt.Time { return s.config.clock(t) }

// query asks for rows and hands each to take, once: what take was given before a
// failure is not given again.
func (s *store) query(ctx context.Context, text string, args []any, take func(pgx.Rows) error) error {
	return s.retrying(ctx, func() error {
		conn, err := s.pool.Acquire(ctx)
		if err != nil {
			return s.failed(ctx, err, before)
		}
		defer conn.Release()
		rows, err := conn.Query(ctx, text, args...)
		taken := false
		for err == nil && rows.Next() {
			taken = true
			if err := take(rows); err != nil {
				rows.Close()
				return err
			}
		}
		if err == nil {
			err = rows.Err()
		}
		err = s.failed(ctx, err, reading)
		if p, ok := errors.AsType[passing](err); ok && taken {
			return p.error
		}
		return err
	})
}

// failed returns what err of the driver is to the engine's caller.
func (s *store) failed(ctx context.Context, err error, at when) error {
	if err != nil && at != commit && s.isClosed() {
		return engine.ErrClosed
	}
	return classify(ctx, err, at)
}

func (s *store) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// ready is what every call about a record asks first.
func (s *store) ready(ctx context.Context, k crdt.Key) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	return engine.CheckKey(k)
}

// open is what every call asks first.
func (s *store) open(ctx context.Context) error {
	if s.isClosed() {
		return engine.ErrClosed
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", engine.ErrUnreachable, engine.Ended(ctx))
	}
	return nil
}

// isReply reports whether err was sent by the server.
func isReply(err error) bool {
	_, ok := errors.AsType[*pgconn.PgError](err)
	return ok
}

// keepUntil returns when r may be dropped; the end of time if never.
func keepUntil(r crdt.Record) crdt.Time {
	if t, ok := r.KeepUntil(); ok {
		return t
	}
	return math.MaxInt64
}

// shown returns r, bottom if it is past its time and has not been dropped yet.
func shown(r crdt.Record, now crdt.Time) crdt.Record {
	if now >= keepUntil(r) {
		return crdt.Record{Key: r.Key}
	}
	return r
}

// overAge reports whether even a tombstone of k is past its time, so that nothing about
// it is worth keeping. A key of nothing always is.
func overAge(k crdt.Key, now crdt.Time) bool {
	if k.Kind() != crdt.KindSession {
		return k.IsZero()
	}
	return keepUntil(crdt.Record{Key: k, Dead: true}) <= now
}
