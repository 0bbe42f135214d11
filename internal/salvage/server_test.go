//go:build integration

package salvage_test

import (
	"context"
	"crypto/rand"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/router"
	"github.com/roam-sessions/roam/internal/salvage"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// A trio is a primary, of whose log a spool is kept, the one that is to follow it, by way
// of a door, and a third Region's that follows that one.
type trio struct {
	*testing.T
	old, home, third *valkeytest.Server
	door             *valkeytest.Door
	spool            *salvage.Spool

	mu    sync.Mutex // guards acked
	acked map[lost]crdt.Key
}

func newTrio(t *testing.T, args ...string) *trio {
	t.Helper()
	quiet := []string{"--repl-diskless-sync-delay", "0"}
	w := &trio{
		T: t, old: valkeytest.Start(t, slices.Concat(quiet, args)...), home: valkeytest.Start(t, quiet...), third: valkeytest.Start(t),
		spool: openSpool(t, salvage.SpoolConfig{Dir: t.TempDir()}), acked: map[lost]crdt.Key{},
	}
	w.door = valkeytest.NewDoor(t, w.old.Addr)
	w.follow(w.home, w.door.Addr)
	valkeytest.InStep(t, w.old, w.home)
	w.follow(w.third, w.home.Addr)
	valkeytest.InStep(t, w.old, w.third)
	return w
}

func (w *trio) chain(s *valkeytest.Server) *valkey.Chain {
	w.Helper()
	c, err := valkey.NewChain(valkey.Config{Addrs: []string{s.Addr}})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = c.Close() }) // never fails
	return c
}

// follow has a server follow another one, and returns when it is linked.
func (w *trio) follow(s *valkeytest.Server, addr string) {
	w.Helper()
	host, port, _ := net.SplitHostPort(addr)
	if err := w.chain(s).Follow(w.Context(), host, port); err != nil {
		w.Fatal(err)
	}
	w.until("the replica is linked", func() bool { return strings.Contains(s.Do("INFO", "replication"), "master_link_status:up") })
}

func (w *trio) until(what string, so func() bool) {
	w.Helper()
	for begun := time.Now(); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > 20*time.Second {
			w.Fatalf("after 20 s it is not so that %s", what)
		}
	}
}

func (w *trio) engine(here crdt.Region, s *valkeytest.Server) *valkey.Engine {
	w.Helper()
	e, err := valkey.Open(w.Context(), here, valkey.Config{Addrs: []string{s.Addr}})
	if err != nil {
		w.Fatalf("Open = %v", err)
	}
	w.Cleanup(func() { _ = e.Close() }) // never fails
	return e
}

// keep has the spool follow an engine's log, until the function that it returns is called,
// which waits until all is in it.
func (w *trio) keep(e *valkey.Engine) (stop func()) {
	ctx, cancel := context.WithCancel(w.Context())
	var work sync.WaitGroup
	work.Go(func() { _ = w.spool.Follow(ctx, e) }) // it ends with ctx
	return func() {
		w.Helper()
		tail, err := e.Tail(w.Context())
		if err != nil {
			w.Fatalf("Tail = %v", err)
		}
		w.until("the spool has all of the log", func() bool {
			at := w.spool.At()
			for p, end := range tail {
				if end.N > 0 && at[p] != end { // of a server that was emptied
					return false
				}
			}
			return true
		})
		cancel()
		work.Wait()
	}
}

// write has some clients write to sessions for a while, n operations each, and notes what
// is acknowledged.
func (w *trio) write(e *valkey.Engine, keys []crdt.Key, n int) {
	w.Helper()
	var work sync.WaitGroup
	for c := range 4 {
		work.Go(func() {
			for i := range n {
				k := keys[(i*7+c)%len(keys)]
				op := crdt.Op{Stamp: crdt.TimeOf(time.Now()).Stamp() + 1, ID: uint64(c*n+i) + 1} //nolint:gosec // small
				switch {
				case k.Kind() == crdt.KindUser:
					op.Revoke = true
				case i == n-1 && c == 0:
					op.Destroy = true
				case i%3 == 0:
					op.Birth, op.Auth = &crdt.Birth{}, &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}
				case i%3 == 1:
					op.Changes = []crdt.Change{crdt.Add("n", 1)}
				default:
					op.Changes = []crdt.Change{crdt.Put("a", []byte{byte(c), byte(i)})}
				}
				d, err := e.Apply(w.Context(), k, op)
				if err != nil && !engine.IsRefusal(err) {
					w.Errorf("Apply = %v", err)
				}
				if err == nil && !d.IsZero() {
					w.mu.Lock()
					w.acked[lost{k.String(), d}] = k
					w.mu.Unlock()
				}
			}
		})
	}
	work.Wait()
}

// missing returns what was acknowledged and is not at an engine.
func (w *trio) missing(e *valkey.Engine) map[lost]bool {
	w.Helper()
	out := map[lost]bool{}
	for l, k := range w.acked {
		if r := w.read(e, k); !r.Dead && !r.VV.Has(l.dot) {
			out[l] = true
		}
	}
	return out
}

func (w *trio) read(e *valkey.Engine, k crdt.Key) crdt.Record {
	w.Helper()
	r, err := e.Read(w.Context(), k, crdt.Token{})
	if err != nil {
		w.Fatalf("Read = %v", err)
	}
	return r
}

func listed(out salvage.Outcome) map[lost]bool {
	items := map[lost]bool{}
	for _, i := range out.Items {
		items[lost{i.Session, i.Dot}] = true
	}
	return items
}

// wantSalvaged runs a salvage twice: both list what was missing, the first one brings it
// home, and another Region has it as well.
func (w *trio) wantSalvaged(c salvage.Config, missing map[lost]bool) salvage.Outcome {
	w.Helper()
	home, third := w.engine(2, w.home), w.engine(3, w.third)
	c.Target = home
	c.Held = func(ctx context.Context, rec crdt.Record) (bool, error) {
		r, err := third.Read(ctx, rec.Key, crdt.Token{})
		return err == nil && router.Holds(r, rec), err
	}
	var first salvage.Outcome
	for i := range 2 {
		out, err := salvage.Run(w.Context(), c)
		if err != nil {
			w.Fatalf("Run = %v", err)
		}
		if i == 0 {
			first = out
		} else if out.Adopted != 0 {
			w.Errorf("the second run changed %d records", out.Adopted)
		}
		if got := listed(out); !maps.Equal(got, missing) || len(out.Items) != len(missing) {
			w.Errorf("run %d lists %d writes, %d were missing", i+1, len(out.Items), len(missing))
		}
		if len(out.Holes) > 0 || out.Counts[salvage.Lost]+out.Counts[salvage.Unknown] > 0 {
			w.Errorf("run %d: %s", i+1, out.Summary())
		}
	}
	for _, e := range []*valkey.Engine{home, third} {
		if left := w.missing(e); len(left) > 0 {
			w.Errorf("%d acknowledged writes are missing after it", len(left))
		}
	}
	return first
}

func newKeys() []crdt.Key {
	keys := []crdt.Key{crdt.UserKey("ann")}
	for range 40 {
		var e crdt.IDEntropy
		_, _ = rand.Read(e[:]) // never fails
		keys = append(keys, crdt.SessionKey(crdt.NewSessionID(crdt.TimeOf(time.Now().Add(time.Hour)), 1, e)))
	}
	return keys
}

// lose has the primary die with writes that nobody else has got, and another one go on.
func (w *trio) lose(keys []crdt.Key) (fork engine.Positions, missing map[lost]bool) {
	w.Helper()
	old := w.engine(1, w.old)
	stop := w.keep(old)
	w.write(old, keys[:30], 60)
	w.until("the other one has all of it", func() bool {
		tail, err := old.Tail(w.Context())
		known, errKnown := w.engine(2, w.home).Known(w.Context(), tail)
		return err == nil && errKnown == nil && known == tail
	})
	w.door.Hold(true)
	w.write(old, keys, 60)
	stop()
	tail, err := old.Tail(w.Context())
	if err != nil {
		w.Fatalf("Tail = %v", err)
	}
	w.old.Kill()
	if err := w.chain(w.home).Promote(w.Context()); err != nil {
		w.Fatal(err)
	}
	home := w.engine(2, w.home)
	missing = w.missing(home)
	if len(missing) < 100 || len(missing) == len(w.acked) {
		w.Fatalf("%d of %d writes are missing, want some", len(missing), len(w.acked))
	}
	w.write(home, keys[:30], 30)
	if fork, err = home.Known(w.Context(), tail); err != nil {
		w.Fatalf("Known = %v", err)
	}
	return fork, missing
}

// A primary is killed and comes back with its disk. What it took and the next primary had
// not got is brought there, and is what the receipt says; then it follows.
func TestPrimaryReturns(t *testing.T) {
	w := newTrio(t, "--appendonly", "yes", "--appendfsync", "always")
	keys := newKeys()
	_, missing := w.lose(keys)
	w.old.Restart()
	old := w.engine(1, w.old)
	tail, err := old.Tail(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fork, err := w.engine(2, w.home).Known(t.Context(), tail)
	if err != nil {
		t.Fatal(err)
	}
	out := w.wantSalvaged(salvage.Config{Old: old, Spool: w.spool, Fork: fork}, missing)
	t.Log(out.Summary())
	if after, err := old.Tail(t.Context()); err != nil || after != tail {
		t.Errorf("the former primary's log was written to: %v", err)
	}
	w.follow(w.old, w.home.Addr)
	home := w.engine(2, w.home)
	for _, k := range keys {
		if a, b := w.read(home, k), w.read(old, k); a.Digest() != b.Digest() {
			t.Errorf("%v differs at who follows now", k)
		}
	}
}

// A primary is killed and comes back empty, or not at all: its node's spool has it.
func TestOnlyTheNodesDiskHasIt(t *testing.T) {
	w := newTrio(t)
	fork, missing := w.lose(newKeys())
	w.old.Restart()
	for name, c := range map[string]salvage.Config{
		"empty":    {Old: w.engine(1, w.old), Spool: w.spool, Fork: fork},
		"not back": {Spool: w.spool, Fork: fork},
	} {
		out := w.wantSalvaged(c, missing)
		if t.Log(name, out.Summary()); !out.Open {
			t.Errorf("%s: it is not said that its last writes may be missing", name)
		}
	}
}
