//go:build integration

package valkey_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	roamvalkey "github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// hgetalls returns how many records a server was asked for.
func hgetalls(t *testing.T, s *valkeytest.Server) int {
	t.Helper()
	return commandCalls(t, s, "hgetall")
}

// commandCalls returns how often a server was asked a command.
func commandCalls(t *testing.T, s *valkeytest.Server, command string) int {
	t.Helper()
	_, rest, ok := strings.Cut(s.Do("INFO", "commandstats"), "cmdstat_"+command+":calls=")
	if !ok {
		return 0
	}
	text, _, _ := strings.Cut(rest, ",")
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Reads are shared between servers that answer as soon as each other, and leave a
// replica that does not follow any more. What the client has seen is honoured, and a
// miss at a replica is none.
func TestReadReplicas(t *testing.T) {
	first, second := pair(t)
	// One that nobody answers at is no failure.
	e := open(t, 1, roamvalkey.Config{Addrs: []string{first.Addr}, Replicas: []string{second.Addr, "127.0.0.1:1"}})
	k := bear(t, e)
	until(t, "the replica is read from", func() bool { read(t, e, k); return hgetalls(t, second) > 0 })
	at := [2]int{hgetalls(t, first), hgetalls(t, second)}
	until(t, "both are read from", func() bool {
		for range 20 {
			read(t, e, k)
		}
		return hgetalls(t, first)-at[0] > 10 && hgetalls(t, second)-at[1] > 10
	})

	second.Do("REPLICAOF", "NO", "ONE") // it has what it had
	d := apply(t, e, k, crdt.Op{Changes: []crdt.Change{crdt.Put("a", []byte("1"))}})
	for range 50 {
		if r, err := e.Read(t.Context(), k, crdt.Token{}.With(d)); err != nil || value(r) != "1" {
			t.Fatalf("read with the token of a write that the replica has not got = %q, %v", value(r), err)
		}
	}
	missing := bear(t, e)
	for range 50 {
		if read(t, e, missing).IsBottom() {
			t.Fatal("a session that the replica has not got is shown as none")
		}
	}
	apply(t, e, k, crdt.Op{Destroy: true})
	begun := time.Now()
	until(t, "the replica is left", func() bool {
		for range 20 {
			if !read(t, e, k).Dead {
				return false
			}
		}
		return true
	})
	if took := time.Since(begun); took > 1500*time.Millisecond {
		t.Errorf("a replica that follows nobody was left after %v, want a second and a moment", took)
	}
	second.Kill()
	for range 50 {
		read(t, e, k)
	}
}

// In a cluster each shard's replica is read from for what the shard has, and left when
// it does not follow any more, which the others are not for that.
func TestReadReplicasOfCluster(t *testing.T) {
	primaries := valkeytest.StartCluster(t, 2, "--repl-diskless-sync-delay", "0")
	replicas := []*valkeytest.Server{
		valkeytest.AddReplica(t, primaries, primaries[0]), valkeytest.AddReplica(t, primaries, primaries[1]),
	}
	e := open(t, 1, roamvalkey.Config{Addrs: []string{primaries[0].Addr}, ClusterReplicas: true})
	var keys []crdt.Key
	for range 64 { // some are in either shard
		keys = append(keys, bear(t, e))
	}
	readAll := func() {
		for _, k := range keys {
			if read(t, e, k).IsBottom() {
				t.Fatalf("%v is shown as none", k)
			}
		}
	}
	for i, s := range replicas {
		until(t, "the replica of shard "+strconv.Itoa(i)+" is read from", func() bool { readAll(); return hgetalls(t, s) > 10 })
	}
	k := keys[0]
	d := apply(t, e, k, crdt.Op{Changes: []crdt.Change{crdt.Put("a", []byte("1"))}})
	for range 50 {
		if r, err := e.Read(t.Context(), k, crdt.Token{}.With(d)); err != nil || value(r) != "1" {
			t.Fatalf("read with the token of a write = %q, %v", value(r), err)
		}
	}
	// A process that hangs follows nobody. It is as if it were far behind.
	replicas[0].Do("CLIENT", "PAUSE", "60000", "ALL")
	begun := time.Now()
	until(t, "the replica is left", func() bool {
		from := time.Now()
		readAll()
		return time.Since(from) < 100*time.Millisecond
	})
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("a replica that does not answer was left after %v", took)
	}
	at := hgetalls(t, replicas[1])
	until(t, "the other one is read from", func() bool { readAll(); return hgetalls(t, replicas[1]) > at+10 })
	clocks, err := e.Clocks(t.Context())
	if err == nil {
		err = e.Grant(t.Context(), 1, clocks, time.Second)
	}
	if times := clocks.Times(); err != nil || len(times) != len(primaries) {
		t.Errorf("%d clocks of a cluster with replicas, and Grant = %v, want the primaries to take it", len(times), err)
	}
}

// Replicas are for a server alone, ClusterReplicas for a cluster.
func TestReplicasMustFitTheServer(t *testing.T) {
	one, many := valkeytest.Start(t), valkeytest.StartCluster(t, 1)
	for name, c := range map[string]roamvalkey.Config{
		"a server alone": {Addrs: []string{one.Addr}, ClusterReplicas: true},
		"a cluster":      {Addrs: []string{many[0].Addr}, Replicas: []string{one.Addr}},
	} {
		e, err := roamvalkey.Open(t.Context(), 1, c)
		if err == nil {
			_ = e.Close() // never fails
		}
		if err == nil || !strings.Contains(err.Error(), "Replicas") {
			t.Errorf("Open of %s with replicas of the other kind = %v, want it refused", name, err)
		}
	}
}
