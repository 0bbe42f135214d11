//go:build integration

package valkey_test

import (
	"testing"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	roamvalkey "github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// tombstones are records that are quickly made.
const tombstones = 20_000

// bury has so many records joined.
func bury(t *testing.T, e *roamvalkey.Engine) {
	t.Helper()
	for range tombstones {
		if err := e.Join(t.Context(), crdt.Record{Key: newKey(), Dead: true}); err != nil {
			t.Fatal(err)
		}
	}
}

// scanned returns how many records a scan finds, and with how many questions.
func scanned(t *testing.T, e *roamvalkey.Engine, of engine.Partitions, servers ...*valkeytest.Server) (found, asked int) {
	t.Helper()
	calls := func() (n int) {
		for _, s := range servers {
			n += commandCalls(t, s, "scan")
		}
		return n
	}
	before := calls()
	if err := e.Scan(t.Context(), of, func(crdt.Record) bool { found++; return true }); err != nil {
		t.Fatal(err)
	}
	return found, calls() - before
}

// allKeys is how many questions a walk through the keys of all tombstones takes: some
// 40, and a few more, since a server looks at whole buckets of its table.
const allKeys = 60

// One walk through a server's keys is enough for all partitions (DESIGN R19).
func TestScanOfAServerIsOneWalk(t *testing.T) {
	s := valkeytest.Start(t)
	e := open(t, 1, roamvalkey.Config{Addrs: []string{s.Addr}})
	bury(t, e)
	if found, asked := scanned(t, e, engine.EveryPartition, s); found != tombstones || asked > allKeys {
		t.Errorf("%d records were found by %d questions, want %d by %d at most", found, asked, tombstones, allKeys)
	}
	if found, asked := scanned(t, e, 0, s); found+asked > 0 {
		t.Errorf("%d records of no partition were found by %d questions, want none", found, asked)
	}
}

// A scan of one partition of a cluster does not go through the keys of all, and one of
// all goes through each slot's once.
func TestScanOfAClusterStaysInItsSlots(t *testing.T) {
	servers := valkeytest.StartCluster(t, 3)
	e := open(t, 1, roamvalkey.Config{Addrs: []string{servers[0].Addr}})
	bury(t, e)
	if found, asked := scanned(t, e, engine.PartitionsOf(5), servers...); found == 0 || asked > 12 {
		t.Errorf("%d records were found by %d questions, want some by a dozen at most: all keys are 40 and more", found, asked)
	}
	// Of each partition two kinds are asked for, at three nodes.
	most := allKeys + 2*3*crdt.Partitions
	if found, asked := scanned(t, e, engine.EveryPartition, servers...); found != tombstones || asked > most {
		t.Errorf("%d records were found by %d questions, want %d by %d at most", found, asked, tombstones, most)
	}
}
