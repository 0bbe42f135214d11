package opener

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

var errOpening = errors.New("nobody has answered yet")

// A Lazy is an engine that is opened while it is used already: as often as it takes,
// until Close. Until it is open its calls fail with engine.ErrUnreachable: nothing was
// sent, and nobody waits. It may be used by many goroutines.
type Lazy struct {
	opened chan struct{} // closed when there is an engine
	stop   context.CancelFunc
	work   sync.WaitGroup // the goroutine that opens

	mu     sync.Mutex // guards what follows
	engine engine.Engine
	reason error // why there is none
	closed bool
}

var _ engine.Wrapper = (*Lazy)(nil)

// NewLazy returns an engine that open opens; what names it for the log. Ctx bounds the
// tries, as Close does.
func NewLazy(ctx context.Context, what string, r Retry, open func(context.Context) (engine.Engine, error)) *Lazy {
	l := &Lazy{opened: make(chan struct{}), reason: errOpening}
	ctx, l.stop = context.WithCancel(ctx)
	l.work.Go(func() {
		r.Do(ctx, what, l.failed, func() error {
			e, err := open(ctx)
			if err == nil {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.engine = e
				close(l.opened)
			}
			return err
		})
	})
	return l
}

func (l *Lazy) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reason = err
}

// Opened returns what is closed when the engine is open.
func (l *Lazy) Opened() <-chan struct{} { return l.opened }

// Err returns why the engine is not open; nil: it is.
func (l *Lazy) Err() error {
	_, err := l.get()
	return err
}

func (l *Lazy) get() (engine.Engine, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, engine.ErrClosed
	case l.engine == nil:
		// The reason is told and not wrapped: that a try to open failed without an
		// answer does not make the outcome of a call unknown.
		return nil, fmt.Errorf("%w: it could not be opened yet: %v", engine.ErrUnreachable, l.reason) //nolint:errorlint // see above
	}
	return l.engine, nil
}

// Unwrap returns the engine; nil until it is open.
func (l *Lazy) Unwrap() engine.Engine {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.engine
}

// Read reads as the engine does.
func (l *Lazy) Read(ctx context.Context, k crdt.Key, seen crdt.Token) (crdt.Record, error) {
	e, err := l.get()
	if err != nil {
		return crdt.Record{}, fmt.Errorf("read %v: %w", k, err)
	}
	return e.Read(ctx, k, seen)
}

// Apply applies as the engine does.
func (l *Lazy) Apply(ctx context.Context, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	e, err := l.get()
	if err != nil {
		return crdt.Dot{}, fmt.Errorf("apply to %v: %w", k, err)
	}
	return e.Apply(ctx, k, op)
}

// Join joins as the engine does.
func (l *Lazy) Join(ctx context.Context, r crdt.Record) error {
	e, err := l.get()
	if err != nil {
		return fmt.Errorf("join %v: %w", r.Key, err)
	}
	return e.Join(ctx, r)
}

// Close ends the tries, or closes the engine.
func (l *Lazy) Close() error {
	l.stop()
	l.work.Wait()
	l.mu.Lock()
	e, again := l.engine, l.closed
	l.closed = true
	l.mu.Unlock()
	if e == nil || again {
		return nil
	}
	return e.Close()
}
