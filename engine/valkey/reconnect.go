package valkey

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/engine"
)

// Reconnect has what is asked from now on go over connections that are made now, to
// wherever the names of Config.Addrs lead. The old ones are closed within a second: what
// is under way on them has that long to end. It is for whoever knows that another server
// is the primary: a connection stays as long as its server answers, and one that is cut
// off from the others may do so for long. If no connection can be made those there are
// stay, and it fails with engine.ErrUnreachable; so it does if ctx ends before one is
// made, and then they may be replaced later.
func (e *Engine) Reconnect(ctx context.Context) error {
	if err := e.open(ctx); err != nil {
		return fmt.Errorf("reconnect: %w", err)
	}
	done := make(chan error, 1)
	if !e.aside(func() { done <- e.reconnect() }) {
		return fmt.Errorf("reconnect: %w", engine.ErrClosed)
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("reconnect: %w: %w", engine.ErrUnreachable, engine.Ended(ctx))
	}
}

// reconnect takes as long as it does, three seconds at most.
func (e *Engine) reconnect() error {
	client, err := valkey.NewClient(e.option())
	if err != nil {
		return fmt.Errorf("reconnect: %w: %w", engine.ErrUnreachable, err)
	}
	if !e.link.replace(client) {
		client.Close()
		return fmt.Errorf("reconnect: %w", engine.ErrClosed)
	}
	e.connected.Store(true)
	if e.near != nil {
		e.near.flush() // of the server that there was
	}
	return nil
}

const (
	// refusedFor is how long servers refuse under a lease before connections are made anew:
	// in a switchover they do for less, and a connection that has just been made is not yet
	// there for half of the keys.
	refusedFor = time.Second
	// renewSeldom is the longest wait until that is done again; it doubles. A client that was
	// replaced is kept by valkey-go until its connections would have been too old: half a
	// megabyte for ten minutes.
	renewSeldom = 30 * time.Second
	// refusedAgo is after how long refusals are no longer those of before.
	refusedAgo = 10 * time.Second
)

// refusals are those of servers to whoever is under a lease. Many goroutines note them.
type refusals struct {
	mu         sync.Mutex // guards what follows
	last, next time.Time
	wait       time.Duration
}

// note notes one, and reports whether connections are to be made anew.
func (r *refusals) note(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last.IsZero() || now.Sub(r.last) > refusedAgo {
		r.wait, r.next = refusedFor, now.Add(refusedFor)
	}
	r.last = now
	if now.Before(r.next) {
		return false
	}
	r.wait = min(2*r.wait, renewSeldom)
	r.next = now.Add(r.wait)
	return true
}

// renewAside has connections made anew, for calls to come, and holds up nobody, if servers
// have refused for a while.
func (e *Engine) renewAside() {
	if !e.refused.note(time.Now()) {
		return
	}
	if e.renewing.CompareAndSwap(false, true) {
		done := e.aside(func() {
			defer e.renewing.Store(false)
			e.link.renew(e.option())
		})
		if !done {
			e.renewing.Store(false) // it is closed
		}
	}
}

// replace puts another client in the place of the one there is, and reports whether it
// did: not once the link is closed.
func (l *link) replace(next valkey.Client) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.renewed = time.Now()
	old := *l.now.Swap(&next)
	if len(l.left) == mostLeaving {
		l.left[0].timer.Stop()
		l.left[0].client.Close()
		l.left = l.left[1:]
	}
	l.left = append(l.left, leaving{old, time.AfterFunc(leaveFor, old.Close)})
	return true
}
