package node

import (
	"context"
	"errors"

	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/opener"
)

var errOpening = errors.New("the engine is being opened")

// open opens the engine, as often as it takes; nil if ctx ends before.
func (n *Node) open(ctx context.Context) engine.Engine {
	if n.config.Engine != nil {
		return n.config.Engine
	}
	var e engine.Engine
	n.retry(ctx, "open the engine", n.needs, func() (err error) {
		e, err = opener.Open(ctx, n.region.ID, n.region.Engine, opener.Config{
			Log: n.config.Log, Getenv: n.config.Getenv,
			Secondary: !n.deployment.TakesWrites(n.region.Name), Replicated: n.deployment.Pushes(),
		})
		return err
	})
	return e
}

// needs is what a retry does about something that the node can't do without: it is
// not ready.
func (n *Node) needs(err error) { n.set(nil, nil, err) }

// retry does something until it succeeds or ctx ends, and has failed do something about
// each failure.
func (n *Node) retry(ctx context.Context, what string, failed func(error), do func() error) {
	r := opener.Retry{Min: n.config.RetryMin, Max: n.config.RetryMax, Log: n.config.Log}
	r.Do(ctx, what, failed, do)
}
