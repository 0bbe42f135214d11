package opener

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/engine/postgres"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/pause"
	"github.com/roam-sessions/roam/internal/topology"
)

const (
	// openTimeout bounds one try to open an engine.
	openTimeout = 5 * time.Second
	// migrateTimeout bounds one that may make a schema.
	migrateTimeout = time.Minute
	// warmTimeout bounds the making of connections that may be needed later.
	warmTimeout = time.Second
)

// Config is what is optional. Its zero value is good.
type Config struct {
	// Log is told what nobody asked for. Default: discarded.
	Log *slog.Logger
	// Getenv finds passwords that the file names a variable for. Default os.Getenv.
	Getenv func(name string) string
	// Secondary: an engine in memory refuses writes. A server knows by itself.
	Secondary bool
	// Replicated: nodes give a server back what it loses, as valkey.Config and
	// postgres.Config say.
	Replicated bool
	// Far: it is another Region's, so that a round trip is most of what a call takes.
	// Default false.
	Far bool
	// NearBytes bounds a near-cache of a server's records. Default 0: none.
	NearBytes int64
	// Reads has a server's replicas be read from that the file names. Default false.
	Reads bool
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Getenv == nil {
		c.Getenv = os.Getenv
	}
	return c
}

// Open opens the engine of a Region, in five seconds or ctx's time; in a minute, if it is
// to make its schema. Files of passwords and certificates are read now: at another try
// they may say something else. A server's connections are made before it returns.
func Open(ctx context.Context, id crdt.Region, e topology.Engine, c Config) (engine.Engine, error) {
	c = c.withDefaults()
	patience := openTimeout
	if p := e.Postgres; p != nil && p.Migrate {
		patience = migrateTimeout
	}
	if d := e.DSQL; d != nil && d.Migrate {
		patience = migrateTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	switch {
	case e.Memory != nil:
		return openMemory(id, e.Memory, c)
	case e.Valkey != nil:
		return openValkey(ctx, id, e.Valkey, c)
	case e.Postgres != nil:
		return openPostgres(ctx, id, e.Postgres, c)
	case e.DSQL != nil:
		return openDSQL(ctx, id, e.DSQL, c)
	case e.Dynamo != nil:
		return openDynamo(ctx, id, e.Dynamo, c)
	}
	return nil, errors.New("no engine is described")
}

// Each of these returns no nil of its own type: that would be an engine.

func openMemory(id crdt.Region, m *topology.Memory, c Config) (engine.Engine, error) {
	out, err := memory.New(id, memory.Config{
		MaxBytes: m.MaxBytes, LogBytes: m.LogBytes, KeepReleased: m.KeepReleased, Secondary: c.Secondary,
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func openValkey(ctx context.Context, id crdt.Region, v *topology.Valkey, c Config) (engine.Engine, error) {
	to, err := ValkeyConfig(v, c.Getenv)
	if err != nil {
		return nil, err
	}
	to.Log, to.Replicated, to.NearBytes = c.Log, c.Replicated, c.NearBytes
	if c.Reads {
		to.Replicas, to.ClusterReplicas = v.Replicas, v.ClusterReplicas
	}
	out, err := valkey.Open(ctx, id, to)
	if err != nil {
		return nil, err
	}
	warm(ctx, out, warmKeys)
	return out, nil
}

func openPostgres(ctx context.Context, id crdt.Region, p *topology.Postgres, c Config) (engine.Engine, error) {
	to, err := PostgresConfig(p, c.Getenv)
	if err != nil {
		return nil, err
	}
	to.Log, to.Replicated = c.Log, c.Replicated
	if c.Far {
		to.DSN += unprepared
	}
	out, err := postgres.Open(ctx, id, to)
	if err != nil {
		return nil, err
	}
	warm(ctx, out, warmCalls)
	return out, nil
}

func openDSQL(ctx context.Context, id crdt.Region, d *topology.DSQL, c Config) (engine.Engine, error) {
	to := dsqlConfig(d)
	to.Log = c.Log
	open := openCluster // with tokens
	if d.IsLocal() {
		open = func(ctx context.Context, id crdt.Region, _ *topology.DSQL, to postgres.Config) (engine.Engine, error) {
			to.DSN = localDSN(d)
			out, err := postgres.OpenDSQL(ctx, id, to)
			if err != nil {
				return nil, err
			}
			return out, nil
		}
	}
	out, err := open(ctx, id, d, to)
	if err != nil {
		return nil, err
	}
	warm(ctx, out, warmCalls)
	return out, nil
}

func openDynamo(ctx context.Context, id crdt.Region, d *topology.Dynamo, c Config) (engine.Engine, error) {
	out, err := openTable(ctx, id, d, c)
	if err != nil {
		return nil, err
	}
	warm(ctx, out, warmCalls)
	return out, nil
}

const (
	// warmKeys are read to have all connections to a server of Valkey made: a client has
	// two to each server, and chooses between them by chance. One is left out once in
	// 2^31 times.
	warmKeys = 32
	// warmCalls are as many as the others are asked at a time before they are much used.
	// One call has one connection there.
	warmCalls = 4
)

// warm has the engine connect. A client dials a connection when it first needs it,
// which takes two round trips: the first visitor, or the first batch of a peer, would
// wait for them, and find a far Region too slow to answer. What fails here fails again
// when it is needed, and is told then.
func warm(ctx context.Context, e engine.Engine, calls int) {
	ctx, cancel := context.WithTimeout(ctx, warmTimeout)
	defer cancel()
	var all sync.WaitGroup
	for i := range calls {
		all.Go(func() { _, _ = e.Read(ctx, crdt.UserKey(strconv.Itoa(i)), crdt.Token{}) })
	}
	all.Wait()
}

// A Retry says how something is tried until it succeeds.
type Retry struct {
	// Min and Max bound the wait before the next try. Default 100 ms and 5 s; it
	// doubles, and half of it is jitter.
	Min, Max time.Duration
	// Log hears of a failure when its reason changes. Default: discarded.
	Log *slog.Logger
}

// Do does something until it succeeds or ctx ends, and tells failed of each failure.
func (r Retry) Do(ctx context.Context, what string, failed func(error), do func() error) {
	wait, most, log := r.Min, r.Max, r.Log
	if wait <= 0 {
		wait = 100 * time.Millisecond
	}
	if most <= 0 {
		most = 5 * time.Second
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	for said := ""; ctx.Err() == nil; wait = min(2*wait, most) {
		err := do()
		if err == nil {
			return
		}
		failed(err)
		if ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			log.Warn("will try again", "to", what, "err", err)
		}
		pause.For(ctx, wait/2+pause.Upto(wait/2))
	}
}
