//go:build integration

package valkey_test

import (
	"testing"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	roamvalkey "github.com/roam-sessions/roam/engine/valkey"
)

// A primary dies with writes that its replica has not got, and comes back with them
// after the replica took over and sessions went on: they merge into what there is.
// What was logged out meanwhile stays so, and nothing is undone.
func TestReturnedPrimaryIsSalvaged(t *testing.T) {
	one, two := pair(t, "--appendonly", "yes", "--appendfsync", "always")
	before := open(t, 1, roamvalkey.Config{Addrs: []string{one.Addr}})
	after := open(t, 1, roamvalkey.Config{Addrs: []string{two.Addr}})
	both, ended := bear(t, before), bear(t, before)
	has := func(k crdt.Key) func() bool {
		return func() bool {
			r, err := after.Read(t.Context(), k, crdt.Token{}) // it may not have its functions yet
			return err == nil && !r.IsBottom()
		}
	}
	until(t, "the replica has the sessions", func() bool { return has(both)() && has(ended)() })
	two.Do("REPLICAOF", "NO", "ONE")

	// Nobody else sees these.
	alone := bear(t, before)
	apply(t, before, both, crdt.Op{ID: 1, Changes: []crdt.Change{crdt.Put("a", []byte("lost")), crdt.Add("n", 1)}})
	apply(t, before, ended, crdt.Op{Changes: []crdt.Change{crdt.Put("a", []byte("lost"))}})
	one.Kill()

	apply(t, after, both, crdt.Op{ID: 2, Changes: []crdt.Change{crdt.Put("b", []byte("later")), crdt.Add("n", 1)}})
	apply(t, after, ended, crdt.Op{Destroy: true})
	if r := read(t, after, alone); !r.IsBottom() {
		t.Fatalf("the new primary has a session that only the old one took: %+v", r)
	}

	one.Restart()
	old := open(t, 1, roamvalkey.Config{Addrs: []string{one.Addr}})
	salvage(t, old, after)
	salvage(t, old, after) // again, as after a crash: nothing changes
	r := read(t, after, both)
	if b, _ := r.Value("b"); value(r) != "lost" || string(b) != "later" || r.Count("n") != 2 {
		t.Errorf("a session that both wrote has a %q, b %q, n %d; want lost, later, 2", value(r), b, r.Count("n"))
	}
	if !read(t, after, ended).Dead {
		t.Error("a logout came undone")
	}
	if r := read(t, after, alone); r.User != "ann" {
		t.Errorf("the session that only the old primary had is %+v, want it back", r)
	}
	head, err := after.Head(t.Context())
	if err != nil || head[alone.Partition()].N == 0 {
		t.Errorf("what came back is not in the log (%v, %v): peers would not hear of it", head[alone.Partition()], err)
	}
}

// salvage has one engine adopt all that another one has.
func salvage(t *testing.T, from, to *roamvalkey.Engine) {
	t.Helper()
	err := from.Scan(t.Context(), engine.EveryPartition, func(r crdt.Record) bool {
		_, err := to.Apply(t.Context(), r.Key, crdt.Op{Stamp: now().Stamp(), Adopt: &r})
		if err != nil && !engine.IsRefusal(err) {
			t.Errorf("adopt %v: %v", r.Key, err)
		}
		return true
	})
	if err != nil {
		t.Fatalf("scan what the old primary has: %v", err)
	}
}
