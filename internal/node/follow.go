package node

import (
	"context"

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
	var source *valkey.Engine
	n.retry(ctx, "open the primary's engine", func(error) {}, func() error {
		ctx, cancel := context.WithTimeout(ctx, openTimeout)
		defer cancel()
		c, err := ValkeyConfig(primary.Engine.Valkey, n.config.Getenv)
		if err != nil {
			return err
		}
		c.Log = n.config.Log
		source, err = valkey.Open(ctx, primary.ID, c)
		return err
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
