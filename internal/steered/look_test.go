//go:build integration

package steered

import (
	"sync"
	"testing"

	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

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
