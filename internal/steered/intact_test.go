//go:build integration

package steered

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/salvage"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// A former primary that comes back is the primary still, by its own word, until whoever
// manages it has it follow another one. What it has from then on is the other one's: a receipt
// does not take that for all that it had.
func TestFollowsWhileItIsLookedAt(t *testing.T) {
	for what, follows := range map[string]bool{"a primary still": false, "made to follow": true} {
		t.Run(what, func(t *testing.T) {
			other := valkeytest.Start(t)
			x := newSingle(t, func(old *valkeytest.Server) {
				if follows {
					old.Do("REPLICAOF", "127.0.0.1", other.Port())
				}
			})
			x.grant(1)
			x.follow(x.s.config.Spool, func() { x.births() })
			var told []ledger.Salvage
			order := control.Order{Receipt: ledger.Receipt{Epoch: 1, From: "west", To: "east"}, To: "east", Epoch: 2}
			err := x.s.salvage(t.Context(), order, func(_ context.Context, s ledger.Salvage) error {
				told = append(told, s)
				return nil
			})
			if err != nil || len(told) != 1 || !told[0].Closed || told[0].Counts[ledger.Recovered] != crdt.Partitions {
				t.Fatalf("salvage = %v, told %+v, want all %d writes to be brought home", err, told, crdt.Partitions)
			}
			if open := strings.Contains(told[0].Note, "may be known nowhere"); open != follows {
				t.Errorf("the receipt notes %q, want it to say that there may be more: %v", told[0].Note, follows)
			}
		})
	}
}

// newSingle returns a Region's server, with a spool, of which meanwhile is told when the
// engine that takes in what it had is opened.
func newSingle(t *testing.T, meanwhile func(old *valkeytest.Server)) *sharded {
	t.Helper()
	spool, err := salvage.OpenSpool(salvage.SpoolConfig{Dir: filepath.Join(t.TempDir(), "spool")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = spool.Close() }) // it was read
	server := valkeytest.Start(t, "--repl-diskless-sync-delay", "0")
	e, err := valkey.Open(t.Context(), 1, valkey.Config{Addrs: []string{server.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() }) // it never fails
	x := &sharded{T: t, shards: []*valkeytest.Server{server}, e: e}
	x.s = New(Config{
		Self: "west", At: map[string]string{"west": "", "east": ""}, Spool: spool,
		Open: func(context.Context, string) (engine.Engine, error) {
			meanwhile(server)
			return memory.New(2, memory.Config{})
		},
	})
	if err := x.s.Open(e); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.s.Close)
	return x
}
