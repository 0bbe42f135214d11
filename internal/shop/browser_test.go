//go:build integration

package shop_test

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/internal/shop"
)

// browserTimeout covers a cold start of Chromium on a busy machine.
const browserTimeout = 90 * time.Second

// chromium returns a context with a fresh headless Chromium, and what its pages
// were stopped from doing.
func chromium(t *testing.T) (context.Context, <-chan string) {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the shop is not tested in a browser: %v; install chromium", err)
		}
		t.Skipf("NOT TESTED in a browser: %v; install chromium", err)
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(),
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	t.Cleanup(cancel)
	stopped := make(chan string, 100)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithListener(func(ev any) {
		if ev, ok := ev.(*log.EventEntryAdded); ok && ev.Entry.Source != log.EntrySourceNetwork {
			stopped <- ev.Entry.Text // so comes what the Content-Security-Policy forbids
		}
	}))
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, browserTimeout)
	t.Cleanup(cancel)
	return ctx, stopped
}

// get does an action that brings something.
func get[T any](ctx context.Context, t *testing.T, what string, a chromedp.Action[T]) T {
	t.Helper()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return v
}

// do does actions in turn.
func do(ctx context.Context, t *testing.T, what string, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// A browser keeps both kinds of cookies over http on loopback, as
// docs/decisions/0010 says, and the shop is used with the keyboard alone.
func TestBrowserLogsIn(t *testing.T) {
	for name, cookie := range map[string]roam.Cookie{
		"__Host- and Secure": {}, "plain": {Plain: true, Name: "roam-demo"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, stopped := chromium(t)
			server := httptest.NewServer(open(t, shop.Config{Sessions: roam.Options{Cookie: cookie}}).shop)
			defer server.Close()
			do(ctx, t, "open the catalogue", chromedp.Navigate(server.URL+"/"), chromedp.WaitVisible("#add-lamp"),
				chromedp.KeyEvent(kb.Tab))
			if got := get(ctx, t, "focus", chromedp.Evaluate[string]("document.activeElement.className")); got != "skip" {
				t.Errorf("the first Tab goes to %q, want the link that skips the header", got)
			}
			do(ctx, t, "put a lamp into the cart", chromedp.SendKeys("#add-lamp", kb.Enter), chromedp.WaitVisible("p.note"))
			do(ctx, t, "log in", chromedp.Navigate(server.URL+"/login"), chromedp.WaitVisible("#login-user"),
				chromedp.SendKeys("#login-user", "alice"), chromedp.SendKeys("#login-password", "x"+kb.Enter),
				chromedp.WaitVisible("#logout"))
			if got := get(ctx, t, "user", chromedp.Text("#bar-user")); got != "alice" {
				t.Errorf("logged in = %q, want alice", got)
			}
			if got := get(ctx, t, "cart", chromedp.Text("#cart-count")); got != "1" {
				t.Errorf("cart = %q, want 1", got)
			}
			do(ctx, t, "log out", chromedp.SendKeys("#logout", kb.Enter), chromedp.WaitVisible("#logout-have"))
			if got := get(ctx, t, "Regions", chromedp.Text("#logout-have")); got != "eu-west-1" {
				t.Errorf("the logout is had by %q, want eu-west-1", got)
			}
			if n := len(stopped); n > 0 {
				t.Errorf("the browser stopped %d things, first %q", n, <-stopped)
			}
		})
	}
}

// On the smallest phones nothing has to be scrolled sideways.
func TestBrowserOnAPhone(t *testing.T) {
	const width = 320
	ctx, _ := chromium(t)
	server := httptest.NewServer(open(t, shop.Config{Doors: []shop.Door{{Region: "ap-southeast-2", URL: "/"}, {Region: "eu-west-1", URL: "/"}}}).shop)
	defer server.Close()
	do(ctx, t, "fill the cart", chromedp.EmulateViewport(width, 640), chromedp.Navigate(server.URL+"/login"),
		chromedp.SendKeys("#login-user", "anameofmanylettersandnowheretobreakitintotwolines"),
		chromedp.SendKeys("#login-password", "x"+kb.Enter), chromedp.WaitVisible("#logout"),
		chromedp.SendKeys("#add-jacket", kb.Enter), chromedp.WaitVisible("p.note"))
	for _, path := range []string{"/", "/cart", "/account", "/login", "/none"} {
		do(ctx, t, "open "+path, chromedp.Navigate(server.URL+path), chromedp.WaitVisible("#main"))
		if got := get(ctx, t, "width", chromedp.Evaluate[int]("document.documentElement.scrollWidth")); got > width {
			t.Errorf("%s is %d wide on a screen of %d", path, got, width)
		}
	}
}
