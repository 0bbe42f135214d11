//go:build integration

package valkey_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// A server that evicts is refused, with how to mend it; what is merely dear is told.
func TestUnfitServer(t *testing.T) {
	s := valkeytest.Start(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru", "--hash-max-listpack-value", "64")
	var log bytes.Buffer
	c := valkey.Config{Addrs: []string{s.Addr}, Log: slog.New(slog.NewTextHandler(&log, nil))}
	e, err := valkey.Open(t.Context(), 1, c)
	if err == nil {
		_ = e.Close() // never fails
	}
	if !errors.Is(err, valkey.ErrUnfit) || !strings.Contains(err.Error(), "set maxmemory-policy noeviction") {
		t.Errorf("Open at a server that evicts = %v, want ErrUnfit and how to mend it", err)
	}
	s.Do("CONFIG", "SET", "maxmemory-policy", "noeviction")
	open(t, 1, c)
	if !strings.Contains(log.String(), "hash-max-listpack-value 1024") {
		t.Errorf("logged %q, want that the parameter be set", log.String())
	}
}

// Full memory refuses births first, and takes endings to the last.
func TestFullServer(t *testing.T) {
	s := valkeytest.Start(t, "--maxmemory", "8mb")
	e := open(t, 1, valkey.Config{Addrs: []string{s.Addr}})
	found, err := e.Inspect(t.Context())
	if err != nil || len(found) > 0 {
		t.Errorf("Inspect = %v, %v, want nothing", found, err)
	}
	fillServer(t, e)
}

// A server that would start empty after a crash says so; one that keeps what is appended,
// or snapshots, does not.
func TestServerThatForgets(t *testing.T) {
	s := valkeytest.Start(t) // it keeps nothing
	forgets := func() bool {
		t.Helper()
		found, err := valkey.Examine(t.Context(), valkey.Config{Addrs: []string{s.Addr}})
		if err != nil || len(found) != 1 || found[0].Cluster {
			t.Fatalf("Examine = %+v, %v; want a server that is no cluster's", found, err)
		}
		return found[0].Forgets
	}
	if !forgets() {
		t.Error("a server that keeps nothing: Forgets = false, want true")
	}
	s.Do("CONFIG", "SET", "save", "900 1")
	if forgets() {
		t.Error("a server with snapshots: Forgets = true, want false")
	}
	s.Do("CONFIG", "SET", "save", "", "appendonly", "yes")
	if forgets() {
		t.Error("a server with an append-only file: Forgets = true, want false")
	}
}
