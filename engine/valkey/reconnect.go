package valkey

import (
	"context"
	"fmt"
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

// renewAside has connections made anew, for calls to come, and holds up nobody.
func (e *Engine) renewAside() {
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
