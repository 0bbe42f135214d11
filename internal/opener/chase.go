package opener

import (
	"context"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// A Chase tells how old what a Region has is while the primary changes: a News of the one
// there is. Where this Region is the primary itself, nothing is older than now. It may be
// used by many goroutines.
type Chase struct {
	here     engine.Engine
	interval time.Duration
	turn     sync.Mutex // one To or Close at a time; taken before mu

	mu     sync.Mutex // guards what follows
	own    bool       // this Region is the primary
	news   *News      // nil: own, or there is nobody to measure by
	had    time.Time  // all that was written by then is here; zero: not known
	closed bool
}

// NewChase returns a Chase that follows nobody yet, so that nothing has been heard. Every
// interval it is measured, as Follow does. Close it before the engines.
func NewChase(here engine.Engine, interval time.Duration) *Chase {
	return &Chase{here: here, interval: interval}
}

// Own says that this Region is the primary from now on.
func (c *Chase) Own() { c.become(true, nil, false) }

// To measures by another primary from now on; nil: by nobody, so that nothing is heard.
// Kept: the one before had stopped before this one began, and that was just now. Then what
// was here of it is as old as it was until more is known, and strict routes go on; else
// nothing has been heard until the new one's news come, as of a primary that may have
// begun long ago. Ctx bounds the measuring, as Close does.
func (c *Chase) To(ctx context.Context, primary *Lazy, kept bool) {
	if primary == nil {
		c.become(false, nil, false)
		return
	}
	c.become(false, func() *News { return Follow(ctx, primary, c.here, c.interval) }, kept)
}

func (c *Chase) become(own bool, follow func() *News, kept bool) {
	c.turn.Lock()
	defer c.turn.Unlock()
	var had time.Time
	if age, ok := c.Heard(0); ok && kept {
		had = time.Now().Add(-age)
	}
	if c.isClosed() {
		return
	}
	var news *News
	if follow != nil {
		news = follow()
	}
	c.mu.Lock()
	old := c.news
	c.own, c.news, c.had = own, news, had
	c.mu.Unlock()
	if old != nil {
		_ = old.Close() // never fails
	}
}

func (c *Chase) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Heard returns how old the last news of the Regions that write is. Not ok: none has
// come.
func (c *Chase) Heard(r crdt.Region) (age time.Duration, ok bool) {
	c.mu.Lock()
	own, news, had := c.own, c.news, c.had
	c.mu.Unlock()
	if own {
		return 0, true
	}
	if news != nil {
		age, ok = news.Heard(r)
	}
	if !had.IsZero() && (!ok || time.Since(had) < age) {
		return time.Since(had), true
	}
	return age, ok
}

// Lag returns how late a write gets here; zero: not measured yet.
func (c *Chase) Lag(r crdt.Region) time.Duration {
	c.mu.Lock()
	news := c.news
	c.mu.Unlock()
	if news == nil {
		return 0
	}
	return news.Lag(r)
}

// Everywhere reports whether every Region is known to have a write. What others have
// nobody here knows.
func (c *Chase) Everywhere(crdt.Dot) bool { return false }

// Close ends the measuring. It never fails.
func (c *Chase) Close() error {
	c.turn.Lock()
	defer c.turn.Unlock()
	c.mu.Lock()
	news := c.news
	c.news, c.own, c.closed = nil, false, true
	c.mu.Unlock()
	if news == nil {
		return nil
	}
	return news.Close()
}
