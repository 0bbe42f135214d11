package valkey

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/pause"
)

const (
	// maxReplicas bounds the replicas of a Region, or of a shard, that are read from.
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
	// shardsAgain is between two looks at which replicas a cluster has.
	shardsAgain = 5 * time.Second
)

// A readReplica is a server that replicates a primary and is read from.
type readReplica struct {
	addr       string
	partitions uint64 // a bit for each that it has
	stop       context.CancelFunc
	open       atomic.Pointer[echoed]
}

// An echoed is a replica that is connected to, and how it does.
type echoed struct {
	engine *Engine
	echo   *Echo
}

// A readFrom is the replicas of each partition.
type readFrom [crdt.Partitions][]*readReplica

// openReplicas connects to all replicas, however long that takes, until ctx ends.
func (e *Engine) openReplicas(ctx context.Context) {
	if e.config.ClusterReplicas {
		e.work.Go(func() { e.followShards(ctx) })
		return
	}
	var all []*readReplica
	for _, addr := range e.config.Replicas {
		all = append(all, e.openReplica(ctx, addr, everything))
	}
	e.readFrom(all)
}

// readFrom has reads go to replicas.
func (e *Engine) readFrom(all []*readReplica) {
	var by readFrom
	for p := range by {
		for _, r := range all {
			if r.partitions&(1<<p) != 0 && len(by[p]) < maxReplicas {
				by[p] = append(by[p], r)
			}
		}
	}
	e.replicas.Store(&by)
}

// followShards reads from the replicas that the cluster has, whichever these are,
// until ctx ends.
func (e *Engine) followShards(ctx context.Context) {
	have := map[string]*readReplica{}
	for {
		if shards, err := e.shards(ctx); err == nil {
			have = e.changeReplicas(ctx, have, shards)
		}
		if !pause.For(ctx, shardsAgain) {
			return
		}
	}
}

// changeReplicas opens the replicas that shards have more than there are, lets go of
// those that they have no more, and returns those that there are now.
func (e *Engine) changeReplicas(ctx context.Context, have map[string]*readReplica, shards []shard) map[string]*readReplica {
	now := map[string]*readReplica{}
	var all []*readReplica
	for _, s := range shards {
		for _, addr := range s.replicas {
			r := have[addr]
			if r == nil || r.partitions != s.partitions { // its echo comes by another shard
				r = e.openReplica(ctx, addr, s.partitions)
			}
			now[addr], all = r, append(all, r)
		}
	}
	e.readFrom(all)
	for addr, r := range have {
		if now[addr] != r {
			r.stop()
		}
	}
	return now
}

// openReplica connects to a replica that has partitions, however long that takes,
// until ctx ends or it is stopped.
func (e *Engine) openReplica(ctx context.Context, addr string, partitions uint64) *readReplica {
	ctx, stop := context.WithCancel(ctx)
	r := &readReplica{addr: addr, partitions: partitions, stop: stop}
	e.work.Go(func() { r.run(ctx, e) })
	return r
}

func (r *readReplica) run(ctx context.Context, primary *Engine) {
	said := false
	for {
		engine, err := primary.beside(ctx, r.addr)
		if err == nil {
			x := &echoed{engine, newEcho(ctx, primary, engine, replicaBound/4, one(r.partitions))}
			r.open.Store(x)
			<-ctx.Done()
			r.open.Store(nil)
			_ = x.echo.Close()   // it never fails
			_ = x.engine.Close() // nor does this
			return
		}
		if !said && ctx.Err() == nil {
			primary.config.Log.Warn("replica is not read from yet", "server", r.addr, "err", err)
			said = true
		}
		if !pause.For(ctx, replicaAgain) {
			return
		}
	}
}

// one returns one of some partitions: all are in one stream.
func one(partitions uint64) []uint16 {
	for p := range uint16(crdt.Partitions) {
		if partitions&(1<<p) != 0 {
			return []uint16{p}
		}
	}
	return nil
}

// beside returns an engine of one server beside e's, be it of a cluster, that reads and
// does nothing by itself.
func (e *Engine) beside(ctx context.Context, addr string) (*Engine, error) {
	ctx, cancel := context.WithTimeout(ctx, replicaAgain)
	defer cancel()
	x := &Engine{config: e.config, here: e.here, closed: make(chan struct{}), stop: func() {}}
	x.config.Addrs, x.config.Replicas, x.config.ClusterReplicas = []string{addr}, nil, false
	x.config.alone = true
	client, err := connect(ctx, x.option())
	if err != nil {
		return nil, err
	}
	x.link.now.Store(&client)
	return x, nil
}

// readNearest reads from one of the servers that answer soonest, of replicas those that
// have all that the primary had at since, and from the primary where that is not enough.
// It returns when the primary had, at the least, what is returned; zero: now.
func (e *Engine) readNearest(ctx context.Context, k crdt.Key, seen crdt.Token, since time.Time) (crdt.Record, time.Time, error) {
	if near, as := e.nearest(k.Partition(), since); near != nil {
		part, cancel := portion(ctx)
		r, err := near.fetch(part, k)
		cancel()
		if r = shown(r); err == nil && !r.IsBottom() && seen.FreshIn(r.VV) {
			return r, as, nil
		}
	}
	r, err := e.readServer(ctx, k)
	return r, time.Time{}, err
}

// fetch returns what a server has of k.
func (e *Engine) fetch(ctx context.Context, k crdt.Key) (crdt.Record, error) {
	key := recordKey(k)
	hash, err := e.do(ctx, func() valkey.Completed { return e.client().B().Hgetall().Key(key).Build() }).ToArray()
	if err != nil {
		return crdt.Record{}, e.failed(ctx, err)
	}
	return decodeReply(k, hash)
}

// portion returns a context for a replica's share of ctx's time.
func portion(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithTimeout(ctx, retryFor)
	}
	return context.WithDeadline(ctx, time.Now().Add(time.Until(end)/replicaShare))
}

// nearest returns a replica of a partition to read from, and by when it has all that the
// primary had; nil: the primary.
func (e *Engine) nearest(partition uint16, since time.Time) (*Engine, time.Time) {
	by := e.replicas.Load()
	if by == nil || e.refilling.Load() {
		return nil, time.Time{}
	}
	var near [maxReplicas]*echoed
	var has [maxReplicas]time.Time
	var takes [maxReplicas]time.Duration
	n, soonest, primary := 0, time.Duration(0), time.Duration(0)
	for _, r := range by[partition] {
		x := r.open.Load()
		if x == nil {
			continue
		}
		at := x.echo.heardAt()
		if at.IsZero() || !at.After(since) || time.Since(at) > replicaBound {
			continue
		}
		near[n], has[n] = x, at
		primary, takes[n] = x.echo.takes()
		if soonest == 0 || takes[n] < soonest {
			soonest = takes[n]
		}
		n++
	}
	if n == 0 {
		return nil, time.Time{}
	}
	soonest = min(soonest, primary)
	alike := soonest + soonest/2 + replicaSlack
	from, choice, as := 0, (*Engine)(nil), time.Time{}
	if primary <= alike {
		from = 1
	}
	for i := range n {
		if takes[i] > alike {
			continue
		}
		if from++; rand.IntN(from) == 0 { //nolint:gosec // spreads reads, guards nothing
			choice, as = near[i].engine, has[i]
		}
	}
	return choice, as
}
