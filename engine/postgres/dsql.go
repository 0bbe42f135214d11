package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// A DSQL keeps records in an Aurora DSQL cluster, which may span Regions: each has an
// engine of its own, and what one has committed the others read. So it has no log for
// peers and takes none in. Any number of engines may be open for one schema.
//
// Its errors say what those of an Engine do.
type DSQL struct {
	*store
	text  dsqlTexts
	actor crdt.Actor
}

var _ engine.Scanner = (*DSQL)(nil)

// retryForDSQL is how long a call is tried again that another one undid: COMMIT is when
// they meet, which across Regions takes some ten times as long as inside one.
const retryForDSQL = 2 * time.Second

// OpenDSQL connects to a cluster and returns the engine of the Region here. It fails as
// Open does. Close it.
func OpenDSQL(ctx context.Context, here crdt.Region, c Config) (*DSQL, error) {
	s, err := openStore(ctx, here, c, dsql)
	if err != nil {
		return nil, fmt.Errorf("dsql engine: %w", err)
	}
	s.retryFor = retryForDSQL
	e := &DSQL{store: s, text: newDsqlTexts(s.config.Schema)}
	if e.actor, err = e.findActor(ctx); err != nil {
		s.pool.Close()
		return nil, fmt.Errorf("dsql engine: %w", err)
	}
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.work.Go(func() { e.sweepOnAndOn(ctx) })
	return e, nil
}

// findActor returns the actor of this Region's writes: one for all its processes, as
// long as the cluster keeps what they write.
func (e *DSQL) findActor(ctx context.Context) (actor crdt.Actor, err error) {
	ctx, cancel := context.WithTimeout(ctx, callMost)
	defer cancel()
	err = e.retrying(ctx, func() error {
		var stored int32
		err := e.query(ctx, e.text.actor, []any{int16(e.here)}, func(r pgx.Rows) error { return r.Scan(&stored) })
		if err != nil {
			return err
		}
		if stored == 0 {
			stored = int32(e.config.draw())                                                    //nolint:gosec // 24 bits
			if _, err := e.execOnce(ctx, e.text.newActor, int16(e.here), stored); err != nil { // also where another process was first
				return err
			}
		}
		if actor = crdt.Actor(stored); actor.Region() != e.here { //nolint:gosec // 24 bits
			return fmt.Errorf("%w: actor %v of Region %d", engine.ErrCorrupt, actor, e.here)
		}
		return nil
	})
	return actor, err
}

// Read returns the record of k, bottom if there is none.
func (e *DSQL) Read(ctx context.Context, k crdt.Key, _ crdt.Token) (crdt.Record, error) {
	r, err := e.read(ctx, k)
	if err != nil {
		return crdt.Record{}, fmt.Errorf("read %v: %w", k, err)
	}
	return r, nil
}

func (e *DSQL) read(ctx context.Context, k crdt.Key) (r crdt.Record, err error) {
	if err := e.ready(ctx, k); err != nil {
		return r, err
	}
	ctx, cancel := context.WithTimeout(ctx, callMost)
	defer cancel()
	r.Key = k
	err = e.query(ctx, e.text.read, []any{recordID(k)}, func(row pgx.Rows) error {
		var now time.Time
		var state []byte
		if err := row.Scan(&now, &state); err != nil {
			return fmt.Errorf("%w: %w", engine.ErrCorrupt, err)
		}
		if state == nil {
			return nil
		}
		stored, err := decodeState(k, state)
		if err == nil {
			r = shown(stored, e.now(now))
		}
		return err
	})
	return r, err
}

// Apply does what crdt.Apply does, in one transaction. One that another undid is
// decided anew.
func (e *DSQL) Apply(ctx context.Context, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	var dot crdt.Dot
	err := e.ready(ctx, k)
	if err == nil {
		err = op.Check(k)
	}
	if err == nil {
		err = e.do(ctx, k, func(j *job) error {
			f, err := j.apply(k, op, e.actor, func(_, _ crdt.Record) error { return nil })
			dot = f.Dot
			return err
		})
	}
	if err != nil {
		return crdt.Dot{}, fmt.Errorf("apply to %v: %w", k, err)
	}
	return dot, nil
}

// Join merges a state from elsewhere.
func (e *DSQL) Join(ctx context.Context, r crdt.Record) error {
	err := e.ready(ctx, r.Key)
	if err == nil && !r.IsBottom() {
		err = e.do(ctx, r.Key, func(j *job) error {
			j.join(r)
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("join %v: %w", r.Key, err)
	}
	return nil
}

// do does something to the record of k in one transaction, as often as it takes. Who
// writes one record in one process does so one after the other: they would undo each
// other.
func (e *DSQL) do(ctx context.Context, k crdt.Key, decide func(*job) error) error {
	ctx, cancel := context.WithTimeout(ctx, callMost)
	defer cancel()
	leave, err := e.queue(ctx, int(k.Name()[15]))
	if err != nil {
		return err
	}
	defer leave()
	return e.retrying(ctx, func() error {
		var j job
		var state []byte
		var due *int64
		read := e.takeNow(&j, &state, &due)
		return e.try(ctx, transaction{
			open: []step{{text: e.text.begin}, {text: e.text.stored, args: []any{recordID(k)}, take: func(r pgx.BatchResults) error {
				if err := read(r); err != nil || state == nil || due == nil {
					return err
				}
				return j.note(k, state, *due)
			}}},
			decide: func() ([]step, error) {
				if err := decide(&j); err != nil {
					return nil, err
				}
				return j.writes(e.text.insert, e.text.update), nil
			},
		})
	})
}

// clock returns the cluster's time.
func (e *DSQL) clock(ctx context.Context) (crdt.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, callMost)
	defer cancel()
	var at time.Time
	err := e.query(ctx, e.text.clock, nil, func(r pgx.Rows) error { return r.Scan(&at) })
	return e.now(at), err
}

// tooLarge reports whether a transaction was refused for its size.
func tooLarge(err error) bool {
	reply, ok := errors.AsType[*pgconn.PgError](err)
	return ok && reply.Code == "54000" // program_limit_exceeded
}
