package node

import (
	"context"

	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/opener"
)

// follow measures how old what this Region has is, where its server replicates the
// primary's by itself, until ctx ends. A primary that is out of reach is tried again:
// the Region goes on with what it has, and says that nothing is heard.
func (n *Node) follow(ctx context.Context, e engine.Engine) {
	region, ok := n.deployment.Region(n.deployment.Primary)
	if !n.follows() || !ok {
		return
	}
	r := opener.Retry{Min: n.config.RetryMin, Max: n.config.RetryMax, Log: n.config.Log}
	primary := opener.NewLazy(ctx, "open the primary's engine", r, func(ctx context.Context) (engine.Engine, error) {
		return opener.Open(ctx, region.ID, region.Engine, opener.Config{Log: n.config.Log, Getenv: n.config.Getenv})
	})
	news := opener.Follow(ctx, primary, e, n.deployment.Policies.Replication.Heartbeat)
	n.mu.Lock()
	n.news = news
	n.mu.Unlock()
	<-ctx.Done()
	_ = news.Close()    // it never fails
	_ = primary.Close() // nor does this, of a server
}
