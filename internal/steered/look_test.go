//go:build integration

package steered

import (
	"sync"
	"testing"

	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// A primary with data that nothing ties to this deployment is a stranger's; one that is
// empty, or has heard this deployment's heartbeats, is not.
func TestForeign(t *testing.T) {
	server := valkeytest.Start(t)
	e, err := valkey.Open(t.Context(), 1, valkey.Config{Addrs: []string{server.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }() // it never fails
	s := New(Config{Self: "west", At: map[string]string{}})
	if err := s.Open(e); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want := func(what string, foreign bool) {
		t.Helper()
		if seen, err := s.look(t.Context()); err != nil || seen.Foreign != foreign {
			t.Errorf("look at a server that %s = %+v, %v, want Foreign %v", what, seen, err, foreign)
		}
	}
	want("is empty", false)
	server.Do("SET", "somebody", "else's")
	want("has data", true)
	if err := s.Beat(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	want("has a heartbeat as well", false)
}

// Whoever has changed a server's role looks at it at once, beside the one who always does.
func TestTwoLook(t *testing.T) {
	server := valkeytest.Start(t)
	e, err := valkey.Open(t.Context(), 1, valkey.Config{Addrs: []string{server.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }() // it never fails
	s := New(Config{Self: "west", At: map[string]string{}})
	if err := s.Open(e); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			for range 50 {
				if seen, err := s.look(t.Context()); err != nil || !seen.Primary || seen.Clock == nil {
					t.Errorf("look = %+v, %v, want a primary with its clock", seen, err)
				}
			}
		})
	}
	both.Wait()
}
