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
