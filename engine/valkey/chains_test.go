//go:build integration

package valkey_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	roamvalkey "github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// A shardedLand is a cluster, the engine on it, and what tells of its shards.
type shardedLand struct {
	*testing.T
	shards []*valkeytest.Server
	e      *roamvalkey.Engine
	c      *roamvalkey.Chains
}

func tellOf(t *testing.T, shards []*valkeytest.Server, config roamvalkey.Config) shardedLand {
	t.Helper()
	config.Addrs = []string{shards[0].Addr}
	e := open(t, 1, config)
	c, err := e.Chains()
	if err != nil {
		t.Fatalf("Chains: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() }) // never fails
	return shardedLand{t, shards, e, c}
}

func (l shardedLand) role() roamvalkey.Role {
	l.Helper()
	r, err := l.c.Role(l.Context())
	if err != nil {
		l.Fatalf("Role = %v", err)
	}
	return r
}

func (l shardedLand) beat(epoch uint64) {
	l.Helper()
	if err := l.c.Beat(l.Context(), epoch); err != nil {
		l.Fatalf("Beat(%d) = %v", epoch, err)
	}
}

func (l shardedLand) wantBeat(when string, epoch, n uint64) {
	l.Helper()
	if got, err := l.c.Beaten(l.Context()); err != nil || got.Epoch != epoch || got.N != n {
		l.Errorf("Beaten %s = %+v, %v, want number %d of epoch %d", when, got, err, n, epoch)
	}
}

func (l shardedLand) wantMark(when string, epoch uint64) {
	l.Helper()
	if got, err := l.c.Marked(l.Context()); err != nil || got != epoch {
		l.Errorf("Marked %s = %d, %v, want %d", when, got, err, epoch)
	}
}

func (l shardedLand) grant(epoch uint64) {
	l.Helper()
	until(l.T, fmt.Sprintf("epoch %d is granted to all shards", epoch), func() bool { // a node may be yet to hear who is a primary
		clocks, err := l.e.Clocks(l.Context())
		return err == nil && l.e.Grant(l.Context(), epoch, clocks, time.Minute) == nil
	})
	l.e.Under(epoch)
}

// refused bears a session in each partition, and returns those in which that was refused for
// want of a lease.
func (l shardedLand) refused() map[uint16]bool {
	l.Helper()
	out := map[uint16]bool{}
	for tried := map[uint16]bool{}; len(tried) < crdt.Partitions; {
		k := newKey()
		if tried[k.Partition()] {
			continue
		}
		tried[k.Partition()] = true
		until(l.T, fmt.Sprintf("a birth in partition %d is taken or refused", k.Partition()), func() bool { // its cluster may be down for a moment
			_, err := l.e.Apply(l.Context(), k, crdt.Op{Stamp: now().Stamp() + 1, Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}})
			is := errors.Is(err, engine.ErrNotPrimary)
			if is {
				out[k.Partition()] = true
			}
			return err == nil || is || errors.Is(err, crdt.ErrExists)
		})
	}
	return out
}

// sign is the key of what a shard is told whose lowest partition that is.
func sign(name string, partition int) string { return fmt.Sprintf("roam:%s{%02x}", name, partition) }

// slotOf returns the slot of a partition.
func (l shardedLand) slotOf(partition int) string {
	return l.shards[0].Do("CLUSTER", "KEYSLOT", sign("over", partition))
}

// lowest returns the lowest partition of a shard that StartCluster has made.
func (l shardedLand) lowest(shard int) int {
	l.Helper()
	for p := range crdt.Partitions {
		var slot int
		if _, err := fmt.Sscan(l.slotOf(p), &slot); err != nil {
			l.Fatal(err)
		}
		if slot*len(l.shards)/16384 == shard {
			return p
		}
	}
	l.Fatalf("shard %d has no partition", shard)
	return 0
}

// All shards are told under one number, and what one of them lacks is not there.
func TestChains(t *testing.T) {
	l := tellOf(t, valkeytest.StartCluster(t, 3), roamvalkey.Config{})
	if r := l.role(); !r.Primary || r.LinkUp || r.RunID == "" || r.Replid == "" || r.Follows != "" {
		t.Errorf("Role = %+v, want primaries", r)
	}
	l.wantMark("where nothing is", 0)
	l.wantBeat("where there is none", 0, 0)
	l.shards[1].Do("SET", sign("beat", l.lowest(1)), "6 50 1764000000000")
	l.beat(7)
	l.beat(7)
	l.wantBeat("of shards of which one had counted on", 7, 52)
	began := now()
	l.beat(8)
	if b, err := l.c.Beaten(t.Context()); err != nil || b.Epoch != 8 || b.N != 53 || b.At < began || b.At > now() {
		t.Errorf("Beaten = %+v, %v, want the first of epoch 8, written now", b, err)
	}
	if err := l.c.Beat(t.Context(), 7); !errors.Is(err, engine.ErrNotPrimary) {
		t.Errorf("Beat of an epoch before = %v, want ErrNotPrimary", err)
	}
	if err := l.c.Mark(t.Context(), 8); err != nil {
		t.Fatalf("Mark = %v", err)
	}
	l.wantMark("after Mark", 8)
	if err := l.c.Beat(t.Context(), 8); !errors.Is(err, engine.ErrNotPrimary) {
		t.Errorf("Beat of an epoch that is over = %v, want ErrNotPrimary", err)
	}
}

// What one shard lacks, or has of before, is so of all. What is none is no answer.
func TestChainsOfWhichOneLacksASign(t *testing.T) {
	l := tellOf(t, valkeytest.StartCluster(t, 3), roamvalkey.Config{})
	second, third := l.lowest(1), l.lowest(2)
	l.beat(8)
	if err := l.c.Mark(t.Context(), 8); err != nil {
		t.Fatalf("Mark = %v", err)
	}
	l.shards[2].Do("DEL", sign("over", third))
	l.wantMark("where one shard has none", 0)
	l.shards[2].Do("SET", sign("over", third), "5")
	l.wantMark("where one shard has an older one", 5)
	l.shards[1].Do("SET", sign("beat", second), "7 52 1764000000000")
	l.wantBeat("where one shard has an older one", 8, 0)
	l.shards[1].Do("SET", sign("beat", second), "soon")
	if _, err := l.c.Beaten(t.Context()); !errors.Is(err, engine.ErrCorrupt) {
		t.Errorf("Beaten of what is none = %v, want ErrCorrupt", err)
	}
	if err := l.c.Mark(t.Context(), 1<<48); !errors.Is(err, crdt.ErrMalformed) {
		t.Errorf("Mark of no epoch = %v, want ErrMalformed", err)
	}
	_ = l.c.Close() // never fails
	if _, err := l.c.Role(t.Context()); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("Role after Close = %v, want ErrClosed", err)
	}
	alone := open(t, 1, roamvalkey.Config{Addrs: []string{valkeytest.Start(t).Addr}})
	if _, err := alone.Chains(); err == nil {
		t.Error("Chains of a server that is no cluster's are taken")
	}
}

// A shard of which the primary is replaced within its Region is another run of the whole, and
// holds no lease before it is granted one, while the others do.
func TestChainsWhenAShardFailsOver(t *testing.T) {
	primaries := valkeytest.StartCluster(t, 3, "--repl-diskless-sync-delay", "0")
	heir := valkeytest.AddReplica(t, primaries, primaries[1])
	l := tellOf(t, primaries, roamvalkey.Config{})
	l.grant(1)
	l.beat(1)
	was := l.role()
	if clocks, err := l.e.Clocks(t.Context()); err != nil || clocks.History() != was.Replid || len(clocks.Times()) != 3 {
		t.Errorf("Clocks are of %q, %v, want those of %q", clocks.History(), err, was.Replid)
	}
	if refused := l.refused(); len(refused) > 0 {
		t.Errorf("partitions %v have no lease", refused)
	}
	until(t, "the replica has all keys", func() bool { return heir.Do("DBSIZE") == primaries[1].Do("DBSIZE") })
	var is roamvalkey.Role // in between it is neither, or can't be asked
	var asked time.Time    // a failover is given up after five seconds
	until(t, "the replica is a primary", func() (ok bool) {
		if time.Since(asked) > 6*time.Second && strings.Contains(heir.Do("INFO", "replication"), "role:slave") {
			heir.Do("CLUSTER", "FAILOVER")
			asked = time.Now()
		}
		var err error
		is, err = l.c.Role(t.Context())
		return err == nil && is.Primary && is.RunID != was.RunID
	})
	if is.Replid == was.Replid {
		t.Errorf("Role = %+v, want another history", is)
	}
	until(t, "the clocks are those of the new primaries", func() bool {
		clocks, err := l.e.Clocks(t.Context())
		return err == nil && clocks.History() == is.Replid
	})
	var refused map[uint16]bool
	until(t, "the new primary is found by its writers", func() bool { refused = l.refused(); return len(refused) > 0 })
	if first := uint16(l.lowest(0)); refused[first] || !refused[uint16(l.lowest(1))] { //nolint:gosec // below Partitions
		t.Errorf("partitions %v have no lease, want those of the shard that has failed over", refused)
	}
	l.wantBeat("that the new primary has by replication", 1, 1)
	l.grant(2)
	l.beat(2)
	l.wantBeat("after the next epoch has begun", 2, 2)
	if refused := l.refused(); len(refused) > 0 {
		t.Errorf("partitions %v have no lease in the next epoch", refused)
	}
}

// What is asked of all shards fails where one has no primary: what it holds, nobody knows.
func TestChainsWithoutAShard(t *testing.T) {
	l := tellOf(t, valkeytest.StartCluster(t, 3), roamvalkey.Config{})
	l.grant(1)
	l.beat(1)
	l.shards[2].Kill()
	ask := func() (errs []error) {
		_, err := l.c.Role(t.Context())
		_, marked := l.c.Marked(t.Context())
		_, beaten := l.c.Beaten(t.Context())
		_, clocks := l.e.Clocks(t.Context())
		return []error{
			err, marked, beaten, clocks, l.c.Beat(t.Context(), 1), l.c.Mark(t.Context(), 1), l.e.EndLease(t.Context(), 1),
			l.e.Scan(t.Context(), engine.EveryPartition, func(crdt.Record) bool { return true }),
		}
	}
	until(t, "the cluster has no primary of some partitions", func() bool {
		errs := ask()
		if slices.Contains(errs, nil) {
			t.Fatalf("asked without a shard, they say %v, want errors", errs)
		}
		return errors.Is(errs[0], engine.ErrUnreachable) && strings.Contains(errs[0].Error(), "partitions have no primary")
	})
	if errors.Is(l.e.EndLease(t.Context(), 1), engine.ErrNotPrimary) {
		t.Error("EndLease tells that all that could be asked have let go")
	}
}

// A shard that has had a later epoch is no reason to leave the others theirs, nor to take one
// that does not answer for one that has let go.
func TestEndLeaseReachesAllShards(t *testing.T) {
	l := tellOf(t, valkeytest.StartCluster(t, 3), roamvalkey.Config{})
	l.grant(5)
	one := open(t, 1, roamvalkey.Config{Addrs: []string{l.shards[0].Addr}})
	l.shards[0].Do("FCALL", "roam_v1_grant", "0", "\x00\x00\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00") // as of the next epoch's end
	if err := one.EndLease(t.Context(), 5); !errors.Is(err, engine.ErrNotPrimary) {
		t.Errorf("EndLease = %v, want ErrNotPrimary of the one that has had a later one", err)
	}
	if refused := l.refused(); len(refused) != crdt.Partitions {
		t.Errorf("%d partitions have let go of the lease, want all", len(refused))
	}
	l.shards[2].Kill() // which the others do not know yet
	if err := one.EndLease(t.Context(), 5); err == nil || errors.Is(err, engine.ErrNotPrimary) {
		t.Errorf("EndLease where one has had a later epoch and one does not answer = %v, want an error of that one", err)
	}
}

// While a slot moves, and after it has, what was told of it counts as not told, until it is
// told again. No run is another one for that, and the lease goes on.
func TestChainsWhileASlotMoves(t *testing.T) {
	l := tellOf(t, valkeytest.StartCluster(t, 3), roamvalkey.Config{})
	l.grant(1)
	l.beat(1)
	l.beat(1)
	if err := l.c.Mark(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	was := l.role()
	from := slices.IndexFunc([]int{0, 1, 2}, func(i int) bool { return l.lowest(i) == 0 })
	to := (from + 1) % 3
	l.begins(l.slotOf(0), from, to)
	l.wantMark("while the slot moves", 0)
	l.wantBeat("while the slot moves", 1, 0)
	if r := l.role(); !r.Primary || r.RunID != was.RunID {
		t.Errorf("Role = %+v, was %+v", r, was)
	}
	if err := l.c.Beat(t.Context(), 2); !errors.Is(err, engine.ErrUnreachable) {
		t.Errorf("Beat while the slot moves = %v, want ErrUnreachable", err)
	}
	l.ends(l.slotOf(0), from, to)
	// The shard that it has left has no sign of its lowest partition yet.
	until(t, "the cluster knows where the slot is", func() bool { return l.c.Beat(t.Context(), 2) == nil })
	l.wantMark("after the slot has moved", 0)
	b, err := l.c.Beaten(t.Context())
	if err != nil || b.Epoch != 2 || b.N < 3 {
		t.Errorf("Beaten = %+v, %v, want one that counts on", b, err)
	}
	l.beat(2)
	if next, err := l.c.Beaten(t.Context()); err != nil || next.Epoch != 2 || next.N <= b.N {
		t.Errorf("Beaten after another one = %+v, %v, want one after %+v", next, err, b)
	}
	if r := l.role(); !r.Primary || r.RunID != was.RunID || r.Replid != was.Replid {
		t.Errorf("Role = %+v, was %+v: the servers are the same", r, was)
	}
	if refused := l.refused(); len(refused) > 0 {
		t.Errorf("partitions %v have no lease", refused)
	}
}

// begins has a slot begin to move: its keys are there, and it is not yet.
func (l shardedLand) begins(slot string, from, to int) {
	l.Helper()
	id := func(i int) string { return l.shards[i].Do("CLUSTER", "MYID") }
	l.shards[to].Do("CLUSTER", "SETSLOT", slot, "IMPORTING", id(from))
	l.shards[from].Do("CLUSTER", "SETSLOT", slot, "MIGRATING", id(to))
	client := raw(l.T, l.shards[from].Addr)
	keys, err := client.Do(l.Context(), client.B().Arbitrary("CLUSTER", "GETKEYSINSLOT", slot, "1000").Build()).AsStrSlice()
	if err != nil || len(keys) < 2 {
		l.Fatalf("keys of slot %s: %q, %v", slot, keys, err)
	}
	l.shards[from].Do(append([]string{"MIGRATE", "127.0.0.1", l.shards[to].Port(), "", "0", "5000", "KEYS"}, keys...)...)
}

// ends has the slot be where its keys are.
func (l shardedLand) ends(slot string, from, to int) {
	l.Helper()
	id := l.shards[to].Do("CLUSTER", "MYID")
	l.shards[to].Do("CLUSTER", "SETSLOT", slot, "NODE", id)
	l.shards[from].Do("CLUSTER", "SETSLOT", slot, "NODE", id)
	for i, s := range l.shards {
		if i != from && i != to {
			s.Do("CLUSTER", "SETSLOT", slot, "NODE", id)
		}
	}
}

// The user of ACLOfNode can tell shards all that there is, and the one of ACL nothing.
func TestACLOfNodeIsEnoughForShards(t *testing.T) {
	node := "--user node on >secret resetchannels -@all " + roamvalkey.ACLOfNode()
	app := "--user roam on >secret resetchannels -@all " + roamvalkey.ACL()
	shards := valkeytest.StartCluster(t, 2, strings.Fields(node+" "+app)...)
	l := tellOf(t, shards, roamvalkey.Config{Username: "node", Password: "secret"})
	l.grant(1)
	l.beat(1)
	l.wantBeat("by the node's user", 1, 1)
	if err := l.c.Mark(t.Context(), 1); err != nil {
		t.Errorf("Mark = %v", err)
	}
	l.wantMark("by the node's user", 1)
	if r := l.role(); !r.Primary {
		t.Errorf("Role = %+v", r)
	}
	l = tellOf(t, shards, roamvalkey.Config{Username: "roam", Password: "secret"})
	for what, err := range map[string]error{"Beat": l.c.Beat(t.Context(), 2), "Mark": l.c.Mark(t.Context(), 2)} {
		if err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("%s by an application's user = %v, want NOPERM", what, err)
		}
	}
}
