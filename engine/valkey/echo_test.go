//go:build integration

package valkey_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// until waits until something is so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for begun := time.Now(); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > 20*time.Second {
			t.Fatalf("after 20 s it is not so that %s", what)
		}
	}
}

// pair starts a server, with more arguments, and one that replicates it and is in step.
func pair(t *testing.T, args ...string) (primary, replica *valkeytest.Server) {
	t.Helper()
	primary = valkeytest.Start(t, append([]string{"--repl-diskless-sync-delay", "0"}, args...)...)
	host, port, err := net.SplitHostPort(primary.Addr)
	if err != nil {
		t.Fatal(err)
	}
	replica = valkeytest.Start(t, "--replicaof", host+" "+port)
	valkeytest.InStep(t, primary, replica)
	return primary, replica
}

// What a replica has is as old as the last number that came back; a cut makes it
// older, whoever cuts, and its end makes it young again.
func TestEcho(t *testing.T) {
	first, second := pair(t)
	primary := open(t, 1, valkey.Config{Addrs: []string{first.Addr}})
	replica := open(t, 2, valkey.Config{Addrs: []string{second.Addr}})
	echo := valkey.NewEcho(t.Context(), primary, replica, valkey.EchoConfig{Interval: 50 * time.Millisecond})
	t.Cleanup(func() { _ = echo.Close() }) // never fails
	young := func() bool { age, ok := echo.Heard(1); return ok && age < 150*time.Millisecond }
	old := func() bool { age, ok := echo.Heard(1); return ok && age > 400*time.Millisecond }

	until(t, "news is young", young)
	if lag := echo.Lag(1); lag <= 0 || lag > time.Second {
		t.Errorf("Lag() = %v on loopback, want some milliseconds", lag)
	}
	host, port, _ := net.SplitHostPort(first.Addr)
	second.Do("REPLICAOF", "NO", "ONE") // the replica hears nothing, and both answer
	until(t, "news is old while the replica follows nobody", old)
	second.Do("REPLICAOF", host, port)
	until(t, "news is young after the replica follows again", young)
	first.Kill()
	until(t, "news is old while there is no primary", old)
	first.Restart()
	until(t, "news is young after the primary came back", young)
	if echo.Everywhere(crdt.Dot{}) {
		t.Error("Everywhere() = true, and nobody knows")
	}
}

// A secondary's server takes no writes; what the primary takes is read there.
func TestReplicaOfAPrimary(t *testing.T) {
	first, second := pair(t)
	primary := open(t, 1, valkey.Config{Addrs: []string{first.Addr}})
	replica := open(t, 2, valkey.Config{Addrs: []string{second.Addr}})
	k := crdt.SessionKey(crdt.NewSessionID(crdt.TimeOf(time.Now()).Add(time.Hour), 1, crdt.IDEntropy{1}))
	until(t, "the replica has its functions", func() bool {
		_, err := replica.Read(t.Context(), k, crdt.Token{})
		return err == nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	op := crdt.Op{Stamp: crdt.TimeOf(time.Now()).Stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}, User: "ann"}
	if _, err := replica.Apply(ctx, k, op); !errors.Is(err, engine.ErrNotPrimary) {
		t.Errorf("Apply at a replica = %v, want ErrNotPrimary", err)
	}
	dot, err := primary.Apply(t.Context(), k, op)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the write is at the replica", func() bool {
		r, err := replica.Read(t.Context(), k, crdt.Token{})
		return err == nil && r.VV.Has(dot)
	})
}

// A server whose epoch is over is given no more numbers: it stays in step with the next
// primary, which has all of that epoch. Nobody waits for it: who writes is refused at once.
func TestEchoStopsWithTheLease(t *testing.T) {
	first, second := pair(t)
	primary := open(t, 1, valkey.Config{Addrs: []string{first.Addr}})
	replica := open(t, 2, valkey.Config{Addrs: []string{second.Addr}})
	clocks, err := primary.Clocks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := primary.Grant(t.Context(), 3, clocks, 30*time.Second); err != nil {
		t.Fatal(err)
	}
	echo := valkey.NewEcho(t.Context(), primary, replica, valkey.EchoConfig{Interval: 20 * time.Millisecond})
	t.Cleanup(func() { _ = echo.Close() }) // never fails
	until(t, "news is young under the lease", func() bool { age, ok := echo.Heard(1); return ok && age < 100*time.Millisecond })
	if err := primary.EndLease(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	dirty := func() string {
		_, changes, _ := strings.Cut(first.Do("INFO", "persistence"), "rdb_changes_since_last_save:")
		changes, _, _ = strings.Cut(changes, "\r")
		return changes
	}
	before := dirty()
	until(t, "news is old", func() bool { age, _ := echo.Heard(1); return age > 300*time.Millisecond })
	if after := dirty(); after != before {
		t.Errorf("%s changes were made to a server whose epoch is over, and %s before that", after, before)
	}
	if clocks, err = primary.Clocks(t.Context()); err == nil {
		err = primary.Grant(t.Context(), 4, clocks, 30*time.Second)
	}
	if err != nil {
		t.Fatal(err)
	}
	until(t, "news is young in the next epoch", func() bool { age, ok := echo.Heard(1); return ok && age < 100*time.Millisecond })
}
