//go:build integration

package deployment

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/internal/node"
	"github.com/roam-sessions/roam/internal/opener"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// shop opens an application in a Region, which has the patience of a busy machine.
func shop(t *testing.T, path, region string, o Options) *roam.Store {
	t.Helper()
	d := open(t, path, region, o)
	c := d.Config()
	c.ReadBudget = time.Second
	store, err := roam.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() }) // never fails
	d.Attach(store)
	return store
}

func startWitness(t *testing.T, path string) *node.Witness {
	t.Helper()
	d, err := opener.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := node.StartWitness(t.Context(), d, "witness", node.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() }) // never fails
	return w
}

// led describes two Regions with servers and a control plane, of which west's API is at api.
func led(t *testing.T, dir, api string, west, east *valkeytest.Server) string {
	t.Helper()
	return write(t, fmt.Sprintf(`
version: 1
name: shop
topology: active-active
regions:
  - {name: west, id: 1, engine: {valkey: {addrs: [%q]}}, node: {links: %q, http: %q, control: %q, api: %q}}
  - {name: east, id: 2, engine: {valkey: {addrs: [%q]}}, node: {links: %q, http: %q, control: %q, api: %q}}
policies: {replication: {heartbeat: 50ms, silence: 500ms}}
control:
  dir: %q
  witnesses: [{name: witness, id: 16, control: %q, api: %q}]
`, west.Addr, free(t), free(t), free(t), api, east.Addr, free(t), free(t), free(t), free(t), filepath.Join(dir, "{region}"), free(t), free(t)))
}

// With every member of the control plane dead sessions are read and written as before, by
// applications that run and by those that start; and nodes that start without it bring
// what was written to the other Region.
func TestControlPlaneIsDead(t *testing.T) {
	west, east := valkeytest.Start(t), valkeytest.Start(t)
	dir, api := t.TempDir(), free(t)
	path := led(t, dir, api, west, east)
	nodes, witness := startNodes(t, path), startWitness(t, path)
	o := Options{Feed: []string{"http://" + api + "/v1/feed"}, Topology: filepath.Join(t.TempDir(), "view")}
	d := open(t, path, "west", o)
	eventually(t, "the members have agreed", func() bool { v, ok := d.steers.feed.Latest(); return ok && v.Version == 1 })
	here, there := newPage(t, shop(t, path, "west", o)), newPage(t, shop(t, path, "east", Options{}))
	visits := 0
	visit := func(p *page) {
		t.Helper()
		visits++
		if said, took := p.visit(); said != fmt.Sprint(visits) || took > time.Second {
			t.Fatalf("visit %d = %q after %v", visits, said, took)
		}
	}
	visit(here)
	for _, n := range nodes {
		_ = n.Close() // never fails
	}
	_ = witness.Close() // never fails
	before := east.Do("DBSIZE")
	for range 50 {
		visit(here)
	}
	o.Patience = 50 * time.Millisecond
	again := newPage(t, shop(t, path, "west", o))
	again.cookies = here.cookies
	for range 50 {
		visit(again)
	}
	for _, name := range []string{"west", "east"} {
		if err := os.WriteFile(filepath.Join(dir, name, "voter.json"), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if said, _ := newPage(t, shop(t, path, "west", o)).visit(); said != "1" {
		t.Fatalf("the first visit of another = %q", said)
	}
	if now := east.Do("DBSIZE"); now != before {
		t.Fatalf("east has %s keys without nodes, and had %s", now, before)
	}
	startNodes(t, path)
	eventually(t, "east has the session that was begun in west meanwhile", func() bool { return east.Do("DBSIZE") != before })
	there.cookies = here.cookies
	visit(there)
	visit(again)
	visit(there)
}
