package fault

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// A Remote is one host's handle on the engine of another, an engine.Wrapper
// whose calls pass the Calls plane: a request from caller to engine, an answer
// back. It may be used by many goroutines.
//
// What is lost, cut or late is heard of only through ctx: the caller gets
// engine.ErrUnavailable with the error of ctx when that ends. A request that
// was lost was never made, one whose answer was lost was, and one that is on
// its way when ctx ends still arrives: the late write that DESIGN R1 is about.
// An engine on a killed host is engine.ErrUnreachable once its refusal is back,
// and ErrUnavailable if it was killed while the request was there.
type Remote struct {
	net         *Net
	engine      engine.Engine
	there, back *line
	closed      chan struct{}

	mu     sync.Mutex // guards what follows
	ending bool
	calls  sync.WaitGroup // calls and late requests under way; added to under mu
}

var _ engine.Wrapper = (*Remote)(nil)

// Engine returns e as it is seen from another host: from calls it, and to has it.
func (n *Net) Engine(from, to string, e engine.Engine) *Remote {
	n.mu.Lock()
	defer n.mu.Unlock()
	return &Remote{
		net: n, engine: e, closed: make(chan struct{}),
		there: n.line(from, to, Calls), back: n.line(to, from, Calls),
	}
}

// Unwrap returns the engine itself. Powers found through it do not pass the
// network.
func (r *Remote) Unwrap() engine.Engine { return r.engine }

// Read asks over the network.
func (r *Remote) Read(ctx context.Context, k crdt.Key, seen crdt.Token) (crdt.Record, error) {
	return call(ctx, r, func(ctx context.Context) (crdt.Record, error) { return r.engine.Read(ctx, k, seen) })
}

// Apply writes over the network.
func (r *Remote) Apply(ctx context.Context, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	return call(ctx, r, func(ctx context.Context) (crdt.Dot, error) { return r.engine.Apply(ctx, k, op) })
}

// Join merges over the network.
func (r *Remote) Join(ctx context.Context, rec crdt.Record) error {
	_, err := call(ctx, r, func(ctx context.Context) (struct{}, error) { return struct{}{}, r.engine.Join(ctx, rec) })
	return err
}

// Close ends the calls of this handle, drops requests still on their way, and
// returns when all are gone. The engine stays open: it is its own Region's, and
// others have handles too. Calls that were waiting fail with ErrUnavailable and
// ErrClosed: their outcome is unknown.
func (r *Remote) Close() error {
	r.mu.Lock()
	first := !r.ending
	r.ending = true
	r.mu.Unlock()
	if first {
		close(r.closed)
	}
	r.calls.Wait()
	return nil
}

// call makes one call over the network.
func call[T any](ctx context.Context, r *Remote, do func(context.Context) (T, error)) (T, error) {
	var none T
	if err := r.enter(); err != nil {
		return none, err
	}
	defer r.calls.Done()
	if err := r.request(ctx, func(ctx context.Context) { _, _ = do(ctx) }); err != nil {
		return none, err
	}
	got, err := do(ctx)
	if lost := r.answer(ctx); lost != nil {
		return none, lost
	}
	return got, err
}

// enter refuses calls that can't be made at all.
func (r *Remote) enter() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ending {
		return r.explain(engine.ErrClosed)
	}
	if r.net.killed(r.there.from) {
		return r.explain(fmt.Errorf("%w: %w", engine.ErrUnreachable, syscall.EHOSTDOWN))
	}
	r.calls.Add(1)
	return nil
}

// request carries the request. It fails if the call can't be made or ctx ended
// first; in the latter case late is called when the request arrives.
func (r *Remote) request(ctx context.Context, late func(context.Context)) error {
	due, ok := r.net.depart(r.there)
	if !ok {
		return r.silence(ctx)
	}
	if err := r.sleep(ctx, due); err != nil {
		r.calls.Add(1) // allowed beside Close: this call itself is still counted
		go r.arriveLate(ctx, due, late)
		return err
	}
	switch r.net.arrive(r.there) {
	case swallowed:
		return r.silence(ctx)
	case refused:
		if lost := r.ride(ctx); lost != nil {
			return lost
		}
		return r.explain(fmt.Errorf("%w: %w", engine.ErrUnreachable, syscall.ECONNREFUSED))
	}
	return nil
}

// arriveLate makes a call that nobody waits for any more. Only Close ends it.
func (r *Remote) arriveLate(ctx context.Context, due time.Time, late func(context.Context)) {
	defer r.calls.Done()
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	r.calls.Go(func() {
		select {
		case <-r.closed:
			stop()
		case <-ctx.Done():
		}
	})
	err := sleep(ctx, due)
	if r.net.arrive(r.there) == arrived && err == nil {
		late(ctx)
	}
}

// answer carries the answer, or the reset of a host that was killed before it
// could give one.
func (r *Remote) answer(ctx context.Context) error {
	reset := r.net.killed(r.back.from)
	if err := r.ride(ctx); err != nil {
		return err
	}
	if reset {
		return r.unavailable(syscall.ECONNRESET)
	}
	return nil
}

// ride carries one message back to the caller.
func (r *Remote) ride(ctx context.Context) error {
	due, ok := r.net.depart(r.back)
	if !ok {
		return r.silence(ctx)
	}
	err := r.sleep(ctx, due)
	switch way := r.net.arrive(r.back); {
	case err != nil:
		return err
	case way == swallowed:
		return r.silence(ctx)
	case way == refused: // the caller's own host was killed
		return r.unavailable(syscall.ECONNRESET)
	}
	return nil
}

// silence waits for the end of ctx, or of the handle.
func (r *Remote) silence(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return r.unavailable(ctx.Err())
	case <-r.closed:
		return r.unavailable(engine.ErrClosed)
	}
}

// sleep waits until a moment has come. It fails as silence does.
func (r *Remote) sleep(ctx context.Context, until time.Time) error {
	d := time.Until(until)
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return r.unavailable(ctx.Err())
	case <-r.closed:
		return r.unavailable(engine.ErrClosed)
	}
}

func (r *Remote) unavailable(cause error) error {
	return r.explain(fmt.Errorf("%w: %w", engine.ErrUnavailable, cause))
}

func (r *Remote) explain(err error) error {
	return fmt.Errorf("call %s from %s: %w", r.there.to.name, r.there.from.name, err)
}
