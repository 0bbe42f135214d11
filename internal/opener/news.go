package opener

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/valkey"
)

var errNoServer = errors.New("one of the two is no Valkey server")

// A News tells how old what a Region has is, where its server replicates the primary's
// by itself: a valkey.Echo from when the primary can be asked. Until then nothing has
// been heard, so that strict routes refuse (DESIGN R10). It may be used by many
// goroutines.
type News struct {
	primary *Lazy
	stop    context.CancelFunc
	work    sync.WaitGroup

	mu     sync.Mutex // guards what follows
	echo   *valkey.Echo
	failed error
}

// Follow begins to measure how far the engine here is behind the primary's, every
// interval; zero: the default of valkey.Echo. Close the News before the engines.
func Follow(ctx context.Context, primary *Lazy, here engine.Engine, interval time.Duration) *News {
	n := &News{primary: primary}
	ctx, n.stop = context.WithCancel(ctx)
	n.work.Go(func() {
		select {
		case <-ctx.Done():
			return
		case <-primary.Opened():
		}
		source, ok := engine.As[*valkey.Engine](primary)
		replica, too := engine.As[*valkey.Engine](here)
		if !ok || !too {
			n.set(nil, errNoServer)
			return
		}
		echo := valkey.NewEcho(ctx, source, replica, valkey.EchoConfig{Interval: interval})
		n.set(echo, nil)
		<-ctx.Done()
		_ = echo.Close() // it never fails
	})
	return n
}

func (n *News) set(e *valkey.Echo, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.echo, n.failed = e, err
}

func (n *News) get() *valkey.Echo {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.echo
}

// Err returns why nothing is measured; nil: it is.
func (n *News) Err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.echo != nil:
		return nil
	case n.failed != nil:
		return n.failed
	}
	return n.primary.Err()
}

// Heard returns how old the last news of the Regions that write is. Not ok: none has
// come.
func (n *News) Heard(r crdt.Region) (age time.Duration, ok bool) {
	if e := n.get(); e != nil {
		return e.Heard(r)
	}
	return 0, false
}

// Lag returns how late a write gets here; zero: not measured yet.
func (n *News) Lag(r crdt.Region) time.Duration {
	if e := n.get(); e != nil {
		return e.Lag(r)
	}
	return 0
}

// Everywhere reports whether every Region is known to have a write. What others have
// nobody here knows.
func (n *News) Everywhere(crdt.Dot) bool { return false }

// Close ends the measuring. It never fails.
func (n *News) Close() error {
	n.stop()
	n.work.Wait()
	return nil
}
