package opener

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/topology"
)

const (
	// openTimeout bounds one try to open an engine.
	openTimeout = 5 * time.Second
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
	// Replicated: nodes give a server back what it loses, as valkey.Config says.
	Replicated bool
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

// Open opens the engine of a Region, in five seconds or ctx's time. Files of passwords
// and certificates are read now: at another try they may say something else. A server's
// connections are made before it returns.
func Open(ctx context.Context, id crdt.Region, e topology.Engine, c Config) (engine.Engine, error) {
	c = c.withDefaults()
	if m := e.Memory; m != nil {
		// Not returned at once: a nil of its type would be an engine.
		out, err := memory.New(id, memory.Config{
			MaxBytes: m.MaxBytes, LogBytes: m.LogBytes, KeepReleased: m.KeepReleased, Secondary: c.Secondary,
		})
		if err != nil {
			return nil, err
		}
		return out, nil
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	to, err := ValkeyConfig(e.Valkey, c.Getenv)
	if err != nil {
		return nil, err
	}
	to.Log, to.Replicated, to.NearBytes = c.Log, c.Replicated, c.NearBytes
	if c.Reads {
		to.Replicas, to.ClusterReplicas = e.Valkey.Replicas, e.Valkey.ClusterReplicas
	}
	out, err := valkey.Open(ctx, id, to)
	if err != nil {
		return nil, err
	}
	warm(ctx, out)
	return out, nil
}

// warmKeys are read to have all connections made: a client has two to each server, and
// chooses between them by chance. One is left out once in 2^31 times.
const warmKeys = 32

// warm has the engine connect. A client dials a connection when it first needs it,
// which takes two round trips: the first visitor, or the first batch of a peer, would
// wait for them, and find a far Region too slow to answer. What fails here fails again
// when it is needed, and is told then.
func warm(ctx context.Context, e engine.Engine) {
	ctx, cancel := context.WithTimeout(ctx, warmTimeout)
	defer cancel()
	var all sync.WaitGroup
	for i := range warmKeys {
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
		t := time.NewTimer(wait/2 + rand.N(wait/2+1)) //nolint:gosec // spreads retries, guards nothing
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}
