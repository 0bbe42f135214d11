package router_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/fault"
	"github.com/roam-sessions/roam/internal/router"
)

// A retry whose first try was applied, and the late duplicate of a first try,
// write what the first try wrote and no more (R1).
func TestRetryWritesTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarth(t, 10*time.Millisecond, router.Config{Primary: east})
		k, a := e.login(west)
		back := e.net.Link(name(east), name(west), fault.Calls)
		e.net.SetLink(name(east), name(west), fault.Calls, fault.Link{Delay: back.Delay, Cut: true})
		go func() {
			time.Sleep(350 * time.Millisecond) // the first try was applied, its answer swallowed
			e.net.SetLink(name(east), name(west), fault.Calls, back)
		}()
		w := router.Write{Key: k, Seen: a.Token, Op: crdt.Op{Changes: []crdt.Change{
			crdt.Put("theme", []byte("dark")), crdt.Add("visits", 1),
		}}}
		got, err := e.routers[west].Write(t.Context(), w)
		if err != nil || got.Tries < 2 {
			t.Fatalf("Write = %d tries, %v; want several and no error", got.Tries, err)
		}
		rec, _ := e.engines[east].Read(t.Context(), k, crdt.Token{})
		if n := rec.Count("visits"); n != 1 {
			t.Errorf("visits = %d after %d tries, want 1", n, got.Tries)
		}
		if !rec.VV.Has(got.Dot) {
			t.Errorf("the dot %v is not in the record's vector %v", got.Dot, rec.VV)
		}
	})
}

// A retry does not overwrite what was written after its first try was applied:
// both carry the stamp of the first (R1).
func TestRetryDoesNotOverwrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarth(t, 10*time.Millisecond, router.Config{Primary: east})
		k, a := e.login(west)
		back := e.net.Link(name(east), name(west), fault.Calls)
		e.net.SetLink(name(east), name(west), fault.Calls, fault.Link{Delay: back.Delay, Cut: true})
		retried := make(chan router.Answer)
		go func() {
			got, err := e.routers[west].Write(t.Context(), router.Write{
				Key: k, Seen: a.Token, Op: crdt.Op{Changes: []crdt.Change{crdt.Put("theme", []byte("old"))}},
			})
			if err != nil {
				t.Errorf("Write: %v", err)
			}
			retried <- got
		}()
		wait(150 * time.Millisecond) // applied, and its answer swallowed
		if _, err := e.put(east, k, a.Token, "theme", "new"); err != nil {
			t.Fatal(err)
		}
		wait(150 * time.Millisecond)
		e.net.SetLink(name(east), name(west), fault.Calls, back)
		if got := <-retried; got.Tries < 2 {
			t.Fatalf("%d tries, want a retry", got.Tries)
		}
		if v, _ := e.value(east, k, crdt.Token{}, "theme"); v != "new" {
			t.Errorf("theme = %q after the retry of an older write, want new", v)
		}
	})
}

// Of one client's writes in two Regions the second holds, though the clock there
// is slow and the first has not arrived: her token carries the order (R14).
func TestFloorOrdersWritesOfOneClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarth(t, 10*time.Millisecond, router.Config{}, map[crdt.Region]time.Duration{east: -20 * time.Second})
		k, a := e.login(west)
		wait(100 * time.Millisecond)
		for _, other := range []crdt.Region{east, north} {
			e.cut(west, other, true, fault.Calls, fault.Replication)
		}
		a, err := e.put(west, k, a.Token, "theme", "first")
		if err != nil {
			t.Fatal(err)
		}
		if a, err = e.put(east, k, a.Token, "theme", "second"); err != nil {
			t.Fatal(err)
		}
		for _, other := range []crdt.Region{east, north} {
			e.cut(west, other, false, fault.Calls, fault.Replication)
		}
		wait(10 * time.Second)
		for _, at := range []crdt.Region{west, east, north} {
			if v, _ := e.value(at, k, a.Token, "theme"); v != "second" {
				t.Errorf("theme in %s = %q, want second", name(at), v)
			}
		}
	})
}

// While the primary is out of reach a Region keeps its users in its side store,
// and gives them back when it can be reached.
func TestLocalOnlyIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarth(t, 10*time.Millisecond, router.Config{Primary: east})
		k, a := e.login(west)
		time.Sleep(100 * time.Millisecond)
		e.cut(west, east, true, fault.Calls, fault.Replication)

		got, err := e.put(west, k, a.Token, "theme", "dark")
		if err != nil || got.Rung != router.LocalOnly {
			t.Fatalf("write behind a cut = %v, %v; want local-only", got.Rung, err)
		}
		if v, read := e.value(west, k, got.Token, "theme"); v != "dark" || read.Rung != router.LocalOnly {
			t.Errorf("read behind the cut = %q, %v; want dark, local-only", v, read.Rung)
		}
		e.cut(west, east, false, fault.Calls, fault.Replication)
		time.Sleep(10 * time.Second)
		for _, at := range []crdt.Region{west, east, north} {
			if v, read := e.value(at, k, got.Token, "theme"); v != "dark" || read.Rung != router.Normal {
				t.Errorf("after the heal in %s = %q, %v; want dark, normal", name(at), v, read.Rung)
			}
		}
	})
}

// No worker waits for a primary that is known to be silent.
func TestBreakerFreesWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarth(t, 10*time.Millisecond, router.Config{Primary: east})
		k, a := e.login(west)
		time.Sleep(100 * time.Millisecond)
		e.cut(west, east, true, fault.Calls)
		var slow int
		for i := range 1000 {
			begun := time.Now()
			if _, err := e.put(west, k, a.Token, "n", fmt.Sprint(i)); err != nil {
				t.Fatalf("write %d: %v", i, err)
			}
			took := time.Since(begun)
			if took > 2100*time.Millisecond {
				t.Fatalf("write %d took %v, beyond the budget", i, took)
			}
			if took > 50*time.Millisecond {
				slow++
			}
			time.Sleep(5 * time.Millisecond)
		}
		// Five failures open the breaker; from then on one write every few
		// seconds looks whether the primary is back.
		if slow > 12 {
			t.Errorf("%d of 1000 writes waited for a silent primary, want a dozen at most", slow)
		}
	})
}

func TestRevocationReachesEveryRegion(t *testing.T) {
	for _, primary := range []crdt.Region{0, east} {
		t.Run(fmt.Sprint("primary ", primary), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testRevocation(t, primary) })
		})
	}
}

func testRevocation(t *testing.T, primary crdt.Region) {
	e := newEarth(t, 10*time.Millisecond, router.Config{Primary: primary})
	k, a := e.login(west)
	user := crdt.UserKey("alice")
	time.Sleep(100 * time.Millisecond)

	e.cut(north, west, true, fault.Calls, fault.Replication)
	e.cut(north, east, true, fault.Calls, fault.Replication)
	_, rev, err := e.routers[west].Revoke(t.Context(), router.Write{Key: k, Seen: a.Token, Op: crdt.Op{Destroy: true}})
	if err != nil || len(rev.Have) != 2 || len(rev.Waiting) != 1 || rev.Waiting[0] != north {
		t.Fatalf("destroy with north cut off = %+v, %v; want west and east to have it, north waiting", rev, err)
	}
	everyone, rev2, err := e.routers[east].Revoke(t.Context(), router.Write{Key: user, Op: crdt.Op{Revoke: true}})
	if err != nil || len(rev2.Waiting) != 1 {
		t.Fatalf("revoke with north cut off = %+v, %v; want north waiting", rev2, err)
	}
	later, err := e.routers[east].Read(t.Context(), router.Query{Key: user})
	if err != nil || !later.Record.Epochs().Has(everyone.Dot) {
		t.Fatalf("epochs in east = %v, %v; want %v among them", later.Record.Epochs(), err, everyone.Dot)
	}

	e.cut(north, west, false, fault.Calls, fault.Replication)
	e.cut(north, east, false, fault.Calls, fault.Replication)
	time.Sleep(15 * time.Second)
	for _, at := range []crdt.Region{west, east, north} {
		if n := e.routers[at].Pending(); n != 0 {
			t.Errorf("%s still tells of %d revocations 15 s after the heal", name(at), n)
		}
		if _, read := e.value(at, k, crdt.Token{}, ""); !read.Record.Dead {
			t.Errorf("the session is not dead in %s", name(at))
		}
		read, err := e.routers[at].Read(t.Context(), router.Query{Key: user})
		if err != nil || !read.Record.Epochs().Equal(later.Record.Epochs()) {
			// A second epoch, minted while telling, would end logins made since.
			t.Errorf("epochs in %s = %v, %v; want %v and no more", name(at), read.Record.Epochs(), err, later.Record.Epochs())
		}
	}
}

// Nobody can take it: the caller hears so, and nothing is queued behind her back.
func TestRevocationThatNobodyTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarth(t, 10*time.Millisecond, router.Config{})
		k, a := e.login(west)
		for _, m := range []engine.Engine{e.engines[west], e.sides[west]} {
			_ = m.Close()
		}
		e.cut(west, east, true, fault.Calls)
		e.cut(west, north, true, fault.Calls)
		_ = e.journals[west].Close()
		_, rev, err := e.routers[west].Revoke(t.Context(), router.Write{Key: k, Seen: a.Token, Op: crdt.Op{Destroy: true}})
		if !errors.Is(err, router.ErrUnavailable) || len(rev.Have) != 0 || len(rev.Waiting) != 3 {
			t.Errorf("Revoke = %+v, %v; want ErrUnavailable and all waiting", rev, err)
		}
		if n := e.routers[west].Pending(); n != 0 {
			t.Errorf("Pending = %d, want 0", n)
		}
	})
}

// misses counts reads that did not see a creation, a change, or the change on
// the second look.
type misses struct{ created, changed, second int }

// Each way to live with replication lag, at three lags: how many of 20 reads
// 5 ms after a write, in a Region other than the primary, miss it.
func TestReadAfterWriteModes(t *testing.T) {
	const rounds = 20
	for _, c := range []struct {
		mode router.Mode
		lag  time.Duration
		want misses
	}{
		{router.ByToken, 0, misses{}},
		{router.ByToken, 150 * time.Millisecond, misses{}},
		{router.ByToken, time.Second, misses{}},
		{router.ByPrimary, 0, misses{}},
		{router.ByPrimary, 150 * time.Millisecond, misses{}},
		{router.ByPrimary, time.Second, misses{second: rounds}}, // local again, and late
		{router.ByRetry, 0, misses{}},
		{router.ByRetry, 150 * time.Millisecond, misses{changed: rounds}}, // a stale hit is no miss
		{router.ByRetry, time.Second, misses{created: rounds, changed: rounds, second: rounds}},
		{router.Accept, 0, misses{}},
		{router.Accept, 150 * time.Millisecond, misses{created: rounds, changed: rounds}},
		{router.Accept, time.Second, misses{created: rounds, changed: rounds, second: rounds}},
	} {
		t.Run(fmt.Sprint(c.mode, " ", c.lag), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if got := missesOf(t, c.mode, c.lag, rounds); got != c.want {
					t.Errorf("of %d: %+v missed, want %+v", rounds, got, c.want)
				}
			})
		})
	}
}

func missesOf(t *testing.T, mode router.Mode, lag time.Duration, rounds int) misses {
	e := newEarth(t, lag, router.Config{
		Primary: east, ReadAfterWrite: mode, Random: func() float64 { return 0.5 },
	})
	var got misses
	for range rounds {
		k, a := e.login(west)
		wait(5 * time.Millisecond)
		_, read := e.value(west, k, a.Token, "")
		if read.Record.User != "alice" {
			got.created++
			if !read.Doubtful {
				t.Fatal("a miss that lag explains is not said to be doubtful")
			}
		}
		wait(3 * time.Second)
		a, err := e.put(west, k, a.Token, "cart", "book")
		if err != nil {
			t.Fatal(err)
		}
		wait(5 * time.Millisecond)
		v, read := e.value(west, k, a.Token, "cart")
		if v != "book" {
			got.changed++
			if read.Rung == router.Normal {
				t.Fatal("an old copy is not said to be stale")
			}
		}
		wait(200 * time.Millisecond)
		if v, _ := e.value(west, k, read.Token, "cart"); v != "book" {
			got.second++
		}
		wait(3 * time.Second)
	}
	return got
}

// A secondary that can be asked and has not heard of an ending is not said to
// have it.
func TestRevocationWaitsForReplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarth(t, 10*time.Millisecond, router.Config{Primary: east})
		k, a := e.login(west)
		wait(100 * time.Millisecond)
		e.cut(east, north, true, fault.Replication)
		for what, w := range map[string]router.Write{
			"destroy": {Key: k, Seen: a.Token, Op: crdt.Op{Destroy: true}},
			"revoke":  {Key: crdt.UserKey("alice"), Op: crdt.Op{Revoke: true}},
		} {
			_, rev, err := e.routers[west].Revoke(t.Context(), w)
			if err != nil || len(rev.Waiting) != 1 || rev.Waiting[0] != north {
				t.Errorf("%s = %+v, %v; want north waiting", what, rev, err)
			}
		}
		e.cut(east, north, false, fault.Replication)
		wait(5 * time.Second)
		if n := e.routers[west].Pending(); n != 0 {
			t.Errorf("Pending = %d after the heal, want 0", n)
		}
	})
}
