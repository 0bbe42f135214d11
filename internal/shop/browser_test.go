//go:build integration

package shop_test

import (
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/internal/browsertest"
	"github.com/roam-sessions/roam/internal/shop"
)

// A browser keeps both kinds of cookies over http on loopback, as
// docs/decisions/0010 says, and the shop is used with the keyboard alone.
func TestBrowserLogsIn(t *testing.T) {
	for name, cookie := range map[string]roam.Cookie{
		"__Host- and Secure": {}, "plain": {Plain: true, Name: "roam-demo"},
	} {
		t.Run(name, func(t *testing.T) {
			p := browsertest.Open(t)
			server := httptest.NewServer(open(t, shop.Config{Sessions: roam.Options{Cookie: cookie}}).shop)
			defer server.Close()
			p.Do("open the catalogue", chromedp.Navigate(server.URL+"/"), chromedp.WaitVisible("#add-lamp"),
				chromedp.KeyEvent(kb.Tab))
			if got := p.Ask("document.activeElement.className"); got != "skip" {
				t.Errorf("the first Tab goes to %q, want the link that skips the header", got)
			}
			p.Do("put a lamp into the cart", chromedp.SendKeys("#add-lamp", kb.Enter), chromedp.WaitVisible("p.note"))
			p.Do("log in", chromedp.Navigate(server.URL+"/login"), chromedp.WaitVisible("#login-user"),
				chromedp.SendKeys("#login-user", "alice"), chromedp.SendKeys("#login-password", "x"+kb.Enter),
				chromedp.WaitVisible("#logout"))
			if got := p.Text("#bar-user"); got != "alice" {
				t.Errorf("logged in = %q, want alice", got)
			}
			if got := p.Text("#cart-count"); got != "1" {
				t.Errorf("cart = %q, want 1", got)
			}
			p.Do("log out", chromedp.SendKeys("#logout", kb.Enter), chromedp.WaitVisible("#logout-have"))
			if got := p.Text("#logout-have"); got != "eu-west-1" {
				t.Errorf("the logout is had by %q, want eu-west-1", got)
			}
			p.WantNoComplaints()
		})
	}
}

// On the smallest phones nothing has to be scrolled sideways.
func TestBrowserOnAPhone(t *testing.T) {
	const width = 320
	p := browsertest.Open(t)
	server := httptest.NewServer(open(t, shop.Config{Doors: []shop.Door{{Region: "ap-southeast-2", URL: "/"}, {Region: "eu-west-1", URL: "/"}}}).shop)
	defer server.Close()
	p.Do("fill the cart", chromedp.EmulateViewport(width, 640), chromedp.Navigate(server.URL+"/login"),
		chromedp.SendKeys("#login-user", "anameofmanylettersandnowheretobreakitintotwolines"),
		chromedp.SendKeys("#login-password", "x"+kb.Enter), chromedp.WaitVisible("#logout"),
		chromedp.SendKeys("#add-jacket", kb.Enter), chromedp.WaitVisible("p.note"))
	for _, path := range []string{"/", "/cart", "/account", "/login", "/none"} {
		p.Do("open "+path, chromedp.Navigate(server.URL+path), chromedp.WaitVisible("#main"))
		if fits := p.Ask(fmt.Sprintf("document.documentElement.scrollWidth <= %d", width)); fits != "true" {
			t.Errorf("%s is wider than a screen of %d px", path, width)
		}
	}
}
