//go:build integration

package valkey_test

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// born makes the n-th session.
func born(e engine.Engine, n uint32) error {
	now := crdt.TimeOf(time.Now())
	var entropy crdt.IDEntropy
	binary.BigEndian.PutUint32(entropy[:], n)
	_, err := e.Apply(context.Background(), crdt.SessionKey(crdt.NewSessionID(now.Add(time.Hour), 1, entropy)), crdt.Op{
		Stamp: now.Stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}, User: "ann",
	})
	return err
}

func connectionsTo(s *valkeytest.Server) int {
	return strings.Count(s.Do("CLIENT", "LIST"), "name=roam")
}

// A name moves from a server that goes on answering: whoever is told connects to where it
// leads now, without a failed call, and leaves nothing open at the old one.
func TestReconnect(t *testing.T) {
	old, now := valkeytest.Start(t), valkeytest.Start(t)
	door := valkeytest.NewDoor(t, old.Addr)
	e, err := valkey.Open(t.Context(), 1, valkey.Config{Addrs: []string{door.Addr}, NearBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }() // never fails
	if err := born(e, 1); err != nil {
		t.Fatal(err)
	}
	door.Lead(now.Addr)
	if err := born(e, 2); err != nil || now.Do("DBSIZE") != "0" {
		t.Fatalf("before Reconnect: %v, %s keys at the new server; want that connections stay", err, now.Do("DBSIZE"))
	}
	stop, all := make(chan struct{}), sync.WaitGroup{}
	for i := range 4 {
		all.Go(func() {
			for n := 0; ; n++ {
				if err := born(e, uint32(100+i*100_000+n)); err != nil {
					t.Errorf("a birth while reconnecting = %v, want nil", err)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	for range 12 { // as often as one likes
		if err := e.Reconnect(t.Context()); err != nil {
			t.Fatalf("Reconnect = %v, want nil", err)
		}
	}
	time.Sleep(20 * time.Millisecond) // what was under way
	size := old.Do("DBSIZE")
	if err := born(e, 3); err != nil || now.Do("DBSIZE") == "0" {
		t.Errorf("after Reconnect: %v, %s keys at the new server", err, now.Do("DBSIZE"))
	}
	time.Sleep(50 * time.Millisecond)
	close(stop)
	all.Wait()
	if later := old.Do("DBSIZE"); later != size {
		t.Errorf("the old server took writes after Reconnect: %s keys, then %s", size, later)
	}
	for begun := time.Now(); connectionsTo(old) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > 10*time.Second {
			t.Fatalf("%d connections to the old server ten seconds after Reconnect", connectionsTo(old))
		}
	}
}

// Where the name leads nowhere the connections there are stay.
func TestReconnectToNobody(t *testing.T) {
	s := valkeytest.Start(t)
	door := valkeytest.NewDoor(t, s.Addr)
	e, err := valkey.Open(t.Context(), 1, valkey.Config{Addrs: []string{door.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint32(32) { // so that both connections are there
		if err := born(e, 100+n); err != nil {
			t.Fatal(err)
		}
	}
	away := valkeytest.Start(t)
	away.Kill()
	door.Lead(away.Addr)
	if err := e.Reconnect(t.Context()); !errors.Is(err, engine.ErrUnreachable) {
		t.Errorf("Reconnect = %v, want ErrUnreachable", err)
	}
	if err := born(e, 1); err != nil {
		t.Errorf("a birth after that = %v, want nil", err)
	}
	door.Lead(s.Addr)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Reconnect(ctx); !errors.Is(err, engine.ErrUnreachable) {
		t.Errorf("Reconnect without time = %v, want ErrUnreachable", err)
	}
	_ = e.Close() // never fails
	if err := e.Reconnect(t.Context()); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("Reconnect after Close = %v, want ErrClosed", err)
	}
}

// A replica refuses whoever is under a lease at once: another Region takes the writes, and
// the caller knows which. Meanwhile it is looked where the name leads.
func TestReplicaRefusesAtOnceUnderALease(t *testing.T) {
	primary, replica := valkeytest.Start(t), valkeytest.Start(t)
	door := valkeytest.NewDoor(t, replica.Addr)
	e, err := valkey.Open(t.Context(), 1, valkey.Config{Addrs: []string{door.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }() // never fails
	replica.Do("REPLICAOF", "127.0.0.1", primary.Port())
	begun := time.Now()
	if err := born(e, 1); !errors.Is(err, engine.ErrNotPrimary) || time.Since(begun) < 150*time.Millisecond {
		t.Errorf("without a lease: %v after %v, want ErrNotPrimary after a while: somebody may be promoted", err, time.Since(begun))
	}
	e.Under(1)
	longest := time.Duration(0)
	for n := range uint32(100) {
		begun := time.Now()
		if err := born(e, n); !errors.Is(err, engine.ErrNotPrimary) {
			t.Fatalf("a birth at a replica = %v, want ErrNotPrimary", err)
		}
		longest = max(longest, time.Since(begun))
	}
	if longest > 100*time.Millisecond {
		t.Errorf("the longest of 100 refusals took %v, want a round trip", longest)
	}
	door.Lead(primary.Addr)
	granter, err := valkey.Open(t.Context(), 1, valkey.Config{Addrs: []string{primary.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = granter.Close() }() // never fails
	clocks, err := granter.Clocks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := granter.Grant(t.Context(), 1, clocks, 30*time.Second); err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		err := born(e, 1)
		if err == nil {
			break
		}
		if time.Since(begun) > 10*time.Second {
			t.Fatalf("ten seconds after the name moved: %v", err)
		}
	}
}
