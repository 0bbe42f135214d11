//go:build integration

package valkey_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	roamvalkey "github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

const nearBytes = 4 << 20

// openNear opens an engine with a near-cache that is trusted.
func openNear(t testing.TB, addrs ...string) *roamvalkey.Engine {
	t.Helper()
	e := open(t, 1, roamvalkey.Config{Addrs: addrs, NearBytes: nearBytes})
	for begun := time.Now(); !e.NearCache().Trusted; time.Sleep(time.Millisecond) {
		if time.Since(begun) > 10*time.Second {
			t.Fatal("the near-cache is not trusted after 10 s")
		}
	}
	return e
}

func bear(t testing.TB, e *roamvalkey.Engine) crdt.Key {
	t.Helper()
	k := newKey()
	apply(t, e, k, crdt.Op{Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}, User: "ann"})
	return k
}

func apply(t testing.TB, e *roamvalkey.Engine, k crdt.Key, op crdt.Op) crdt.Dot {
	t.Helper()
	op.Stamp = now().Stamp() + 1
	d, err := e.Apply(t.Context(), k, op)
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	return d
}

func read(t testing.TB, e *roamvalkey.Engine, k crdt.Key) crdt.Record {
	t.Helper()
	r, err := e.Read(t.Context(), k, crdt.Token{})
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return r
}

// hit reports whether a read of k asks nobody.
func hit(t testing.TB, e *roamvalkey.Engine, k crdt.Key) bool {
	t.Helper()
	before := e.NearCache().Hits
	read(t, e, k)
	return e.NearCache().Hits > before
}

func value(r crdt.Record) string {
	v, _ := r.Value("a")
	return string(v)
}

// What was read once is near until somebody changes it: another process, this one,
// a peer's log, or whoever empties the server. A token is honoured at once.
func TestNearCache(t *testing.T) {
	s := valkeytest.Start(t)
	near, other := openNear(t, s.Addr), open(t, 1, roamvalkey.Config{Addrs: []string{s.Addr}})
	k := bear(t, other)
	until(t, "what was read is near", func() bool { return hit(t, near, k) })

	d := apply(t, other, k, crdt.Op{Changes: []crdt.Change{crdt.Put("a", []byte("1"))}})
	if r, err := near.Read(t.Context(), k, crdt.Token{}.With(d)); err != nil || value(r) != "1" {
		t.Errorf("read with the token of a write elsewhere = %q, %v; want 1", value(r), err)
	}
	apply(t, near, k, crdt.Op{Changes: []crdt.Change{crdt.Put("a", []byte("2"))}})
	if r := read(t, near, k); value(r) != "2" {
		t.Errorf("read after a write of this process = %q, want 2", value(r))
	}
	if err := other.Join(t.Context(), crdt.Record{Key: k, Dead: true}); err != nil {
		t.Fatal(err)
	}
	until(t, "a logout by another process is seen", func() bool { return read(t, near, k).Dead })

	k = bear(t, other)
	until(t, "what was read is near", func() bool { return hit(t, near, k) })
	s.Do("FLUSHALL", "SYNC")
	until(t, "an emptied server is noticed", func() bool { return read(t, near, k).IsBottom() })
}

// While many write through other connections, no read shows less than what a read
// that ended before it began has shown, and what was written is seen soon.
func TestNearCacheUnderWrites(t *testing.T) {
	s := valkeytest.Start(t)
	near, other := openNear(t, s.Addr), open(t, 1, roamvalkey.Config{Addrs: []string{s.Addr}})
	k := bear(t, other)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	var written atomic.Int64
	wg.Go(func() {
		for i := int64(1); ctx.Err() == nil; i++ {
			apply(t, other, k, crdt.Op{ID: uint64(i), Changes: []crdt.Change{crdt.Add("n", 1)}}) //nolint:gosec // counts
			written.Store(i)
			time.Sleep(time.Millisecond)
		}
	})
	for range 4 {
		wg.Go(func() {
			for seen := int64(0); ctx.Err() == nil; {
				got := read(t, near, k).Count("n")
				if got < seen {
					t.Errorf("read %d after %d", got, seen)
					return
				}
				seen = got
			}
		})
	}
	wg.Wait()
	if near.NearCache().Hits == 0 {
		t.Error("no read was near")
	}
	until(t, "the last write is seen", func() bool { return read(t, near, k).Count("n") == written.Load() })
}

// A connection that has gone silent tells of no change: what is near is shown for a
// second and no longer (DESIGN R10), and is read again when the server answers.
func TestNearCacheOverASilentConnection(t *testing.T) {
	s := valkeytest.Start(t)
	door := valkeytest.NewDoor(t, s.Addr)
	near, other := openNear(t, door.Addr), open(t, 1, roamvalkey.Config{Addrs: []string{s.Addr}})
	k := bear(t, other)
	until(t, "what was read is near", func() bool { return hit(t, near, k) })
	door.Hold(true)
	begun := time.Now()
	if err := other.Join(t.Context(), crdt.Record{Key: k, Dead: true}); err != nil {
		t.Fatal(err)
	}
	var last time.Duration
	for time.Since(begun) < 1500*time.Millisecond {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		at := time.Since(begun)
		if r, err := near.Read(ctx, k, crdt.Token{}); err == nil && !r.Dead {
			last = at
		}
		cancel()
		time.Sleep(5 * time.Millisecond)
	}
	if last > time.Second {
		t.Errorf("a session is shown %v after its logout over a silent connection, want 1 s at most", last)
	}
	door.Hold(false)
	until(t, "the logout is seen when the connection is back", func() bool {
		r, err := near.Read(t.Context(), k, crdt.Token{})
		return err == nil && r.Dead
	})
	until(t, "reads are near again", func() bool { return hit(t, near, k) })
}

// A name leads to another primary while the one before goes on answering: it tells
// nothing of what is written there.
func TestNearCacheOfADeposedPrimary(t *testing.T) {
	one, two := valkeytest.Start(t), valkeytest.Start(t)
	door := valkeytest.NewDoor(t, one.Addr)
	near, other := openNear(t, door.Addr), open(t, 1, roamvalkey.Config{Addrs: []string{two.Addr}})
	k, mine := bear(t, near), bear(t, near)
	if err := other.Join(t.Context(), read(t, near, k)); err != nil {
		t.Fatal(err)
	}
	until(t, "what was read is near", func() bool { return hit(t, near, k) })
	door.Lead(two.Addr)
	one.Do("REPLICAOF", "127.0.0.1", "1")                      // it hears of nothing any more
	_, _ = near.Apply(t.Context(), mine, crdt.Op{Touch: true}) // it is told READONLY, and connects anew
	later := bear(t, other)
	for _, k := range []crdt.Key{k, later} {
		until(t, "it is read at the new primary", func() bool {
			r, err := near.Read(t.Context(), k, crdt.Token{})
			return err == nil && !r.IsBottom()
		})
		time.Sleep(500 * time.Millisecond) // beats go by
		if err := other.Join(t.Context(), crdt.Record{Key: k, Dead: true}); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		until(t, "the logout at the new primary is seen", func() bool {
			r, err := near.Read(t.Context(), k, crdt.Token{})
			return err == nil && r.Dead
		})
		if took := time.Since(begun); took > 1200*time.Millisecond {
			t.Errorf("the logout was seen after %v, want a second and a moment at most", took)
		}
	}
}

// A replica tells of what its primary sends it.
func TestNearCacheAtAReplica(t *testing.T) {
	first, second := pair(t)
	primary, near := open(t, 1, roamvalkey.Config{Addrs: []string{first.Addr}}), openNear(t, second.Addr)
	k := bear(t, primary)
	until(t, "the replica has its functions and the session", func() bool {
		r, err := near.Read(t.Context(), k, crdt.Token{})
		return err == nil && !r.IsBottom()
	})
	until(t, "it is near", func() bool { return hit(t, near, k) })
	apply(t, primary, k, crdt.Op{Destroy: true})
	until(t, "the logout at the primary is seen", func() bool { return read(t, near, k).Dead })
}

func TestNearCacheOfACluster(t *testing.T) {
	servers := valkeytest.StartCluster(t, 3)
	near, other := openNear(t, servers[0].Addr), open(t, 1, roamvalkey.Config{Addrs: []string{servers[1].Addr}})
	for range 20 {
		k := bear(t, other)
		until(t, "what was read is near", func() bool { return hit(t, near, k) })
		apply(t, other, k, crdt.Op{Destroy: true})
		until(t, "a logout by another process is seen", func() bool { return read(t, near, k).Dead })
	}
}

func TestNearCacheIsBounded(t *testing.T) {
	s := valkeytest.Start(t)
	near := openNear(t, s.Addr)
	for i := range 200 {
		k := bear(t, near)
		apply(t, near, k, crdt.Op{Changes: []crdt.Change{crdt.Put(fmt.Sprint("f", i), bytes.Repeat([]byte{1}, 64<<10))}})
		until(t, "what was read is near", func() bool { return hit(t, near, k) })
	}
	until(t, "the near-cache keeps within its bound", func() bool {
		n := near.NearCache().Bytes
		return n > nearBytes/2 && n <= nearBytes
	})
}
