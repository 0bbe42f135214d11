package dynamo

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// ErrUnfit: the table is not one that records can be kept in. The error says why.
var ErrUnfit = errors.New("table is unfit")

// An Engine keeps records in a table. Records that it returns are never changed again. Any
// number of engines, in any number of processes, may be open for one table: those of one
// Region are one engine to whoever looks.
//
// A call whose context has ended fails with engine.ErrUnreachable and the context's error,
// and has done nothing. What a call may try again, it does for a second at most, within its
// context.
type Engine struct {
	config Config
	here   crdt.Region
	table  table
	dice   func() uint32 // newIncarnation
	lines  lines

	mu     sync.Mutex // guards what follows
	closed bool
	calls  map[*context.CancelCauseFunc]struct{} // under way
	work   sync.WaitGroup                        // the same
}

var _ engine.Scanner = (*Engine)(nil)

// A table is where items are. Its errors are failures, errConflict, or engine.ErrCorrupt.
type table interface {
	// items returns all items of a record, with all writes that were answered in this
	// Region before.
	items(ctx context.Context, key string) ([]item, error)
	// put writes it in place of the item of its record and writer, if that has the version
	// was; zero: if there is none. Else it fails with errConflict.
	put(ctx context.Context, it item, was version) error
	// remove deletes it, if it still has its version. Else it fails with errConflict.
	remove(ctx context.Context, it item) error
	// scan returns some items and where to go on; nil: that was all. Those of one record
	// come one after the other.
	scan(ctx context.Context, from position) ([]item, position, error)
	// past returns some items of a segment that are past their time, as they were not long
	// ago, and where to go on; nil: that was all. Pages may be empty.
	past(ctx context.Context, of segment, from position) ([]item, position, error)
	// close lets go of connections.
	close()
}

// Open finds the table and returns the engine of the Region here. It fails with all that
// is wrong with c, with ErrUnfit, or if the table can't be reached within ctx. Close it.
func Open(ctx context.Context, here crdt.Region, c Config) (*Engine, error) {
	c = c.withDefaults()
	if err := c.check(here); err != nil {
		return nil, fmt.Errorf("dynamo engine: %w", err)
	}
	t, err := connect(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("dynamo engine: %w", err)
	}
	if err := t.fit(ctx, c); err != nil {
		t.close()
		return nil, fmt.Errorf("dynamo engine: table %s: %w", c.Table, err)
	}
	return newEngine(here, c, t), nil
}

func newEngine(here crdt.Region, c Config, t table) *Engine {
	return &Engine{config: c.withDefaults(), here: here, table: t, dice: newIncarnation, calls: map[*context.CancelCauseFunc]struct{}{}}
}

// Close ends the calls that are under way, and lets go of the connections. It never fails.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	for cancel := range e.calls {
		(*cancel)(engine.ErrClosed)
	}
	e.mu.Unlock()
	e.work.Wait()
	e.table.close()
	return nil
}

// Read returns the record of k, bottom if there is none: in this Region's copy of the
// table, as of now. With Config.Strong that is all Regions'.
func (e *Engine) Read(ctx context.Context, k crdt.Key, _ crdt.Token) (crdt.Record, error) {
	ctx, done, err := e.begin(ctx, k)
	if err != nil {
		return crdt.Record{}, fmt.Errorf("read %v: %w", k, err)
	}
	defer done()
	for t := newTries(); ; {
		v, err := e.look(ctx, k)
		if err == nil {
			return e.shown(v.all), nil
		}
		if !isWorthATry(err) || !t.again(ctx) {
			return crdt.Record{}, fmt.Errorf("read %v: %w", k, ended(ctx, err))
		}
	}
}

// Apply does crdt.Apply and writes what it adds to this Region's item, if nobody has
// written that since it was read; else it is done again.
func (e *Engine) Apply(ctx context.Context, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	dot, err := e.apply(ctx, k, op)
	if err != nil {
		return crdt.Dot{}, fmt.Errorf("apply to %v: %w", k, err)
	}
	return dot, nil
}

func (e *Engine) apply(ctx context.Context, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	ctx, done, err := e.begin(ctx, k)
	if err != nil {
		return crdt.Dot{}, err
	}
	defer done()
	if err := op.Check(k); err != nil {
		return crdt.Dot{}, err
	}
	return e.change(ctx, k, func(v view) (crdt.Record, crdt.Dot, error) {
		at := crdt.Origin{Actor: crdt.NewActor(e.here, v.incarnation), Now: e.now()}
		_, f, err := crdt.Apply(v.all, op, at)
		if err != nil || f.Dot.IsZero() {
			return crdt.Record{Key: k}, crdt.Dot{}, err
		}
		return f.Effect, f.Dot, nil
	})
}

// Join merges a state from elsewhere into this Region's item, unless the items of all
// contain it. One too large for an item is refused with crdt.ErrLimit, as no operation can
// make one: it takes the fields of several Regions.
func (e *Engine) Join(ctx context.Context, r crdt.Record) error {
	ctx, done, err := e.begin(ctx, r.Key)
	if err != nil {
		return fmt.Errorf("join %v: %w", r.Key, err)
	}
	defer done()
	if r.IsBottom() {
		return nil
	}
	_, err = e.change(ctx, r.Key, func(v view) (crdt.Record, crdt.Dot, error) {
		late := v.all.IsBottom() && e.shown(r).IsBottom()
		if late || crdt.Join(v.all, r).Digest() == v.all.Digest() {
			return crdt.Record{Key: r.Key}, crdt.Dot{}, nil
		}
		return r, crdt.Dot{}, nil
	})
	if err != nil {
		return fmt.Errorf("join %v: %w", r.Key, err)
	}
	return nil
}

// shown returns r, bottom if it is past its time. The table keeps it for longer: DynamoDB
// deletes when it comes to it, days later.
func (e *Engine) shown(r crdt.Record) crdt.Record {
	if until, ok := r.KeepUntil(); ok && e.now() >= until {
		return crdt.Record{Key: r.Key}
	}
	return r
}

func (e *Engine) now() crdt.Time { return crdt.TimeOf(e.config.Clock()) }

// writer returns whose item this engine writes.
func (e *Engine) writer() crdt.Region {
	if e.config.Strong {
		return everybody
	}
	return e.here
}

// begin is what every call about a record asks first.
func (e *Engine) begin(ctx context.Context, k crdt.Key) (inner context.Context, done func(), err error) {
	inner, done, err = e.enter(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := engine.CheckKey(k); err != nil {
		done()
		return nil, nil, err
	}
	return inner, done, nil
}

// enter begins a call, which Close ends.
func (e *Engine) enter(ctx context.Context) (inner context.Context, done func(), err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, nil, engine.ErrClosed
	}
	if ctx.Err() != nil {
		return nil, nil, fmt.Errorf("%w: %w", engine.ErrUnreachable, engine.Ended(ctx))
	}
	inner, cancel := context.WithCancelCause(ctx)
	e.calls[&cancel] = struct{}{}
	e.work.Add(1)
	return inner, func() {
		e.mu.Lock()
		delete(e.calls, &cancel)
		e.mu.Unlock()
		cancel(nil)
		e.work.Done()
	}, nil
}
