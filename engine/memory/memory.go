package memory

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// An Engine is a Core for many goroutines, with a clock. It is an
// engine.Engine, Log, Sink, Scanner and Refiller. Records that it returns are never
// changed again, so they may be kept and shared.
//
// A call whose context has ended fails with engine.ErrUnreachable and the
// context's error, and has done nothing; one that has begun ends at once.
type Engine struct {
	clock     func() time.Time
	secondary atomic.Bool
	closed    chan struct{}
	close     sync.Once
	swept     sync.WaitGroup // the sweeping goroutine

	// locks[p] guards partition p of core. None is taken under another.
	locks [crdt.Partitions]sync.Mutex
	core  *Core

	followers followers
}

var (
	_ engine.Log      = (*Engine)(nil)
	_ engine.Sink     = (*Engine)(nil)
	_ engine.Scanner  = (*Engine)(nil)
	_ engine.Refiller = (*Engine)(nil)
)

// An atomicMeter is for many goroutines.
type atomicMeter struct{ atomic.Int64 }

func (m *atomicMeter) add(bytes int64) { m.Add(bytes) }
func (m *atomicMeter) total() int64    { return m.Load() }

// New returns an empty engine for the Region here. It fails with all that is
// wrong with c, and with nothing else. Close it.
func New(here crdt.Region, c Config) (*Engine, error) {
	c = c.withDefaults()
	if err := c.check(here); err != nil {
		return nil, fmt.Errorf("memory engine: %w", err)
	}
	incarnation := c.Incarnation
	if incarnation == 0 {
		var b [4]byte
		_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
		incarnation = binary.BigEndian.Uint32(b[:])
	}
	e := &Engine{
		clock:  c.Clock,
		closed: make(chan struct{}),
		core:   newCore(crdt.NewActor(here, incarnation), c, new(atomicMeter)),
	}
	e.secondary.Store(c.Secondary)
	e.swept.Go(func() { e.sweep(c.SweepInterval) })
	return e, nil
}

// Read returns the record of k, bottom if there is none. It is the only copy,
// so it is as fresh as any. It fails with crdt.ErrMalformed for a key that
// names nothing; while the engine is refilling, with engine.ErrRefilling beside
// the record.
//
// Path read 3/4: from router.Router.Read; next Session.load, in package roam.
func (e *Engine) Read(ctx context.Context, k crdt.Key, _ crdt.Token) (crdt.Record, error) {
	if err := e.ready(ctx, k); err != nil {
		return crdt.Record{}, fmt.Errorf("read %v: %w", k, err)
	}
	now := e.now()
	mu := e.lock(k.Partition())
	defer mu.Unlock()
	if e.core.Refilling(k) {
		return e.core.Read(now, k), engine.ErrRefilling
	}
	return e.core.Read(now, k), nil
}

// Apply does crdt.Apply and writes the log. It fails with the refusals of
// crdt.Apply, with crdt.ErrMalformed for a key that names nothing, with
// engine.ErrNotPrimary on a secondary and with engine.ErrFull; nothing was
// written then.
//
// Path write 4/5: from router.Router.Write; next response.setCookies, in package
// roam, and Sender.Offer, in package replica.
func (e *Engine) Apply(ctx context.Context, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	dot, err := e.apply(ctx, k, op)
	if err != nil {
		return crdt.Dot{}, fmt.Errorf("apply to %v: %w", k, err)
	}
	if !dot.IsZero() {
		e.followers.wake(k.Partition())
	}
	return dot, nil
}

func (e *Engine) apply(ctx context.Context, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	if err := e.ready(ctx, k); err != nil {
		return crdt.Dot{}, err
	}
	mu := e.lock(k.Partition())
	defer mu.Unlock()
	if e.secondary.Load() { // under the lock, as SetPrimary needs
		return crdt.Dot{}, engine.ErrNotPrimary
	}
	// The clock is read under the lock, so that the log is in its order.
	return e.core.Apply(e.now(), k, op)
}

// Join merges a state from elsewhere. It fails with crdt.ErrMalformed for a
// key that names nothing.
func (e *Engine) Join(ctx context.Context, r crdt.Record) error {
	if err := e.ready(ctx, r.Key); err != nil {
		return fmt.Errorf("join %v: %w", r.Key, err)
	}
	mu := e.lock(r.Key.Partition())
	defer mu.Unlock()
	e.core.Join(e.now(), r)
	return nil
}

// Scan yields the records of some partitions, one partition after the other: those
// of each as they were at one moment, by key. No lock is held while yield runs.
func (e *Engine) Scan(ctx context.Context, of engine.Partitions, yield func(crdt.Record) bool) error {
	if err := e.open(ctx); err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	for p := range of.All() {
		mu := e.lock(p)
		records := e.core.snapshot(e.now(), p)
		mu.Unlock()
		for _, r := range sortRecords(records) {
			if ctx.Err() != nil {
				return fmt.Errorf("scan partition %d: %w: %w", p, engine.ErrUnavailable, engine.Ended(ctx))
			}
			if !yield(r) {
				return nil
			}
		}
	}
	return nil
}

// SetPrimary says whether Apply is taken. When it returns, no Apply that began
// before is still under way.
func (e *Engine) SetPrimary(primary bool) {
	e.secondary.Store(!primary)
	for p := range uint16(crdt.Partitions) {
		e.lock(p).Unlock()
	}
}

// Lost reports whether SetRefilling said last that the engine is being given back
// what it lost. A new engine can't know what it once had.
func (e *Engine) Lost(ctx context.Context) (bool, error) {
	if err := e.open(ctx); err != nil {
		return false, fmt.Errorf("ask what was lost: %w", err)
	}
	defer e.lock(0).Unlock()
	return e.core.at(0).refilling, nil
}

// SetRefilling says whether the engine is being given back what it lost, so that
// what Read does not find may have been there. While it is open it loses nothing,
// so that it is never refilled in vain.
func (e *Engine) SetRefilling(ctx context.Context, on bool) error {
	if err := e.open(ctx); err != nil {
		return fmt.Errorf("set refilling: %w", err)
	}
	for p := range uint16(crdt.Partitions) {
		mu := e.lock(p)
		e.core.at(p).refilling = on
		mu.Unlock()
	}
	return nil
}

// Close forgets everything and returns when the sweeping has ended. Follow
// ends with engine.ErrClosed, as do calls made afterwards; closing again does
// nothing. It never fails.
func (e *Engine) Close() error {
	e.close.Do(func() {
		close(e.closed)
		e.swept.Wait()
		for p := range uint16(crdt.Partitions) {
			mu := e.lock(p)
			e.core.clear(p)
			mu.Unlock()
		}
	})
	return nil
}

// sweepBudget is how many records are looked at under one lock: at some 100 ns
// each, nobody waits longer than for a few writes.
const sweepBudget = 128

func (e *Engine) sweep(interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-e.closed:
			return
		case <-tick.C:
		}
		for p := range uint16(crdt.Partitions) {
			for more := true; more && !e.isClosed(); {
				mu := e.lock(p)
				more = e.core.Sweep(e.now(), p, sweepBudget)
				mu.Unlock()
			}
		}
	}
}

func (e *Engine) now() crdt.Time { return crdt.TimeOf(e.clock()) }

func (e *Engine) lock(partition uint16) *sync.Mutex {
	mu := &e.locks[partition]
	mu.Lock()
	return mu
}

func (e *Engine) isClosed() bool {
	select {
	case <-e.closed:
		return true
	default:
		return false
	}
}

// ready is what every call about a record asks first.
func (e *Engine) ready(ctx context.Context, k crdt.Key) error {
	if err := e.open(ctx); err != nil {
		return err
	}
	return engine.CheckKey(k)
}

// open is what every call asks first.
func (e *Engine) open(ctx context.Context) error {
	if e.isClosed() {
		return engine.ErrClosed
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", engine.ErrUnreachable, engine.Ended(ctx))
	}
	return nil
}
