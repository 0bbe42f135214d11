package control_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/internal/ledger"
)

// A member that starts again has not read its file yet when others can ask it. It does not say
// then that nothing was agreed on: those who are new would found another deployment with that,
// and one that has lost its file would take itself for new. Nor does it give its word, to a
// holder whose lease another one has by now.
func TestWhoStartsAgainSaysNothingFirst(t *testing.T) {
	h := newHouse(t, "east", "west", "north")
	h.until("all have joined", func(s ledger.State) bool { return len(s.Joined) == 3 })
	h.reigns("east", "west", 2)
	h.stop("north")

	ask := func(of http.Handler, path, body string) (int, string) {
		w := httptest.NewRecorder()
		of.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body)))
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	questions := map[string]struct{ path, body, want string }{
		"is east new?":               {"/v1/member/joined", `{"from":"west","who":"east"}`, `{"ok":true,"founded":true}`},
		"may east go on by itself?":  {"/v1/member/vouch", `{"from":"east","epoch":1}`, `{"ok":false,"founded":true}`},
		"may nobody go on for long?": {"/v1/member/vouch", `{"from":"east","epoch":0}`, `{"ok":false,"founded":true}`},
	}
	var north http.Handler
	h.served = func(served http.Handler) {
		north = served
		for what, q := range questions {
			if code, said := ask(north, q.path, q.body); code != http.StatusServiceUnavailable {
				t.Errorf("%s: %d %s, before it has read its file, want 503", what, code, said)
			}
		}
	}
	h.start("north")
	if north == nil {
		t.Fatal("it serves nothing")
	}
	for what, q := range questions {
		if code, said := ask(north, q.path, q.body); code != http.StatusOK || said != q.want {
			t.Errorf("%s: %d %s, when it has read its file, want %s", what, code, said, q.want)
		}
	}
}
