package node

import (
	"context"
	"time"

	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/judge/alarm"
	"github.com/roam-sessions/roam/internal/opener"
)

// follow measures how old what this Region has is, where its server replicates the
// primary's by itself, and how writes to that one go, until ctx ends. A primary that is
// out of reach is tried again: the Region goes on with what it has, and says that nothing
// is heard. With a control plane the primary is whoever holds the lease.
func (n *Node) follow(ctx context.Context, e engine.Engine) {
	if len(n.peers) == 0 || n.deployment.Pushes() || n.deployment.Primary == "" {
		return
	}
	chase := opener.NewChase(e, n.deployment.Policies.Replication.Heartbeat)
	defer func() { _ = chase.Close() }() // it never fails
	n.mu.Lock()
	n.chase = chase
	n.mu.Unlock()
	var before string // who held the lease before; empty: this node did not see that
	for ctx.Err() == nil {
		reign, changed := n.reign()
		n.mu.Lock()
		n.primary = reign.holder
		n.mu.Unlock()
		n.during(ctx, e, chase, reign, before != "" && before != n.region.Name && !n.owes(), changed)
		before = reign.holder
	}
}

// owes reports whether what this Region took in an earlier reign was not looked at yet.
func (n *Node) owes() bool {
	if n.seat == nil {
		return false
	}
	s, _ := n.seat.views.agreed()
	_, owes := s.Owes(n.region.Name)
	return owes
}

// A reign is a time in which one Region takes all writes.
type reign struct {
	holder    string
	epoch     uint64 // zero: there are no leases
	unplanned bool
}

// reign returns the present one, and what is closed when that may be over; nil: never.
func (n *Node) reign() (reign, <-chan struct{}) {
	if n.seat == nil {
		return reign{holder: n.deployment.Primary}, nil
	}
	s, changed := n.seat.views.agreed()
	if s.Lease.Epoch == 0 {
		return reign{holder: n.deployment.Primary}, changed
	}
	return reign{s.Lease.Holder, s.Lease.Epoch, s.Lease.Unplanned}, changed
}

// during measures for as long as a reign lasts.
func (n *Node) during(ctx context.Context, e engine.Engine, chase *opener.Chase, r reign, fresh bool, changed <-chan struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	primary := e
	if r.holder == n.region.Name {
		chase.Own()
		if r.epoch > 0 {
			n.wg.Go(func() { n.keepLog(ctx, e, fresh) })
		}
	} else if region, ok := n.deployment.Region(r.holder); ok {
		retry := opener.Retry{Min: n.config.RetryMin, Max: n.config.RetryMax, Log: n.config.Log}
		lazy := opener.NewLazy(ctx, "open the primary's engine", retry, func(ctx context.Context) (engine.Engine, error) {
			opened, err := opener.Open(ctx, region.ID, region.Engine, opener.Config{Log: n.config.Log, Getenv: n.config.Getenv})
			if own, is := engine.As[*valkey.Engine](opened); err == nil && is {
				own.Under(r.epoch)
			}
			return opened, err
		})
		defer func() { _ = lazy.Close() }() // of a server it never fails
		defer chase.To(ctx, nil, false)     // before that is closed
		chase.To(ctx, lazy, !r.unplanned && r.epoch > 0)
		primary = lazy
	}
	if own, is := engine.As[*valkey.Engine](e); is && n.leased != nil {
		own.Under(r.epoch)
	}
	if n.canary != nil {
		n.wg.Go(func() { n.canary.sing(ctx, r.holder, primary) })
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
			var is reign
			if is, changed = n.reign(); is != r {
				return
			}
		}
	}
}

// measured is what this node's member reports beside what it sees.
func (n *Node) measured() control.Measured {
	m := n.canary.measured(time.Now(), n.region.Name)
	if age, ok := n.oldest(); ok {
		m.Data = append(m.Data, alarm.Datum{
			Metric: alarm.Lag, Region: n.region.Name, At: time.Now(), Value: float64(age) / float64(time.Millisecond),
		})
	}
	m.Names = n.names.report()
	n.mu.Lock()
	chase, primary := n.chase, n.primary
	n.mu.Unlock()
	if chase == nil || primary == n.region.Name {
		return m
	}
	if age, ok := chase.Heard(0); ok {
		m.Data = append(m.Data, alarm.Datum{
			Metric: alarm.Lag, Region: n.region.Name, At: time.Now(), Value: float64(age) / float64(time.Millisecond),
		})
	}
	return m
}
