//go:build integration

package valkey_test

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/enginetest"
	roamvalkey "github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// readsFrom waits until what is read for the first time is read from a server too.
func readsFrom(t *testing.T, e *roamvalkey.Engine, s *valkeytest.Server) {
	t.Helper()
	until(t, "it is read from", func() bool {
		at := hgetalls(t, s)
		if _, err := e.Read(t.Context(), newKey(), crdt.Token{}); err != nil {
			t.Fatal(err)
		}
		return hgetalls(t, s) > at
	})
}

// With a near-cache and replicas it is the same engine: what a process has shown or
// written is what it shows.
func TestPromisesWithNearCacheAndReplicas(t *testing.T) {
	t.Parallel() // it mostly waits
	var first, second [3]*valkeytest.Server
	for region := range 2 {
		first[region+1], second[region+1] = pair(t)
	}
	enginetest.Run(t, func(t *testing.T, here crdt.Region) engine.Engine {
		first[here].Do("FLUSHALL", "SYNC")
		e := open(t, here, roamvalkey.Config{
			Addrs: []string{first[here].Addr}, Replicas: []string{second[here].Addr}, NearBytes: nearBytes,
		})
		readsFrom(t, e, second[here])
		return e
	}, enginetest.Options{})
}

// In a cluster, too.
func TestPromisesWithNearCacheAndClusterReplicas(t *testing.T) {
	t.Parallel() // it mostly waits
	var first, second [3][]*valkeytest.Server
	for region := range 2 {
		first[region+1] = valkeytest.StartCluster(t, 2, "--repl-diskless-sync-delay", "0")
		for _, s := range first[region+1] {
			second[region+1] = append(second[region+1], valkeytest.AddReplica(t, first[region+1], s))
		}
	}
	enginetest.Run(t, func(t *testing.T, here crdt.Region) engine.Engine {
		var addrs []string
		for _, s := range first[here] {
			s.Do("FLUSHALL", "SYNC")
			addrs = append(addrs, s.Addr)
		}
		e := open(t, here, roamvalkey.Config{Addrs: addrs, ClusterReplicas: true, NearBytes: nearBytes})
		for _, s := range second[here] {
			readsFrom(t, e, s)
		}
		return e
	}, enginetest.Options{})
}

// lagging starts a server and one that replicates it through a door.
func lagging(t *testing.T) (primary, replica *valkeytest.Server, door *valkeytest.Door) {
	t.Helper()
	primary = valkeytest.Start(t, "--repl-diskless-sync-delay", "0")
	door = valkeytest.NewDoor(t, primary.Addr)
	host, port, err := net.SplitHostPort(door.Addr)
	if err != nil {
		t.Fatal(err)
	}
	return primary, valkeytest.Start(t, "--replicaof", host+" "+port), door
}

// While a replica lags and catches up, and others write, no read of a process shows less
// than one that ended before it began, or than the process had written by then. The
// near-cache is so small that what it keeps is often let go of.
func TestNearCacheOfALaggingReplica(t *testing.T) {
	primary, replica, door := lagging(t)
	e := open(t, 1, roamvalkey.Config{Addrs: []string{primary.Addr}, Replicas: []string{replica.Addr}, NearBytes: 64 << 10})
	other := open(t, 1, roamvalkey.Config{Addrs: []string{primary.Addr}})
	readsFrom(t, e, replica)
	until(t, "the near-cache is trusted", func() bool { return e.NearCache().Trusted })
	before := hgetalls(t, replica)
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			door.Hold(true)
			time.Sleep(600 * time.Millisecond)
			door.Hold(false)
			time.Sleep(400 * time.Millisecond)
		}
	})
	for range 4 {
		var keys []crdt.Key
		for range 60 {
			keys = append(keys, bear(t, e))
		}
		wg.Go(func() {
			least := map[crdt.Key]int64{}
			for id := uint64(1); ctx.Err() == nil; id++ {
				k := keys[rand.IntN(len(keys))]
				by := e
				switch rand.IntN(10) {
				case 0:
					least[k]++ // of what is shown, this is more
				case 1:
					by = other
				default:
					by = nil
				}
				if by != nil {
					apply(t, by, k, crdt.Op{ID: id, Changes: []crdt.Change{crdt.Add("n", 1)}})
				}
				got := read(t, e, k).Count("n")
				if got < least[k] {
					t.Errorf("a session shows %d, and %d was shown or written before", got, least[k])
					return
				}
				least[k] = got
				time.Sleep(time.Millisecond)
			}
		})
	}
	wg.Wait()
	if n := hgetalls(t, replica) - before; n == 0 {
		t.Error("the replica was not read from")
	}
	if e.NearCache().Hits == 0 {
		t.Error("no read was near")
	}
}

// A logout by another process is seen within a second, however late the replica hears
// of it that the near-cache was filled from.
func TestNearCacheFilledFromAReplica(t *testing.T) {
	primary, replica, door := lagging(t)
	other := open(t, 1, roamvalkey.Config{Addrs: []string{primary.Addr}})
	e := open(t, 1, roamvalkey.Config{Addrs: []string{primary.Addr}, Replicas: []string{replica.Addr}, NearBytes: nearBytes})
	readsFrom(t, e, replica)
	until(t, "the near-cache is trusted", func() bool { return e.NearCache().Trusted })
	var keys []crdt.Key
	for range 40 {
		keys = append(keys, bear(t, other))
	}
	time.Sleep(500 * time.Millisecond) // the replica is known to have them
	at := hgetalls(t, replica)
	for _, k := range keys {
		read(t, e, k)
	}
	if n := hgetalls(t, replica) - at; n == 0 {
		t.Fatal("nothing was read from the replica")
	}
	for _, k := range keys {
		until(t, "it is near", func() bool { return hit(t, e, k) })
	}
	door.Hold(true)
	begun := time.Now()
	for _, k := range keys {
		if err := other.Join(t.Context(), crdt.Record{Key: k, Dead: true}); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range keys {
		until(t, "the logout is seen", func() bool { return read(t, e, k).Dead })
	}
	if took := time.Since(begun); took > 300*time.Millisecond {
		t.Errorf("logouts that the primary tells of were seen after %v, want a moment", took)
	}
}
