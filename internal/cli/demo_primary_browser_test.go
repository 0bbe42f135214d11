//go:build integration

package cli

import (
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/browsertest"
	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/lab"
)

// holder is where the console tells of the lease, and names where it tells of the name.
const holder, names = "#control .holder", "#control .card:nth-child(2)"

// Somebody kills the primary in the console and watches the lease, what DNS answers and the
// shop; before, another Region takes over as planned, and after, the dead one is back.
func TestBrowserSeesThePrimaryChange(t *testing.T) {
	haveServers(t)
	t.Parallel() // it mostly waits
	demo := start(t, "--engine", lab.Valkey, "--topology", console.ActivePassive)
	alice := visitor{browsertest.Open(t), demo.Shop}
	at := desk{alice.Beside()}
	at.Go(demo.Console)
	at.SeeExactly(holder, west1)
	at.See("#control", "✓ holds the lease")
	at.See(names, europe+"→ "+west1+" (TTL 10)")
	alice.Go(demo.Shop)
	alice.by(t, europe)
	alice.login(t, "alice")

	at.Click(`button[aria-label="Switch over to ` + west2 + `"]`)
	at.SeeExactly(holder, west2)
	at.See("#control", west1+" → "+west2)
	at.See("#control", "done")
	at.See(names, europe+"→ "+west2+" (TTL 10)")
	alice.press(t, "#add-notebook")
	alice.wants(t, "after the switchover", map[string]string{"bar-user": "alice", "cart-count": "1"})

	at.Click(`button[aria-label="Kill ` + west2 + `"]`)
	alice.press(t, "#add-mug")
	alice.wants(t, "the primary is dead", map[string]string{"bar-user": "alice", "bar-rung": "local-only", "cart-count": "2"})
	at.See("#control", "✕ holds no lease")
	at.SeeExactly(holder, west1)
	at.See("#control", "✓ holds the lease")
	at.See(names, west2+"✕ it is dead")
	at.See(names, europe+"→ "+west1+" (TTL 10)")
	at.See("#control", "▲ open")
	alice.becomesNormal(t)
	alice.press(t, "#add-map")
	alice.wants(t, "another is the primary", map[string]string{"bar-user": "alice", "bar-rung": "normal", "cart-count": "3"})

	at.Click(`button[aria-label="Revive ` + west2 + `"]`)
	at.See("#control", "✓ complete")
	at.See(names, west2+"→ "+west1+" (TTL 10)")
	at.Click(`button[aria-label="Readmit ` + west2 + `"]`)
	at.See("#control", "it may be promoted again, by the console")
	for _, page := range []*browsertest.Tab{alice.Tab, at.Tab} {
		page.WantNoComplaints()
	}
	demo.end(t)
}

// becomesNormal reloads the page until what was kept here is where it belongs.
func (v visitor) becomesNormal(t *testing.T) {
	t.Helper()
	for begun := time.Now(); v.Text("#bar-rung") != "normal"; time.Sleep(100 * time.Millisecond) {
		if time.Since(begun) > 15*time.Second {
			t.Fatalf("after 15 s the page shows the rung %s, want normal", v.Text("#bar-rung"))
		}
		v.Go(v.shop)
	}
}
