//go:build integration

package valkey_test

import (
	"testing"

	"github.com/roam-sessions/roam/crdt"
	roamvalkey "github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// A scan of one partition of a cluster does not go through the keys of all.
func TestScanOfAClusterStaysInItsSlot(t *testing.T) {
	servers := valkeytest.StartCluster(t, 3)
	e := open(t, 1, roamvalkey.Config{Addrs: []string{servers[0].Addr}})
	for range 20_000 {
		k := newKey()
		if err := e.Join(t.Context(), crdt.Record{Key: k, Dead: true}); err != nil {
			t.Fatal(err)
		}
	}
	calls := func() (n int) {
		for _, s := range servers {
			n += commandCalls(t, s, "scan")
		}
		return n
	}
	before, found := calls(), 0
	if err := e.Scan(t.Context(), 5, func(crdt.Record) bool { found++; return true }); err != nil {
		t.Fatal(err)
	}
	if got := calls() - before; found == 0 || got > 12 {
		t.Errorf("%d records were found by %d questions, want some by a dozen at most: all keys are 40 and more", found, got)
	}
}
