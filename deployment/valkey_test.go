//go:build integration

package deployment

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/freeport"
	"github.com/roam-sessions/roam/internal/node"
	"github.com/roam-sessions/roam/internal/opener"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// patience is how long something may take that should take a moment.
const patience = 20 * time.Second

// eventually wants something to be so soon.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for begun := time.Now(); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatalf("after %v not so: %s", patience, what)
		}
	}
}

func free(t *testing.T) string {
	t.Helper()
	addr, err := freeport.Addr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// file describes two Regions with servers.
func file(t *testing.T, head string, west, east, side *valkeytest.Server) string {
	t.Helper()
	return write(t, fmt.Sprintf(`
version: 1
%s
regions:
  - {name: west, id: 1, engine: {valkey: {addrs: [%q]}}, node: {links: %q, http: %q}}
  - {name: east, id: 2, engine: {valkey: {addrs: [%q]}}, side: {valkey: {addrs: [%q]}}, node: {links: %q, http: %q}}
policies: {replication: {heartbeat: 50ms, silence: 500ms}}
`, head, west.Addr, free(t), free(t), east.Addr, side.Addr, free(t), free(t)))
}

// An application starts while the other Region is away, and uses it when it is back: what
// is written there is here, by the nodes that run from the same file.
func TestServersOfTwoRegions(t *testing.T) {
	west, east, side := valkeytest.Start(t), valkeytest.Start(t), valkeytest.Start(t)
	path := file(t, "topology: active-active", west, east, side)
	west.Kill()
	ctx, cancel := context.WithCancel(t.Context())
	in, err := Open(ctx, path, "east", Options{Patience: -1, NearBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() }) // of servers, never fails
	cancel()                             // it is of Open alone
	c := in.Config()
	if _, ok := in.Waiting()["west"]; !ok || len(in.Waiting()) != 1 {
		t.Errorf("Waiting = %v, want west", in.Waiting())
	}
	if err := birth(t, c.Peers[0].Engine, key(1)); !errors.Is(err, engine.ErrUnreachable) || !engine.OutcomeKnown(err) {
		t.Errorf("a birth in west while it is away = %v, want ErrUnreachable", err)
	}
	e, ok := c.Here.Engine.(*valkey.Engine)
	if !ok || c.Links == nil {
		t.Fatalf("Here.Engine = %T, Links = %v; want a server, and Links", c.Here.Engine, c.Links)
	}
	if age, ok := c.Links.Heard(1); ok {
		t.Errorf("Heard = %v of a Region that is away, want nothing", age)
	}
	if err := birth(t, c.Here.Side, key(2)); err != nil {
		t.Errorf("a birth in the side store = %v, want nil", err)
	}
	west.Restart()
	eventually(t, "west is open", func() bool { return len(in.Waiting()) == 0 })

	startNodes(t, path)
	k := key(1)
	eventually(t, "west takes a birth", func() bool { return birth(t, c.Peers[0].Engine, k) == nil })
	for _, what := range []string{"the session of west", "the session of west, again"} {
		eventually(t, what+" is in east", func() bool {
			r, err := e.Read(t.Context(), k, crdt.Token{})
			return err == nil && !r.IsBottom()
		})
	}
	if hits := e.NearCache().Hits; hits == 0 {
		t.Error("NearBytes made no near-cache: nothing was found there")
	}
}

// startNodes runs the nodes of a file.
func startNodes(t *testing.T, path string) map[string]*node.Node {
	t.Helper()
	d, err := opener.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*node.Node{}
	for _, name := range d.Names() {
		n, err := node.Start(t.Context(), d, name, node.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() }) // never fails
		out[name] = n
	}
	return out
}

// An application knows how old its news of a Region is, also when that Region's node has
// ended and its engine goes on.
func TestNewsOfARegionWithoutItsNode(t *testing.T) {
	path := file(t, "topology: active-active", valkeytest.Start(t), valkeytest.Start(t), valkeytest.Start(t))
	c := open(t, path, "east", Options{}).Config()
	nodes := startNodes(t, path)
	west := c.Peers[0].Engine
	eventually(t, "west takes a birth", func() bool { return birth(t, west, key(1)) == nil })
	eventually(t, "east hears of west", func() bool {
		age, ok := c.Links.Heard(1)
		return ok && age < time.Second && c.Links.Lag(1) > 0
	})
	_ = nodes["west"].Close() // never fails
	if err := birth(t, west, crdt.SessionKey(crdt.NewSessionID(crdt.TimeOf(time.Now().Add(time.Hour)), 1, crdt.IDEntropy{2}))); err != nil {
		t.Errorf("a birth in west without its node = %v, want nil", err)
	}
	eventually(t, "what east has of west gets old", func() bool { age, _ := c.Links.Heard(1); return age > time.Second })
}

// What an emptied server lacks is no missing session: nodes give it back, and the
// application's engine knows that they do.
func TestEmptiedServerIsRefilling(t *testing.T) {
	west, east, side := valkeytest.Start(t), valkeytest.Start(t), valkeytest.Start(t)
	path := file(t, "topology: active-active", west, east, side)
	c := open(t, path, "east", Options{}).Config()
	if _, err := c.Here.Engine.Read(t.Context(), key(2), crdt.Token{}); !errors.Is(err, engine.ErrRefilling) {
		t.Errorf("Read of a new server that nodes replicate = %v, want ErrRefilling", err)
	}
	if _, err := c.Here.Side.Read(t.Context(), key(2), crdt.Token{}); err != nil {
		t.Errorf("Read of a new side store = %v, want nil: nobody gives it back anything", err)
	}
}

// Where servers replicate by themselves, Links are an Echo as soon as the primary is
// there; before, nothing was heard, and the application has started all the same.
func TestPrimaryIsAwayAtStart(t *testing.T) {
	west, side := valkeytest.Start(t, "--repl-diskless-sync-delay", "0"), valkeytest.Start(t)
	host, port, err := net.SplitHostPort(west.Addr)
	if err != nil {
		t.Fatal(err)
	}
	east := valkeytest.Start(t, "--replicaof", host+" "+port)
	path := file(t, "topology: active-passive\nprimary: west", west, east, side)
	if c := open(t, path, "west", Options{}).Config(); c.Links != nil || c.Primary != 1 {
		t.Errorf("in the primary: %+v, want no Links, and 1 as primary", c)
	}
	eventually(t, "east has the functions", func() bool { return !strings.Contains(east.Do("INFO", "memory"), "number_of_functions:0") })
	west.Kill()
	d := open(t, path, "east", Options{Patience: 50 * time.Millisecond})
	links := d.Config().Links
	if links == nil {
		t.Fatal("Links = nil in a secondary")
	}
	if age, ok := links.Heard(1); ok {
		t.Errorf("Heard = %v of a primary that is away, want nothing", age)
	}
	store, err := roam.Open(t.Context(), d.Config())
	if err != nil {
		t.Fatalf("roam.Open = %v, want nil", err)
	}
	t.Cleanup(func() { _ = store.Close() }) // never fails
	west.Restart()
	eventually(t, "west is heard of", func() bool {
		age, ok := links.Heard(1)
		return ok && age < time.Second && links.Lag(1) > 0
	})
	east.Do("REPLICAOF", "NO", "ONE")
	eventually(t, "what east has gets old", func() bool { age, _ := links.Heard(1); return age > time.Second })
}
