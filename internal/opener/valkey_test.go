//go:build integration

package opener

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/topology"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

func server(addr string) topology.Engine {
	return topology.Engine{Valkey: &topology.Valkey{Addrs: []string{addr}}}
}

// Both connections to a server are there before anybody needs them. By chance that is so
// half of the time, whatever Open does.
func TestOpenMakesAllConnections(t *testing.T) {
	s := valkeytest.Start(t)
	for want := 2; want <= 24; want += 2 {
		e, err := Open(t.Context(), 1, server(s.Addr), Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = e.Close() }() // never fails
		if n := strings.Count(s.Do("CLIENT", "LIST"), "name=roam"); n < want {
			t.Fatalf("%d engines have %d connections, want %d", want/2, n, want)
		}
	}
}

// A server that comes later is opened when it does.
func TestLazyOpensAServerThatComes(t *testing.T) {
	s := valkeytest.Start(t)
	s.Kill()
	l := NewLazy(t.Context(), "open it", Retry{Max: 200 * time.Millisecond}, func(ctx context.Context) (engine.Engine, error) {
		return Open(ctx, 1, server(s.Addr), Config{})
	})
	defer func() { _ = l.Close() }() // never fails
	if err := l.Err(); !errors.Is(err, engine.ErrUnreachable) {
		t.Errorf("Err without a server = %v, want ErrUnreachable", err)
	}
	s.Restart()
	select {
	case <-l.Opened():
	case <-time.After(20 * time.Second):
		t.Fatalf("20 s after the server came: %v", l.Err())
	}
}
