package node

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/valkey"
)

// follow measures how old what this Region has is, where its server replicates the
// primary's by itself, until ctx ends. A primary that is out of reach is tried again:
// the Region goes on with what it has, and says that nothing is heard.
func (n *Node) follow(ctx context.Context, e engine.Engine) {
	primary, ok := n.deployment.Region(n.deployment.Primary)
	here, isValkey := engine.As[*valkey.Engine](e)
	if !n.follows() || !ok || !isValkey {
		return
	}
	source := n.openPrimary(ctx, func(ctx context.Context) (*valkey.Engine, error) {
		c, err := ValkeyConfig(primary.Engine.Valkey, n.config.Getenv)
		if err != nil {
			return nil, err
		}
		c.Log = n.config.Log
		return valkey.Open(ctx, primary.ID, c)
	})
	if source == nil {
		return // ctx has ended
	}
	echo := valkey.NewEcho(ctx, source, here, valkey.EchoConfig{Interval: n.deployment.Policies.Replication.Heartbeat})
	n.mu.Lock()
	n.echo = echo
	n.mu.Unlock()
	<-ctx.Done()
	_ = echo.Close()   // it never fails
	_ = source.Close() // nor does this
}

// openPrimary opens the primary's engine, as often as it takes; nil if ctx ends before.
func (n *Node) openPrimary(ctx context.Context, open func(context.Context) (*valkey.Engine, error)) *valkey.Engine {
	for wait, said := n.config.RetryMin, ""; ctx.Err() == nil; wait = min(2*wait, n.config.RetryMax) {
		trying, cancel := context.WithTimeout(ctx, openTimeout)
		e, err := open(trying)
		cancel()
		if err == nil {
			return e
		}
		if ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			n.config.Log.Warn("the primary's engine is out of reach: how old the data here is, nobody knows", "err", err)
		}
		t := time.NewTimer(wait/2 + rand.N(wait/2+1)) //nolint:gosec // spreads retries, guards nothing
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
	return nil
}
