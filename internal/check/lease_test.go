//go:build integration

package check

import (
	"fmt"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/admin"
	"github.com/roam-sessions/roam/internal/node"
	"github.com/roam-sessions/roam/internal/topology"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// leased runs a deployment with leases until the test ends: west, east and a witness,
// with two servers that keep nothing on disk.
func leased(t *testing.T) topology.Deployment {
	t.Helper()
	text := "version: 1\nname: shop\ntopology: active-passive\nprimary: west\nregions:\n"
	for i, name := range []string{"west", "east"} {
		s := valkeytest.Start(t, "--maxmemory", "1gb", "--repl-diskless-sync-delay", "0")
		text += fmt.Sprintf("  - {name: %s, id: %d, engine: {valkey: {addrs: [%q]}}, node: {http: %q, control: %q, api: %q}}\n",
			name, i+1, s.Addr, freeAddr(t), freeAddr(t), freeAddr(t))
	}
	text += fmt.Sprintf("control:\n  dir: %q\n  lease: {ttl: 1s, guard: 250ms, renew: 200ms, answer: 200ms, max_step: 60ms}\n"+
		"  witnesses: [{name: eyes, id: 16, control: %q, api: %q}]\n", t.TempDir()+"/{region}", freeAddr(t), freeAddr(t))
	d, err := topology.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, name := range d.Names() {
		n, err := node.Start(t.Context(), d, name, node.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() }) // never fails
	}
	w, err := node.StartWitness(t.Context(), d, "eyes", node.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() }) // never fails
	return d
}

// A deployment with leases is well before a failover and after it, when another Region
// than the file's primary takes the writes; servers that keep nothing are warned of.
func TestDeploymentWithLeases(t *testing.T) {
	t.Parallel() // it mostly waits
	d := leased(t)
	until := func(holder string, is func([]Row) bool) {
		t.Helper()
		for begun := time.Now(); ; time.Sleep(100 * time.Millisecond) {
			rows := run(t, d)
			if left := trouble(rows); Worst(left) == Warning && is(left) && has(rows, Good, holder, controlPart, "it holds the lease") {
				for _, name := range d.Names() {
					if !has(rows, Warning, name, engineOf, "it keeps nothing on disk") {
						t.Errorf("%s keeps nothing on disk: %+v, want a warning", name, rows)
					}
				}
				return
			} else if time.Since(begun) > 20*time.Second {
				t.Fatalf("after 20 s %s is not a holder with whom all is well: %+v\nall: %+v", holder, left, rows)
			}
		}
	}
	until("west", func(left []Row) bool { return len(left) == 2 })
	client, err := admin.NewClient(admin.ClientConfig{URLs: []string{"http://" + d.Regions[0].Node.API, "http://" + d.Regions[1].Node.API}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for begun := time.Now(); ; time.Sleep(100 * time.Millisecond) { // until members have heard that east follows
		if _, err := client.Failover(t.Context(), admin.Move{To: "east", By: "test"}); err == nil {
			break
		} else if time.Since(begun) > 20*time.Second {
			t.Fatal(err)
		}
	}
	until("east", func(left []Row) bool { // and west is not to be promoted by itself
		return len(left) == 3 && has(left, Warning, "west", controlPart, "it has lost the lease")
	})
}
