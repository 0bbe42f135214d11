//go:build integration

package router_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/router"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// A client writes to a session of its own, one write after the other.
type client struct {
	t      *testing.T
	router *router.Router
	key    crdt.Key
	seen   crdt.Token
	base   crdt.Record

	mu    sync.Mutex  // guards what follows
	acked []time.Time // of write i
	rungs map[router.Rung]int
	most  time.Duration
}

func (c *client) write(ctx context.Context, op crdt.Op) bool {
	begun := time.Now()
	a, err := c.router.Write(context.WithoutCancel(ctx), router.Write{Key: c.key, Seen: c.seen, Base: c.base, Op: op})
	took := time.Since(begun)
	if err != nil {
		c.t.Errorf("write %d: %v after %v, on rung %v", len(c.acked), err, took, a.Rung)
		return false
	}
	c.seen = a.Token
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acked = append(c.acked, time.Now())
	c.rungs[a.Rung]++
	c.most = max(c.most, took)
	return true
}

func (c *client) writes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.acked)
}

func (c *client) run(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		op := crdt.Op{Changes: []crdt.Change{crdt.Put("n", []byte(strconv.Itoa(i)))}}
		if i == 0 {
			op.Birth, op.Auth, op.User = &crdt.Birth{}, &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}, "ann"
		}
		if !c.write(ctx, op) {
			return
		}
		if a, err := c.router.Read(ctx, router.Query{Key: c.key, Seen: c.seen}); err == nil && !a.Record.IsBottom() {
			c.base = a.Record
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// last returns the number of the last write that must be there: what was acknowledged
// between since and until may be lost.
func (c *client) last(since, until time.Time) (must int) {
	for i, at := range c.acked {
		if at.Before(since) || at.After(until) {
			must = i
		}
	}
	return must
}

// openBehind returns the engine behind a door, and a router of one Region with it and
// a side store.
func openBehind(t *testing.T, door *valkeytest.Door) (*valkey.Engine, *router.Router) {
	t.Helper()
	main, err := valkey.Open(t.Context(), 1, valkey.Config{Addrs: []string{door.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = main.Close() }) // never fails
	side, err := memory.New(1, memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = side.Close() }) // never fails
	r, err := router.New(t.Context(), []router.Region{{ID: 1, Name: "west", Engine: main, Side: side}}, router.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() }) // never fails
	return main, r
}

// The primary is killed under load and its replica promoted by hand a second later.
// Every write is taken within its budget, on a rung that has a name; none that was
// acknowledged is lost but what the replica had not got; what was kept beside the
// primary meanwhile is taken back.
func TestPromotionSeenByClients(t *testing.T) {
	one := valkeytest.Start(t, "--repl-diskless-sync-delay", "0")
	two := valkeytest.Start(t, "--replicaof", "127.0.0.1 "+one.Port())
	valkeytest.InStep(t, one, two)
	door := valkeytest.NewDoor(t, one.Addr)
	main, r := openBehind(t, door)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var clients []*client
	var wg sync.WaitGroup
	for i := range 16 {
		id := crdt.NewSessionID(crdt.TimeOf(time.Now()).Add(time.Hour), 1, crdt.IDEntropy{0, byte(i), byte(i), 7})
		c := &client{t: t, router: r, key: crdt.SessionKey(id), rungs: map[router.Rung]int{}}
		clients = append(clients, c)
		wg.Go(func() { c.run(ctx) })
	}
	const lag = 300 * time.Millisecond // many times what a replica on loopback needs
	for i, c := range clients {
		soon(t, fmt.Sprintf("client %d is writing", i), func() bool { return c.writes() > 20 })
	}
	time.Sleep(lag)
	one.Kill()
	killed := time.Now()
	time.Sleep(time.Second)
	door.Lead(two.Addr)
	two.Do("REPLICAOF", "NO", "ONE")
	time.Sleep(1500 * time.Millisecond)
	cancel()
	wg.Wait()

	rungs := map[router.Rung]int{}
	for i, c := range clients {
		for rung, n := range c.rungs {
			rungs[rung] += n
		}
		if c.most > 2*time.Second+100*time.Millisecond {
			t.Errorf("client %d waited for %v, want no more than the write budget", i, c.most)
		}
		must := c.last(killed.Add(-lag), killed.Add(lag/10))
		n := -1
		soon(t, fmt.Sprintf("the primary has write %d of client %d, acknowledged %v after the kill; the last was %d",
			must, i, c.acked[must].Sub(killed), len(c.acked)-1), func() bool {
			rec, err := main.Read(t.Context(), c.key, crdt.Token{})
			v, _ := rec.Value("n")
			if err == nil {
				n, _ = strconv.Atoi(string(v))
			}
			return n >= must
		})
	}
	t.Logf("writes by rung: %v", rungs)
	if rungs[router.Normal] == 0 || rungs[router.LocalOnly] == 0 {
		t.Errorf("writes by rung: %v, want some normal ones, and some beside the primary", rungs)
	}
}

func soon(t *testing.T, what string, so func() bool) {
	t.Helper()
	for begun := time.Now(); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > 20*time.Second {
			t.Fatalf("after 20 s it is not so that %s", what)
		}
	}
}
