package lab

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// edgeOf returns an edge over the lab's Regions, of which some are alive; each
// answers with its name.
func edgeOf(alive ...string) *edge {
	e := &edge{
		alive: func(name string) bool { return slices.Contains(alive, name) },
		serve: func(name string) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) })
		},
	}
	for _, p := range places() {
		e.names = append(e.names, p.name)
	}
	return e
}

// ask sends a request with a header and a cookie that choose; "" is none.
func ask(t *testing.T, e *edge, path, header, cookie string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	if header != "" {
		r.Header.Set(RegionHeader, header)
	}
	if cookie != "" {
		r.AddCookie(&http.Cookie{Name: edgeCookie, Value: cookie})
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

func TestEdgeRoutes(t *testing.T) {
	all := []string{west1, west2, europe}
	for name, c := range map[string]struct {
		alive          []string
		header, cookie string
		want           string
	}{
		"no wish":                         {all, "", "", west1},
		"nearest":                         {all, Nearest, "", west1},
		"chosen by cookie":                {all, "", europe, europe},
		"chosen by header":                {all, europe, "", europe},
		"the header is louder":            {all, west2, europe, west2},
		"an unknown wish":                 {all, "mars-1", "", west1},
		"an unknown cookie":               {all, "", "mars-1", west1},
		"the nearest is dead":             {[]string{west2, europe}, "", "", west2},
		"the chosen one is dead":          {[]string{west1, west2}, "", europe, west1},
		"it and the nearest are dead":     {[]string{west2}, europe, "", west2},
		"one alive, chosen at random":     {[]string{europe}, Random, "", europe},
		"names are not patterns or parts": {all, "eu-west", "", west1},
	} {
		w := ask(t, edgeOf(c.alive...), "/", c.header, c.cookie)
		if got := w.Header().Get(RegionHeader); w.Code != http.StatusOK || got != c.want || w.Body.String() != c.want {
			t.Errorf("%s: answered by %q (header %q) with %d, want %s", name, w.Body, got, w.Code, c.want)
		}
	}
}

func TestEdgeRandomReachesAllThatLive(t *testing.T) {
	e, seen := edgeOf(west2, europe), map[string]int{}
	for range 200 { // misses one of two with a chance of 2 in 10^60
		seen[ask(t, e, "/", Random, "").Body.String()]++
	}
	if len(seen) != 2 || seen[west2] == 0 || seen[europe] == 0 {
		t.Errorf("200 random requests were answered by %v, want %s and %s", seen, west2, europe)
	}
}

func TestEdgeSaysWhatToDoWhenAllAreDead(t *testing.T) {
	for _, wish := range []string{"", Random, europe} {
		w := ask(t, edgeOf(), "/cart", wish, "")
		if w.Code != http.StatusBadGateway || !strings.Contains(w.Body.String(), "Revive one in the console") {
			t.Errorf("wish %q, none alive = %d %q, want 502 and what to do", wish, w.Code, w.Body)
		}
	}
}

func TestEdgeRemembersAChoice(t *testing.T) {
	e := edgeOf(west1, west2) // a dead Region may be chosen: it may come back
	for _, to := range []string{Nearest, Random, west1, west2, europe} {
		w := ask(t, e, switchPath+"?to="+to, "", "")
		cookies := w.Result().Cookies()
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/" || len(cookies) != 1 {
			t.Fatalf("choosing %s = %d to %q with %v, want 303 to / and one cookie", to, w.Code, w.Header().Get("Location"), cookies)
		}
		if c := cookies[0]; c.Name != edgeCookie || c.Value != to || c.Path != "/" || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode {
			t.Errorf("choosing %s sets %v, want %s=%[1]s for /, HttpOnly and Lax", to, c, edgeCookie)
		}
	}
	for _, to := range []string{"", "mars-1", "us-west-1;", "%0d%0aSet-Cookie:x"} {
		w := ask(t, e, switchPath+"?to="+to, "", "")
		if w.Code != http.StatusBadRequest || len(w.Result().Cookies()) != 0 || !strings.Contains(w.Body.String(), europe) {
			t.Errorf("choosing %q = %d %q with %v, want 400, the names there are and no cookie", to, w.Code, w.Body, w.Result().Cookies())
		}
	}
}
