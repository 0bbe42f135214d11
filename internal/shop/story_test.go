package shop_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/shop"
)

func TestLoginKeepsTheCart(t *testing.T) {
	v := open(t, shop.Config{}).visitor(t)
	for _, form := range [][]string{
		{"/cart/add", "item", "lamp"}, {"/cart/add", "item", "lamp"}, {"/cart/add", "item", "mug"}, {"/login", "user", "alice", "password", "x"},
	} {
		if res, page := v.post(form[0], form[1:]...); res.StatusCode >= http.StatusBadRequest {
			t.Fatalf("POST %q = %s:\n%s", form, res.Status, page)
		}
	}
	a := v.account()
	if a.User != "alice" || a.quantity("lamp") != 2 || a.quantity("mug") != 1 {
		t.Errorf("after login: %+v, want alice with two lamps and a mug", a)
	}
	_, page := v.get("/cart")
	wantText(t, page, "quantity-lamp", "2")
	wantText(t, page, "cart-count", "3")
	wantText(t, page, "cart-total", "$83.00")
	wantText(t, page, "bar-user", "alice")
	wantText(t, page, "bar-region", "eu-west-1")
	wantText(t, page, "bar-rung", "normal")
	wantText(t, page, "bar-state", "live")
	wantText(t, page, "bar-session", a.Session)
	wantText(t, page, "bar-left", "no")
}

func TestAnotherUserStartsFresh(t *testing.T) {
	v := open(t, shop.Config{}).visitor(t)
	v.post("/login", "user", "alice", "password", "x")
	v.post("/cart/add", "item", "lamp")
	alice := v.thief()
	v.post("/login", "user", "bob", "password", "x")
	if a := v.account(); a.User != "bob" || len(a.Cart) != 0 {
		t.Errorf("after bob's login: %+v, want bob with nothing", a)
	}
	if a := alice.account(); a.User != "" || a.State != "logged out" {
		t.Errorf("alice's cookies: %+v, want logged out", a)
	}
}

func TestLogoutIsForGood(t *testing.T) {
	v := open(t, shop.Config{}).visitor(t)
	v.post("/cart/add", "item", "lamp")
	planted := v.thief()
	v.post("/login", "user", "alice", "password", "x")
	old := v.thief()
	res, page := v.post("/logout")
	if res.StatusCode != http.StatusOK || !strings.Contains(page, `<li data-region="eu-west-1">eu-west-1</li>`) {
		t.Errorf("POST /logout = %d, want 200 with the Regions that have it:\n%s", res.StatusCode, page)
	}
	wantText(t, page, "bar-user", "nobody")
	for name, replay := range map[string]*visitor{"of the login": old, "of before the login": planted} {
		if a := replay.account(); a.User != "" || len(a.Cart) != 0 {
			t.Errorf("cookies %s: %+v, want nobody's with nothing", name, a)
		}
		replay.post("/visits")
		if a := replay.account(); a.User != "" || a.Visits != 1 {
			t.Errorf("cookies %s after a visit: %+v, want a new session with one visit", name, a)
		}
	}
	if _, page := v.post("/logout"); !strings.Contains(page, "no session to end") {
		t.Error("the second logout does not say that there was no session")
	}
}

func TestLogOutEverywhere(t *testing.T) {
	d := open(t, shop.Config{})
	laptop, phone := d.visitor(t), d.visitor(t)
	for _, v := range []*visitor{laptop, phone} {
		v.post("/login", "user", "alice", "password", "x")
	}
	_, page := laptop.get("/account")
	wantText(t, page, "account-user", "alice")
	if _, page := laptop.post("/logout/everywhere"); !strings.Contains(page, `id="logout-have"`) {
		t.Errorf("POST /logout/everywhere shows no Regions:\n%s", page)
	}
	for _, v := range []*visitor{laptop, phone} {
		if a := v.account(); a.User != "" {
			t.Errorf("after logging out everywhere: %+v, want nobody", a)
		}
	}
	if res, _ := phone.stays().get("/account"); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/login" {
		t.Errorf("GET /account = %d to %q, want 303 to /login", res.StatusCode, res.Header.Get("Location"))
	}
	phone.post("/login", "user", "alice", "password", "x")
	if a := phone.account(); a.User != "alice" {
		t.Errorf("after a new login: %+v, want alice", a)
	}
}

func TestCart(t *testing.T) {
	v := open(t, shop.Config{}).visitor(t)
	_, page := v.get("/cart")
	wantText(t, page, "cart-empty", "Your cart is empty. ")
	for range 3 {
		_, page = v.post("/cart/add", "item", "map")
	}
	if !strings.Contains(page, `role="status">Trail map is in your cart.`) {
		t.Error("the catalogue does not say what was added")
	}
	v.post("/cart/remove", "item", "map")
	if n := v.account().quantity("map"); n != 2 {
		t.Errorf("maps after taking out one of 3 = %d, want 2", n)
	}
	v.post("/cart/remove", "item", "map", "all", "1")
	v.post("/cart/remove", "item", "map")
	v.post("/cart/add", "item", "map")
	if n := v.account().quantity("map"); n != 1 {
		t.Errorf("maps after taking out too many and adding one = %d, want 1", n)
	}
}

// Two tabs of one visitor in two Regions: nothing that either puts in is lost,
// though neither Region replicates to the other.
func TestCartInTwoRegions(t *testing.T) {
	east, west := region(t, 1, "us-east-1"), region(t, 2, "us-west-2")
	atEast, atWest := openAt(t, shop.Config{}, east, west), openAt(t, shop.Config{}, west, east)
	v := atEast.visitor(t)
	v.post("/cart/add", "item", "map")
	v.post("/visits")
	tab := v.thief()
	_, page := v.goesTo(atWest).get("/cart")
	wantText(t, page, "bar-region", "us-west-2")
	wantText(t, page, "bar-left", "yes, us-east-1 answered")
	v.goesTo(atWest).post("/cart/add", "item", "map")
	v.goesTo(atWest).post("/visits")
	tab.post("/cart/add", "item", "map")
	tab.post("/visits")
	if a := v.account(); a.quantity("map") != 3 || a.Visits != 3 {
		t.Errorf("in the end: %+v, want 3 maps and 3 visits", a)
	}
}

func TestLogoutSaysWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		east, west := region(t, 1, "us-east-1"), region(t, 2, "us-west-2")
		v := openAt(t, shop.Config{}, east, west).visitor(t)
		v.post("/login", "user", "alice", "password", "x")
		away, _ := engine.As[*failing](west.Engine)
		away.writes.Store(true)
		_, page := v.post("/logout")
		for _, want := range []string{
			"Not every Region has it yet", "<ul id=\"logout-have\">\n<li data-region=\"us-east-1\">",
			"<ul id=\"logout-waiting\">\n<li data-region=\"us-west-2\">",
		} {
			if !strings.Contains(page, want) {
				t.Errorf("the logout page lacks %q:\n%s", want, page)
			}
		}
		if n := v.account().Waiting; n != 1 {
			t.Errorf("%d revocations wait, want 1", n)
		}
		away.writes.Store(false)
		time.Sleep(time.Second) // the router tries again every 250 ms
		if n := v.account().Waiting; n != 0 {
			t.Errorf("%d revocations wait a second after the Region came back, want 0", n)
		}
	})
}

func TestCartHasABound(t *testing.T) {
	v := open(t, shop.Config{}).visitor(t)
	for range 99 {
		v.stays().post("/cart/add", "item", "map")
	}
	res, _ := v.post("/cart/add", "item", "mug")
	if a := v.account(); res.StatusCode != http.StatusConflict || a.quantity("map") != 99 || a.quantity("mug") != 0 {
		t.Errorf("the 100th piece = %d, cart %+v, want 409 and 99 maps", res.StatusCode, a.Cart)
	}
}

func TestTheme(t *testing.T) {
	v := open(t, shop.Config{}).visitor(t)
	for form, want := range map[string]string{"/account": "/account", "https://evil.example": "/", "//evil.example": "/", "/api/session": "/"} {
		res, _ := v.stays().post("/theme", "theme", "dark", "back", form)
		if got := res.Header.Get("Location"); res.StatusCode != http.StatusSeeOther || got != want {
			t.Errorf("theme with back=%q = %d to %q, want 303 to %q", form, res.StatusCode, got, want)
		}
	}
	if _, page := v.get("/"); !strings.Contains(page, `<html lang="en" data-theme="dark">`) || !strings.Contains(page, `id="theme-dark" aria-pressed="true"`) {
		t.Error("the page does not show the dark theme")
	}
}

// Reading writes nothing, so no session and no cookie come of it.
func TestReadingSetsNoCookie(t *testing.T) {
	v := open(t, shop.Config{}).visitor(t)
	for _, path := range []string{"/", "/cart", "/login", "/account", "/api/session", "/style.css", "/none"} {
		if res, _ := v.stays().get(path); len(res.Cookies()) > 0 {
			t.Errorf("GET %s sets %v, want no cookie", path, res.Cookies())
		}
	}
}

func TestBadInput(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	v := open(t, shop.Config{}).visitor(t).stays()
	for _, c := range []struct {
		name, method, path, contentType, body string
		want                                  int
		says                                  string
	}{
		{"unknown item", "POST", "/cart/add", form, "item=gold", 400, "doesn&#39;t sell that"},
		{"no item", "POST", "/cart/remove", form, "", 400, "doesn&#39;t sell that"},
		{"unknown theme", "POST", "/theme", form, "theme=red", 400, "auto, light or dark"},
		{"oversize form", "POST", "/cart/add", form, "item=" + strings.Repeat("x", 10_000), 413, "that large"},
		{"broken form", "POST", "/cart/add", form, "item=%zz", 400, "read as a form"},
		{"wrong method", "GET", "/cart/add", "", "", 405, "Try POST"},
		{"wrong method", "DELETE", "/login", "", "", 405, "GET or POST"},
		{"unknown page", "GET", "/gold", "", "", 404, "no such page"},
		{"unknown page of the API", "GET", "/api/gold", "", "", 404, `"error":"Not here"`},
		{"no name", "POST", "/login", form, "user=+&password=x", 400, "Give a name"},
		{"long name", "POST", "/login", form, "password=x&user=" + strings.Repeat("x", 256), 400, "Give a name"},
		{"no password", "POST", "/login", form, "user=alice", 403, "Give a password"},
	} {
		res, body := v.do(c.method, c.path, c.contentType, c.body)
		if res.StatusCode != c.want || !strings.Contains(body, c.says) || len(res.Cookies()) > 0 {
			t.Errorf("%s: %s %s = %d with %d cookies, want %d, %q, none:\n%s",
				c.name, c.method, c.path, res.StatusCode, len(res.Cookies()), c.want, c.says, body)
		}
		if allow := res.Header.Get("Allow"); (allow != "") != (c.want == 405) {
			t.Errorf("%s: Allow = %q", c.name, allow)
		}
	}
	if res, _ := v.do(http.MethodHead, "/", "", ""); res.StatusCode != http.StatusOK {
		t.Errorf("HEAD / = %d, want 200", res.StatusCode)
	}
}

func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	v := open(t, shop.Config{}).visitor(t)
	v.post("/login", "user", "alice", "password", "x")
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}} {
		res, body := v.do(http.MethodPost, "/logout", "application/x-www-form-urlencoded", "", header...)
		if res.StatusCode != http.StatusForbidden || !strings.Contains(body, "another site") {
			t.Errorf("POST /logout with %v = %d, want 403", header, res.StatusCode)
		}
	}
	if a := v.account(); a.User != "alice" {
		t.Errorf("after forged logouts: %+v, want alice", a)
	}
}

// What comes from a visitor is text, wherever it is shown.
func TestHostileNames(t *testing.T) {
	v := open(t, shop.Config{Title: `<b>"Shop"</b>`}).visitor(t)
	for _, name := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onfocus='alert(1)`, `&lt;b&gt;`, "{}", "\x00\xff<i>", `</title><script>`,
	} {
		v.do(http.MethodPost, "/login", "application/x-www-form-urlencoded", "password=x&user="+escape(name))
		for _, path := range []string{"/", "/cart", "/login"} {
			_, page := v.get(path)
			for _, bad := range []string{"<script", "<img", "<i>", "<b>", `"">`, "' on"} {
				if strings.Contains(page, bad) {
					t.Errorf("user %q: GET %s contains %q", name, path, bad)
				}
			}
		}
	}
}

// escape encodes every byte, for a form.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02x", s[i])
	}
	return b.String()
}

func TestFailures(t *testing.T) {
	d := open(t, shop.Config{})
	v := d.visitor(t)
	v.post("/login", "user", "alice", "password", "x")
	d.engine.writes.Store(true)
	res, page := v.stays().post("/visits")
	wantFailure(t, "POST /visits", res, page)
	if a := v.account(); a.User != "alice" || a.Visits != 0 { // reading works
		t.Errorf("while writes fail: %+v, want alice with no visits", a)
	}
	d.engine.reads.Store(true)
	for _, path := range []string{"/", "/account", "/none"} {
		res, page := v.stays().get(path)
		wantFailure(t, "GET "+path, res, page)
	}
	if res, body := v.get("/api/session"); res.StatusCode != http.StatusServiceUnavailable || !strings.HasPrefix(body, `{"error"`) {
		t.Errorf("GET /api/session = %d %s, want 503 in JSON", res.StatusCode, body)
	}
	d.engine.reads.Store(false)
	d.engine.writes.Store(false)
	v.post("/visits")
	if a := v.account(); a.User != "alice" || a.Visits != 1 {
		t.Errorf("afterwards: %+v, want alice with one visit", a)
	}
}

// A logout needs no engine: the Region's journal has it, and every read looks there.
func TestLogoutHoldsWhileNobodyTakesWrites(t *testing.T) {
	for _, path := range []string{"/logout", "/logout/everywhere"} {
		synctest.Test(t, func(t *testing.T) {
			here := region(t, 1, "eu-west-1")
			v := openAt(t, shop.Config{}, here).visitor(t)
			v.post("/login", "user", "alice", "password", "x")
			old := v.thief()
			sick, _ := engine.As[*failing](here.Engine)
			sick.writes.Store(true)
			res, page := v.post(path)
			for _, want := range []string{"Every Region has it", "<ul id=\"logout-have\">\n<li data-region=\"eu-west-1\">"} {
				if res.StatusCode != http.StatusOK || !strings.Contains(page, want) {
					t.Errorf("POST %s = %d, want 200 and a page with %q:\n%s", path, res.StatusCode, want, page)
				}
			}
			if a := old.account(); a.User != "" || a.State != "logged out" || a.Waiting != 1 {
				t.Errorf("after %s the old cookies open %+v, want logged out, and that one revocation waits", path, a)
			}
			sick.writes.Store(false)
			time.Sleep(time.Second) // the router tries again every 250 ms
			if a := old.account(); a.User != "" || a.State != "logged out" || a.Waiting != 0 {
				t.Errorf("a second after %s could be taken the old cookies open %+v, want logged out, and nothing waits", path, a)
			}
		})
	}
}

func wantFailure(t *testing.T, call string, res *http.Response, page string) {
	t.Helper()
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("%s = %d, Retry-After %q, want 503 and some", call, res.StatusCode, res.Header.Get("Retry-After"))
	}
	if !strings.Contains(page, "You are still logged in") || res.Header.Get("Location") != "" {
		t.Errorf("%s: the page does not say that she is still logged in", call)
	}
	if len(res.Cookies()) > 0 {
		t.Errorf("%s sets %v, want no cookie", call, res.Cookies())
	}
	wantText(t, page, "bar-rung", "refused")
}

func TestHeaders(t *testing.T) {
	v := open(t, shop.Config{}).visitor(t)
	for _, path := range []string{"/", "/none", "/login"} {
		res, _ := v.get(path)
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
			"Content-Type": "text/html; charset=utf-8", "Vary": "Cookie",
		} {
			if got := res.Header.Get(name); got != want {
				t.Errorf("GET %s: %s = %q, want %q", path, name, got, want)
			}
		}
		if csp := res.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") {
			t.Errorf("GET %s: Content-Security-Policy = %q", path, csp)
		}
	}
}

func TestDoors(t *testing.T) {
	v := open(t, shop.Config{Doors: []shop.Door{{Region: "us-west-2", URL: "http://localhost:8082/?a=1&b=2"}}}).visitor(t)
	if _, page := v.get("/"); !strings.Contains(page, `<a href="http://localhost:8082/?a=1&amp;b=2" data-region="us-west-2">us-west-2</a>`) {
		t.Error("no door to us-west-2 on the page")
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, c := range map[string]shop.Config{
		"no Region": {},
		"bad door":  {Region: "here", Doors: []shop.Door{{Region: "x", URL: "javascript:alert(1)"}}},
		"bad name":  func() (c shop.Config) { c.Region, c.Sessions.Cookie.Name = "here", "a b"; return c }(),
	} {
		if _, err := shop.New(nil, key(), c); err == nil {
			t.Errorf("%s: New() = nil error, want one", name)
		}
	}
}

// Every id is there once, and every field has a label.
func TestPagesAreSound(t *testing.T) {
	v := open(t, shop.Config{}).visitor(t)
	v.post("/cart/add", "item", "lamp")
	v.post("/login", "user", "alice", "password", "x")
	for _, path := range []string{"/", "/cart", "/login", "/account", "/none"} {
		_, page := v.get(path)
		var ids []string
		for _, part := range strings.Split(page, ` id="`)[1:] {
			id, _, _ := strings.Cut(part, `"`)
			if slices.Contains(ids, id) {
				t.Errorf("GET %s: id %q is there twice", path, id)
			}
			ids = append(ids, id)
		}
		for _, id := range []string{"main", "bar-region", "bar-rung", "bar-state", "bar-user", "bar-session", "bar-left", "cart-count", "theme-auto", "theme-light", "theme-dark"} {
			if !slices.Contains(ids, id) {
				t.Errorf("GET %s: no element %q", path, id)
			}
		}
		if strings.Contains(page, "{}") {
			t.Errorf("GET %s: a slot was left empty", path)
		}
		if strings.Count(page, "<h1>") != 1 || strings.Contains(page, "<script") || strings.Contains(page, "style=") {
			t.Errorf("GET %s: want one h1, no scripts and no inline styles", path)
		}
	}
}
