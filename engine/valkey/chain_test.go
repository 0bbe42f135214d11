//go:build integration

package valkey_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	roamvalkey "github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// A steered is a server, the engine on it, and what steers it.
type steered struct {
	*valkeytest.Server
	t *testing.T
	e *roamvalkey.Engine
	c *roamvalkey.Chain
}

func steer(t *testing.T, s *valkeytest.Server) steered {
	t.Helper()
	e := open(t, 1, roamvalkey.Config{Addrs: []string{s.Addr}})
	c, err := e.Chain()
	if err != nil {
		t.Fatalf("Chain: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() }) // never fails
	return steered{s, t, e, c}
}

func (s steered) role() roamvalkey.Role {
	s.t.Helper()
	r, err := s.c.Role(s.t.Context())
	if err != nil {
		s.t.Fatalf("Role = %v", err)
	}
	return r
}

// follow has s follow another one, and returns when it is in step.
func (s steered) follow(addr string) {
	s.t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	if err := s.c.Follow(s.t.Context(), host, port); err != nil {
		s.t.Fatalf("Follow = %v", err)
	}
	until(s.t, "the replica is linked", func() bool { return s.role().LinkUp })
}

func (s steered) promote() {
	s.t.Helper()
	if err := s.c.Promote(s.t.Context()); err != nil {
		s.t.Fatalf("Promote = %v", err)
	}
}

// grant has the server of s hold the lease of an epoch, and its engine write under it.
func (s steered) grant(epoch uint64, lasts time.Duration) {
	s.t.Helper()
	clocks, err := s.e.Clocks(s.t.Context())
	if err == nil {
		err = s.e.Grant(s.t.Context(), epoch, clocks, lasts)
	}
	if err != nil {
		s.t.Fatalf("grant epoch %d: %v", epoch, err)
	}
	s.e.Under(epoch)
}

// syncs are how often a server gave others all data, and what they lacked.
type syncs struct{ full, partial int }

func (s steered) syncs() syncs {
	s.t.Helper()
	return syncs{stat(s.t, s.Server, "sync_full"), stat(s.t, s.Server, "sync_partial_ok")}
}

// stat returns a number that a server tells in INFO stats.
func stat(t *testing.T, s *valkeytest.Server, name string) int {
	t.Helper()
	_, rest, _ := strings.Cut(s.Do("INFO", "stats"), name+":")
	text, _, _ := strings.Cut(rest, "\r")
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// put writes a field and returns the error.
func put(ctx context.Context, e *roamvalkey.Engine, k crdt.Key, value string) error {
	return putAt(ctx, e, k, now().Stamp()+1, value)
}

// putAt does so under a stamp. Of two writes under the same one the greater value stays,
// which need not be the later.
func putAt(ctx context.Context, e *roamvalkey.Engine, k crdt.Key, stamp crdt.Stamp, value string) error {
	_, err := e.Apply(ctx, k, crdt.Op{Stamp: stamp, Changes: []crdt.Change{crdt.Put("a", []byte(value))}})
	return err
}

// A server tells what it is, and is told twice what to do as it is told once.
func TestChainRole(t *testing.T) {
	a, b := steer(t, valkeytest.Start(t, "--repl-diskless-sync-delay", "0")), steer(t, valkeytest.Start(t))
	b.follow(a.Addr)
	primary, replica := a.role(), b.role()
	if r := primary; !r.Primary || r.Follows != "" || r.Replicas != 1 || len(r.Replid) != 40 || r.RunID == "" {
		t.Errorf("role of the primary = %+v", r)
	}
	if r := replica; r.Primary || r.Follows != a.Addr || r.Syncing || r.Silent > 10*time.Second || r.Replid != primary.Replid {
		t.Errorf("role of the replica = %+v", r)
	}
	b.follow(a.Addr)
	if n := a.syncs(); n != (syncs{full: 1}) {
		t.Errorf("Follow twice cost %+v, want one full sync", n)
	}
	a.promote()
	if r := a.role(); r.Replid != primary.Replid || r.Replicas != 1 {
		t.Errorf("role after a Promote of the primary = %+v, was %+v", r, primary)
	}
}

// Two servers change places and back again. Nobody is given all data for that, and a
// lease of before is worth nothing to who has become a primary again (DESIGN R5).
func TestChainChangesPlaces(t *testing.T) {
	a, b := steer(t, valkeytest.Start(t, "--repl-diskless-sync-delay", "0")), steer(t, valkeytest.Start(t))
	b.follow(a.Addr)
	a.grant(1, time.Minute)
	k := bear(t, a.e)
	hand(t, a, b, 1)
	b.grant(2, time.Minute)
	if err := put(t.Context(), b.e, k, "2"); err != nil {
		t.Fatalf("write at the new primary = %v", err)
	}
	hand(t, b, a, 2)
	for epoch := range uint64(3) {
		a.e.Under(epoch)
		if err := put(t.Context(), a.e, k, "fenced"); !errors.Is(err, engine.ErrNotPrimary) {
			t.Errorf("write of epoch %d at the first primary, which is one again = %v, want ErrNotPrimary", epoch, err)
		}
	}
	a.grant(3, time.Minute)
	if err := put(t.Context(), a.e, k, "3"); err != nil {
		t.Errorf("write under the lease after that = %v", err)
	}
	if got := [2]syncs{a.syncs(), b.syncs()}; got != [2]syncs{{full: 1, partial: 1}, {partial: 1}} {
		t.Errorf("syncs given by the first and the second server = %+v, want all data given once, at the beginning", got)
	}
}

// hand hands over from one primary to another as a planned switchover does.
func hand(t *testing.T, from, to steered, epoch uint64) {
	t.Helper()
	if err := from.e.EndLease(t.Context(), epoch); err != nil {
		t.Fatalf("EndLease = %v", err)
	}
	if err := from.c.Mark(t.Context(), epoch); err != nil {
		t.Fatalf("Mark = %v", err)
	}
	until(t, "the mark is there", func() bool { e, err := to.c.Marked(t.Context()); return err == nil && e == epoch })
	to.promote()
	from.follow(to.Addr)
}

// A name that led to the primary leads to its replica, and then to a stranger who holds a
// lease of before: whoever connects anew writes at neither, and neither does who comes
// late to the next primary.
func TestNameThatLeadsElsewhere(t *testing.T) {
	one, two := pair(t)
	a, b := steer(t, one), steer(t, two)
	stranger := steer(t, valkeytest.Start(t))
	stranger.grant(1, time.Minute)
	door := valkeytest.NewDoor(t, a.Addr)
	app := open(t, 1, roamvalkey.Config{Addrs: []string{door.Addr}})
	a.grant(2, time.Minute)
	app.Under(2)
	k := bear(t, app)
	until(t, "the replica has the session", func() bool { return b.Do("DBSIZE") == a.Do("DBSIZE") })
	for name, to := range map[string]steered{"a replica": b, "a stranger of an epoch before": stranger} {
		was := to.Do("DBSIZE")
		door.Lead(to.Addr)
		a.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		until(t, "it is connected to "+name, func() bool {
			err := put(t.Context(), app, k, "elsewhere")
			if err == nil {
				t.Fatalf("a write was taken by %s", name)
			}
			return errors.Is(err, engine.ErrNotPrimary)
		})
		until(t, "a birth is refused by "+name, func() bool {
			err := bearAt(t.Context(), app)
			if !errors.Is(err, engine.ErrNotPrimary) && !errors.Is(err, engine.ErrUnavailable) { // a connection of before fails once
				t.Fatalf("a birth at %s = %v, want ErrNotPrimary", name, err)
			}
			return errors.Is(err, engine.ErrNotPrimary)
		})
		if is := to.Do("DBSIZE"); is != was {
			t.Errorf("%s had %s keys and has %s", name, was, is)
		}
	}
	b.promote()
	b.grant(3, time.Minute)
	door.Lead(b.Addr)
	stranger.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	until(t, "it is told by the next primary that its epoch is over", func() bool {
		err := put(t.Context(), app, k, "late")
		if err == nil {
			t.Fatal("a write of the epoch before was taken by the next primary")
		}
		return errors.Is(err, engine.ErrNotPrimary) && strings.Contains(err.Error(), "epoch: 3")
	})
	app.Under(3)
	until(t, "it writes at the next primary", func() bool { return put(t.Context(), app, k, "3") == nil })
	if got := value(read(t, a.e, k)); got == "3" || got == "late" {
		t.Errorf("the old primary has %q", got)
	}
}

func bearAt(ctx context.Context, e *roamvalkey.Engine) error {
	_, err := e.Apply(ctx, newKey(), crdt.Op{Stamp: now().Stamp() + 1, Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}})
	return err
}

// A replica that hears nothing is nudged, and goes on where it was; one that hears is let be.
func TestNudge(t *testing.T) {
	a, b := steer(t, valkeytest.Start(t, "--repl-diskless-sync-delay", "0")), steer(t, valkeytest.Start(t))
	door := valkeytest.NewDoor(t, a.Addr)
	b.follow(door.Addr)
	k := bear(t, a.e)
	nudge := func() bool {
		did, err := b.c.Nudge(t.Context(), 2*time.Second)
		if err != nil {
			t.Fatalf("Nudge = %v", err)
		}
		return did
	}
	if nudge() {
		t.Error("a replica that hears its primary was nudged")
	}
	door.Hold(true)
	until(t, "the replica has heard nothing for long enough", nudge)
	if nudge() {
		t.Error("a replica without a connection was nudged")
	}
	if err := put(t.Context(), a.e, k, "behind"); err != nil {
		t.Fatal(err)
	}
	door.Hold(false)
	until(t, "the replica has it", func() bool { return value(read(t, b.e, k)) == "behind" })
	if n := a.syncs(); n != (syncs{full: 1, partial: 1}) {
		t.Errorf("syncs %+v, want the nudged one to go on where it was", n)
	}
	if did, err := a.c.Nudge(t.Context(), 0); did || err != nil {
		t.Errorf("Nudge of a primary = %v, %v, want nothing done", did, err)
	}
}

// A server that is being given all data is no primary, and is not nudged.
func TestHalfASyncIsNotPromoted(t *testing.T) {
	a := steer(t, valkeytest.Start(t, "--repl-diskless-sync-delay", "0"))
	b := steer(t, valkeytest.Start(t))
	for range 8 {
		bear(t, a.e)
	}
	a.Do("CONFIG", "SET", "rdb-key-save-delay", "10000000") // µs
	host, port, _ := net.SplitHostPort(a.Addr)
	if err := b.c.Follow(t.Context(), host, port); err != nil {
		t.Fatalf("Follow = %v", err)
	}
	until(t, "the sync has begun", func() bool { return b.role().Syncing })
	if err := b.c.Promote(t.Context()); !errors.Is(err, roamvalkey.ErrHalf) {
		t.Errorf("Promote = %v, want ErrHalf", err)
	}
	if did, err := b.c.Nudge(t.Context(), 0); did || err != nil {
		t.Errorf("Nudge = %v, %v, want nothing done", did, err)
	}
	if r := b.role(); r.Primary || !r.Syncing || r.LinkUp {
		t.Errorf("role = %+v, want it to go on", r)
	}
}

// What can't be done is refused, and what does not answer ends with its context.
func TestChainRefuses(t *testing.T) {
	ctx := t.Context()
	cluster := valkeytest.StartCluster(t, 1)
	c, err := roamvalkey.NewChain(roamvalkey.Config{Addrs: []string{cluster[0].Addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // never fails
	for what, err := range map[string]error{
		"Follow": c.Follow(ctx, "127.0.0.1", "1"), "Promote": c.Promote(ctx), "Mark": c.Mark(ctx, 1), "Beat": c.Beat(ctx, 1),
	} {
		if !errors.Is(err, roamvalkey.ErrCluster) {
			t.Errorf("%s of a cluster's server = %v, want ErrCluster", what, err)
		}
	}
	if _, err := roamvalkey.NewChain(roamvalkey.Config{Addrs: []string{"127.0.0.1:1", "127.0.0.1:2"}}); err == nil {
		t.Error("NewChain of two servers is taken")
	}
	s := steer(t, valkeytest.Start(t))
	for _, to := range [][2]string{{"no", "one"}, {"", "1"}, {"a b", "1"}, {"a", "0"}, {"a", "65536"}} {
		if err := s.c.Follow(ctx, to[0], to[1]); !errors.Is(err, crdt.ErrMalformed) {
			t.Errorf("Follow(%q, %q) = %v, want ErrMalformed", to[0], to[1], err)
		}
	}
	s.Kill()
	s.Restart()
	if _, err := s.c.Role(ctx); err != nil {
		t.Errorf("Role of a server that has started anew = %v", err)
	}
	s.Kill()
	if _, err := s.c.Role(ctx); err == nil {
		t.Error("Role of a server that is gone has no error")
	}
	_ = s.c.Close() // never fails
	if _, err := s.c.Role(ctx); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("Role after Close = %v, want ErrClosed", err)
	}
}

// A server that hangs holds nobody up for longer than they wait.
func TestChainEndsWithItsContext(t *testing.T) {
	a := valkeytest.Start(t)
	door := valkeytest.NewDoor(t, a.Addr)
	c, err := roamvalkey.NewChain(roamvalkey.Config{Addrs: []string{door.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // never fails
	if err := c.Beat(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	door.Hold(true)
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		begun := time.Now()
		err := c.Beat(ctx, 1)
		cancel()
		if took := time.Since(begun); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, engine.ErrUnavailable) || took > time.Second {
			t.Errorf("Beat while the server hangs = %v after %v", err, took)
		}
	}
	door.Hold(false)
	until(t, "it goes on", func() bool { return c.Beat(t.Context(), 1) == nil })
}

// The user of ACLOfNode may end a replica's connection to its primary.
func TestACLOfNodeIsEnoughToNudge(t *testing.T) {
	a := valkeytest.Start(t, "--repl-diskless-sync-delay", "0")
	b := valkeytest.Start(t, strings.Fields("--user node on >secret resetchannels -@all "+roamvalkey.ACLOfNode())...)
	c, err := roamvalkey.NewChain(roamvalkey.Config{Addrs: []string{b.Addr}, Username: "node", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // never fails
	if err := c.Follow(t.Context(), "127.0.0.1", a.Port()); err != nil {
		t.Fatalf("Follow = %v", err)
	}
	until(t, "it is nudged", func() bool {
		did, err := c.Nudge(t.Context(), 0)
		if err != nil {
			t.Fatalf("Nudge = %v", err)
		}
		return did
	})
}

// The user of ACLOfNode can do all that there is, and the one of ACL none of it. The
// replica does not believe the primary's certificate, which is of itself.
func TestACLOfNodeIsEnough(t *testing.T) {
	node := "--user node on >secret resetchannels -@all " + roamvalkey.ACLOfNode()
	app := "--user roam on >secret resetchannels -@all " + roamvalkey.ACL()
	args := strings.Fields(node + " " + app + " --tls-replication yes")
	begin := func(user string) (string, *roamvalkey.Chain) {
		addr, trust := valkeytest.StartTLS(t, args...)
		e := open(t, 1, roamvalkey.Config{Addrs: []string{addr}, Username: user, Password: "secret", TLS: trust})
		c, err := e.Chain()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() }) // never fails
		return addr, c
	}
	ctx := t.Context()
	addr, primary := begin("node")
	host, port, _ := net.SplitHostPort(addr)
	_, c := begin("node")
	for what, err := range map[string]error{
		"Beat": primary.Beat(ctx, 1), "Mark": primary.Mark(ctx, 1), "Follow": c.Follow(ctx, host, port),
	} {
		if err != nil {
			t.Errorf("%s = %v", what, err)
		}
	}
	if r, err := c.Role(ctx); err != nil || r.Primary || r.Follows != addr {
		t.Errorf("Role = %+v, %v", r, err)
	}
	if err := c.Promote(ctx); err != nil {
		t.Errorf("Promote = %v", err)
	}
	if got, err := primary.Beaten(ctx); err != nil || got.N != 1 {
		t.Errorf("Beaten = %+v, %v", got, err)
	}
	if got, err := primary.Marked(ctx); err != nil || got != 1 {
		t.Errorf("Marked = %v, %v", got, err)
	}
	_, c = begin("roam")
	for what, err := range map[string]error{
		"Beat": c.Beat(ctx, 1), "Mark": c.Mark(ctx, 1), "Follow": c.Follow(ctx, host, port),
	} {
		if err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("%s by an application's user = %v, want NOPERM", what, err)
		}
	}
}
