package node

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/opener"
	"github.com/roam-sessions/roam/internal/salvage"
)

// openSpool opens what is kept of the log while this Region's server is the primary. Without
// it the node goes on: what a server loses then is lost.
func (n *Node) openSpool() *salvage.Spool {
	dir := filepath.Join(n.deployment.Control.DirOf(n.region.Name), "spool")
	s, err := salvage.OpenSpool(salvage.SpoolConfig{Dir: dir, Log: n.config.Log})
	if err != nil {
		n.config.Log.Error("there is no spool: what the server of a primary loses can't be brought back from here", "err", err)
		return nil
	}
	return s
}

// keepLog keeps the log of the server, while this Region holds the lease, until ctx ends.
// After another's reign what is of before is at home already, or was never to be.
func (n *Node) keepLog(ctx context.Context, e engine.Engine, fresh bool) {
	log, ok := engine.As[engine.Log](e)
	if !ok || n.spool == nil {
		return
	}
	if fresh {
		if err := n.spool.Clear(); err != nil {
			n.config.Log.Warn("clear the spool", "err", err)
		}
	}
	for ctx.Err() == nil {
		err := n.spool.Follow(ctx, log)
		if ctx.Err() != nil {
			return
		}
		n.config.Log.Debug("follow the log for the spool", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(probeEvery):
		}
	}
}

// openOther opens the engine of another Region, for a while.
func (n *Node) openOther(ctx context.Context, name string) (engine.Engine, error) {
	r, ok := n.deployment.Region(name)
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrRegion, name)
	}
	return opener.Open(ctx, r.ID, r.Engine, opener.Config{Log: n.config.Log, Getenv: n.config.Getenv})
}
