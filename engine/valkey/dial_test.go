//go:build integration

package valkey_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	roamvalkey "github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// A call ends when its context does, also while another one, that may wait for
// longer, is connecting to a server that does not answer.
func TestCallsEndWhileConnecting(t *testing.T) {
	s := valkeytest.Start(t)
	door := valkeytest.NewDoor(t, s.Addr)
	e := open(t, 1, roamvalkey.Config{Addrs: []string{door.Addr}})
	k := bear(t, e)
	door.Hold(true)
	door.Lead(s.Addr)
	s.Do("CLIENT", "KILL", "TYPE", "normal") // connections end, and new ones hear nothing
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { door.Hold(false) })
	for range 2 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, _ = e.Read(ctx, k, crdt.Token{}) // it waits in vain
		})
	}
	time.Sleep(100 * time.Millisecond)
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		begun := time.Now()
		_, err := e.Read(ctx, k, crdt.Token{})
		cancel()
		if took := time.Since(begun); err == nil || took > 250*time.Millisecond {
			t.Errorf("a call of 50 ms ended after %v with %v", took, err)
			break
		}
	}
}
