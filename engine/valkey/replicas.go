package valkey

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

const (
	// maxReplicas bounds the replicas of a Region that are read from.
	maxReplicas = 8
	// replicaBound is how far behind a replica that is asked may be (DESIGN R10).
	replicaBound = time.Second
	// replicaSlack is by how much more than half as long again as the soonest a
	// server's answer may take that is asked too, so that servers that are alike share
	// the reads: those of one zone, and not those of two.
	replicaSlack = 200 * time.Microsecond
	// replicaShare is the part of a read's time that a replica may take: the primary
	// gets the rest.
	replicaShare = 2
	// replicaAgain is before a replica that could not be connected to is tried again.
	replicaAgain = time.Second
)

// A readReplica is a server that replicates the primary and is read from.
type readReplica struct {
	addr string
	open atomic.Pointer[echoed]
}

// An echoed is a replica that is connected to, and how it does.
type echoed struct {
	engine *Engine
	echo   *Echo
}

// openReplicas connects to all replicas, however long that takes, until ctx ends.
func (e *Engine) openReplicas(ctx context.Context) {
	for _, addr := range e.config.Replicas {
		r := &readReplica{addr: addr}
		e.replicas = append(e.replicas, r)
		e.work.Go(func() { r.run(ctx, e) })
	}
}

func (r *readReplica) run(ctx context.Context, primary *Engine) {
	c := primary.config
	c.Addrs, c.Replicas = []string{r.addr}, nil
	said := false
	for {
		open, cancel := context.WithTimeout(ctx, replicaAgain)
		engine, err := Open(open, primary.here, c)
		cancel()
		if err == nil {
			x := &echoed{engine, NewEcho(ctx, primary, engine, EchoConfig{Interval: replicaBound / 4})}
			r.open.Store(x)
			<-ctx.Done()
			_ = x.echo.Close()   // it never fails
			_ = x.engine.Close() // nor does this
			return
		}
		if !said && ctx.Err() == nil {
			primary.config.Log.Warn("replica is not read from yet", "server", r.addr, "err", err)
			said = true
		}
		if !pause(ctx, replicaAgain) {
			return
		}
	}
}

// readNearest reads from one of the servers that answer soonest, and from the
// primary where that is not enough.
func (e *Engine) readNearest(ctx context.Context, k crdt.Key, seen crdt.Token) (crdt.Record, error) {
	if near := e.nearest(); near != nil {
		part, cancel := portion(ctx)
		r, err := near.readServer(part, k)
		cancel()
		if err == nil && !r.IsBottom() && seen.FreshIn(r.VV) {
			return r, nil
		}
	}
	return e.readServer(ctx, k)
}

// portion returns a context for a replica's share of ctx's time.
func portion(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithTimeout(ctx, retryFor)
	}
	return context.WithDeadline(ctx, time.Now().Add(time.Until(end)/replicaShare))
}

// nearest returns a replica to read from; nil: the primary.
func (e *Engine) nearest() *Engine {
	var near [maxReplicas]*echoed
	var takes [maxReplicas]time.Duration
	n, soonest, primary := 0, time.Duration(0), time.Duration(0)
	for _, r := range e.replicas {
		x := r.open.Load()
		if x == nil {
			continue
		}
		if age, ok := x.echo.Heard(0); !ok || age > replicaBound {
			continue
		}
		near[n] = x
		primary, takes[n] = x.echo.takes()
		if soonest == 0 || takes[n] < soonest {
			soonest = takes[n]
		}
		n++
	}
	if n == 0 {
		return nil
	}
	soonest = min(soonest, primary)
	alike := soonest + soonest/2 + replicaSlack
	from, choice := 0, (*Engine)(nil)
	if primary <= alike {
		from = 1
	}
	for i := range n {
		if takes[i] > alike {
			continue
		}
		if from++; rand.IntN(from) == 0 { //nolint:gosec // spreads reads, guards nothing
			choice = near[i].engine
		}
	}
	return choice
}
