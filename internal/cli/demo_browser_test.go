//go:build integration

package cli

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/roam-sessions/roam/internal/browsertest"
	"github.com/roam-sessions/roam/internal/console"
)

const (
	west1, west2, europe = "us-west-1", "us-west-2", "eu-west-1"
	nobody               = "nobody"
)

// A visitor uses the demo's shop with a browser.
type visitor struct {
	*browsertest.Tab
	shop string
}

// by goes through a door of the page to a Region.
func (v visitor) by(t *testing.T, region string) {
	t.Helper()
	v.press(t, `footer a[data-region="`+region+`"]`)
	v.SeeExactly("#bar-region", region)
}

// press clicks on what leads to another page, which must be one that works.
func (v visitor) press(t *testing.T, selector string) {
	t.Helper()
	if status := v.Follow(selector); status != http.StatusOK {
		t.Fatalf("after a click on %s: status %d: %s", selector, status, v.Text("#error-text"))
	}
}

// login logs in by the form, in the Region of the page.
func (v visitor) login(t *testing.T, user string) {
	t.Helper()
	v.press(t, "#login-link")
	v.Do("fill the form in", chromedp.SendKeys("#login-user", user), chromedp.SendKeys("#login-password", "any"+kb.Enter))
	v.SeeExactly("#bar-user", user)
}

// wants compares what the page shows.
func (v visitor) wants(t *testing.T, when string, want map[string]string) {
	t.Helper()
	for id, text := range want {
		if got := v.Text("#" + id); got != text {
			t.Errorf("%s: %s shows %q, want %q", when, id, got, text)
		}
	}
}

// session returns the visitor's cookies but for that of the door.
func (v visitor) session(t *testing.T) map[string]string {
	t.Helper()
	all := v.Cookies(v.shop)
	maps.DeleteFunc(all, func(name, _ string) bool { return !strings.HasPrefix(name, demoCookie) })
	if len(all) == 0 {
		t.Fatal("the browser has no cookies of a session")
	}
	return all
}

// A desk is the console in a tab beside the shop.
type desk struct{ *browsertest.Tab }

func panel(region string) string { return `.panel[aria-label="Region ` + region + `"] ` }

// waiting is where a Region's panel tells of logouts that others lack.
func waiting(region string) string {
	return panel(region) + `[title="that some Region has not heard of yet"] dd`
}

func (d desk) cutOff(region string) {
	d.Click(`button[aria-label="Cut ` + region + ` off from all others"]`)
	d.See(panel(region), "▲ cut off")
}

func (d desk) heal() {
	d.Click("#heal")
	for _, region := range []string{west1, west2, europe} {
		d.See(panel(region), "✓ alive")
		d.SeeExactly(waiting(region), "0")
	}
}

func TestBrowserTellsTheStory(t *testing.T) {
	t.Parallel() // it mostly waits, as does each of its parts
	for _, topology := range []string{console.ActiveActive, console.ActivePassive} {
		t.Run(topology, func(t *testing.T) {
			t.Parallel()
			demo := start(t, "--topology", topology)
			alice := visitor{browsertest.Open(t), demo.Shop}
			at := desk{alice.Beside()}
			at.Go(demo.Console)
			at.See("#topology", topology)
			alice.Go(demo.Shop)
			bob := visitor{alice.Stranger(), demo.Shop}
			bob.Go(demo.Shop)

			cutOffStory(t, topology, alice, bob, at)
			everywhereStory(t, alice, bob)
			for _, page := range []*browsertest.Tab{alice.Tab, bob.Tab, at.Tab} {
				page.WantNoComplaints()
			}
			demo.end(t) // while the console's stream is open
		})
	}
}

// cutOffStory: a login and a cart cross Regions, live through a cut, and once
// ended stay so.
func cutOffStory(t *testing.T, topology string, alice, bob visitor, at desk) {
	alice.by(t, west1)
	alice.login(t, "alice")
	alice.by(t, europe)
	alice.wants(t, "the click after the login, in another Region", map[string]string{"bar-user": "alice", "bar-rung": "normal"})
	alice.press(t, "#add-notebook")
	alice.wants(t, "something put in", map[string]string{"cart-count": "1"})
	bob.by(t, west1)
	bob.login(t, "bob")
	bob.by(t, europe) // his session is there before the cut
	bob.by(t, west1)
	twin := visitor{bob.Stranger(), bob.shop}
	twin.Plant(bob.shop, bob.session(t))
	twin.Go(bob.shop)
	twin.wants(t, "cookies planted while the session lives", map[string]string{"bar-user": "bob"})

	at.cutOff(europe)
	rung := "normal"
	if topology == console.ActivePassive {
		rung = "local-only"
	}
	alice.press(t, "#add-mug")
	alice.wants(t, "put in while cut off", map[string]string{"bar-region": europe, "bar-user": "alice", "bar-rung": rung, "cart-count": "2"})
	alice.press(t, `a[href="/cart"]`)
	alice.wants(t, "the cart while cut off", map[string]string{"quantity-notebook": "1", "quantity-mug": "1"})

	oldAlice, oldBob := alice.session(t), bob.session(t)
	alice.press(t, "#logout")
	alice.wants(t, "logged out where it is cut off", map[string]string{"logout-have": europe, "logout-waiting": west2 + "\n" + west1})
	bob.press(t, "#logout")
	bob.wants(t, "logged out while another is cut off", map[string]string{"logout-have": west1 + "\n" + west2, "logout-waiting": europe})
	at.SeeExactly(waiting(europe), "1")

	at.heal()
	deadEverywhere(t, alice, "alice", oldAlice)
	deadEverywhere(t, bob, "bob", oldBob)
}

// deadEverywhere plants the cookies of an ended session in a fresh browser:
// every Region shows nobody, and nothing posted with them revives anything.
func deadEverywhere(t *testing.T, v visitor, user string, old map[string]string) {
	t.Helper()
	thief := visitor{v.Stranger(), v.shop}
	thief.Go(v.shop)
	for _, when := range []string{"with old cookies", "with old cookies after a delayed click"} {
		for _, region := range []string{west1, west2, europe} {
			thief.by(t, region)
			thief.Plant(v.shop, old)
			thief.Go(v.shop)
			thief.wants(t, user+" "+when, map[string]string{"bar-region": region, "bar-user": nobody, "cart-count": "0"})
		}
		for _, region := range []string{west1, west2, europe} {
			thief.by(t, region)
			thief.Plant(v.shop, old)
			thief.press(t, "#add-jacket")
			thief.wants(t, user+"'s delayed click", map[string]string{"bar-region": region, "bar-user": nobody})
		}
	}
}

// everywhereStory: one user, two browsers, one "log out everywhere".
func everywhereStory(t *testing.T, here, there visitor) {
	here.Go(here.shop)
	here.by(t, west2)
	here.login(t, "grace")
	there.Go(there.shop)
	there.by(t, europe)
	there.login(t, "grace")
	there.press(t, `a[href="/account"]`)
	there.wants(t, "account", map[string]string{"account-user": "grace"})
	there.press(t, "#logout-everywhere")
	there.wants(t, "logged out everywhere", map[string]string{
		"logout-have": strings.Join([]string{europe, west2, west1}, "\n"), "logout-waiting": "nothing", "bar-user": nobody,
	})
	here.press(t, "#visits-add")
	here.wants(t, "the other browser's next click", map[string]string{"bar-user": nobody})
	there.login(t, "grace")
	there.by(t, west1)
	there.wants(t, "a new login", map[string]string{"bar-user": "grace"})
}
