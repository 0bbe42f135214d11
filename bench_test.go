package roam_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/roam-sessions/roam"
)

// benchmarkRequests makes requests of one browser, each of which does h.
func benchmarkRequests(b *testing.B, a *app, visitor browser, h handler) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for name, value := range visitor {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	wrapped := a.sessions.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h(w, r, roam.FromContext(r.Context()))
		w.WriteHeader(http.StatusNoContent)
	}))
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		if wrapped.ServeHTTP(w, r); w.Code != http.StatusNoContent {
			b.Fatalf("answer = %d, want 204", w.Code)
		}
	}
}

func look(http.ResponseWriter, *http.Request, *roam.Session) {}

// BenchmarkWithoutSession is what the others cost without Roam's part: a
// request with no cookies.
func BenchmarkWithoutSession(b *testing.B) {
	benchmarkRequests(b, newApp(b, roam.Options{}), browser{}, look)
}

func BenchmarkLoadAnonymous(b *testing.B) {
	a, visitor := newApp(b, roam.Options{}), browser{}
	a.visit(visitor, "/", change(b))
	benchmarkRequests(b, a, visitor, look)
}

func BenchmarkLoadLoggedIn(b *testing.B) {
	a, visitor := newApp(b, roam.Options{}), browser{}
	a.visit(visitor, "/", a.login(b, "alice"))
	benchmarkRequests(b, a, visitor, look)
}

func BenchmarkCommitOneField(b *testing.B) {
	a, visitor := newApp(b, roam.Options{}), browser{}
	a.visit(visitor, "/", a.login(b, "alice"))
	n := 0
	benchmarkRequests(b, a, visitor, func(_ http.ResponseWriter, _ *http.Request, s *roam.Session) {
		n++
		if err := theme.Set(s, strconv.Itoa(n)); err != nil {
			b.Fatal(err)
		}
	})
}
