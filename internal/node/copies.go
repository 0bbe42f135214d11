package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/opener"
	"github.com/roam-sessions/roam/internal/pause"
)

const (
	// firstSweep is how soon a node that has started looks for what is past its time: later
	// than one that starts again and again would.
	firstSweep = 10 * time.Minute
	// sweepEvery is between two looks. Each reads the whole table, and is paid for.
	sweepEvery = 8 * time.Hour
	// sweepMost bounds one look.
	sweepMost = time.Hour
)

// sweeping is an engine on a store that deletes nothing by itself.
type sweeping interface {
	Sweep(ctx context.Context) (deleted int, err error)
}

// keepStore does what a node does for a store that all Regions have one of, until ctx
// ends; what it returns waits until that is over.
func (n *Node) keepStore(ctx context.Context, e engine.Engine) (wait func()) {
	var work sync.WaitGroup
	if s, ok := engine.As[sweeping](e); ok && n.deployment.Sweeper() == n.region.Name {
		work.Go(func() { n.sweep(ctx, s) })
	}
	if n.deployment.Eventually() {
		work.Go(func() { n.hearCopies(ctx, e) })
	}
	return work.Wait
}

// sweep deletes what is past its time, a few times a day, until ctx ends.
func (n *Node) sweep(ctx context.Context, s sweeping) {
	for wait := firstSweep; ; wait = sweepEvery {
		if !pause.About(ctx, wait) {
			return
		}
		within, cancel := context.WithTimeout(ctx, sweepMost)
		begun := time.Now()
		deleted, err := s.Sweep(within)
		cancel()
		switch {
		case ctx.Err() != nil || errors.Is(err, engine.ErrClosed):
		case err != nil:
			n.config.Log.Warn("what is past its time was not all deleted: it is tried again", "in", sweepEvery, "deleted", deleted, "err", err)
		default:
			n.config.Log.Info("deleted what is past its time", "items", deleted, "took", time.Since(begun))
		}
	}
}

// hearCopies measures how old what this Region's copy has of the others is, until ctx
// ends.
func (n *Node) hearCopies(ctx context.Context, e engine.Engine) {
	peers := map[crdt.Region]engine.Engine{}
	var lazies []*opener.Lazy
	for _, p := range n.peers {
		retry := opener.Retry{Min: n.config.RetryMin, Max: n.config.RetryMax, Log: n.config.Log}
		l := opener.NewLazy(ctx, "open the copy of "+p.Name, retry, func(ctx context.Context) (engine.Engine, error) {
			return opener.Open(ctx, p.ID, p.Engine, opener.Config{Log: n.config.Log, Getenv: n.config.Getenv})
		})
		peers[p.ID] = l
		lazies = append(lazies, l)
	}
	beats := opener.Listen(ctx, e, peers, n.deployment.Policies.Replication.Heartbeat)
	n.mu.Lock()
	n.beats = beats
	n.mu.Unlock()
	<-ctx.Done()
	_ = beats.Close() // never fails
	for _, l := range lazies {
		if err := l.Close(); err != nil {
			n.config.Log.Warn("close the copy of a peer", "err", err)
		}
	}
}

// heardCopies returns what measures how old copies are; nil: nothing does.
func (n *Node) heardCopies() *opener.Beats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.beats
}

// copiesHealth adds what is known of the other Regions' copies.
func (n *Node) copiesHealth(h *Health) {
	beats := n.heardCopies()
	if beats == nil {
		return
	}
	for _, p := range n.peers {
		ph := PeerHealth{Region: p.Name}
		if err := beats.Err(p.ID); err != nil {
			ph.LastError = err.Error()
		}
		age, ok := beats.Heard(p.ID)
		n.heard(h, &ph, age, ok)
		if lag := beats.Lag(p.ID); lag > 0 {
			seconds := lag.Seconds()
			ph.LagSeconds = &seconds
		}
		h.Peers = append(h.Peers, ph)
	}
}

// oldest returns how old the oldest news of another Region's copy is.
func (n *Node) oldest() (age time.Duration, known bool) {
	beats := n.heardCopies()
	if beats == nil {
		return 0, false
	}
	for _, p := range n.peers {
		if one, ok := beats.Heard(p.ID); ok {
			age, known = max(age, one), true
		}
	}
	return age, known
}

// copies sends what is known of the other Regions' copies.
func (w watcher) copies(s sample) {
	beats := w.node.heardCopies()
	if beats == nil {
		return
	}
	for _, p := range w.node.peers {
		if age, ok := beats.Heard(p.ID); ok {
			s.gauge("roam_peer_heard_age_seconds", heardHelp, age.Seconds(), "peer", p.Name)
		}
		if lag := beats.Lag(p.ID); lag > 0 {
			s.gauge("roam_copy_lag_seconds", "How late a write of the peer gets to the copy here, as last measured.", lag.Seconds(), "peer", p.Name)
		}
	}
}
