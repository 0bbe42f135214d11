package control

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/lease"
)

// quiet returns a member that answers and does nothing else.
func quiet(tb testing.TB) *Member {
	tb.Helper()
	c := Config{Self: "west", Members: []Peer{{Name: "west", ID: 1}, {Name: "east", ID: 2}}, Log: slog.New(slog.DiscardHandler)}
	m := &Member{config: c, machine: newMachine(), mail: newMailbox(), start: time.Now(), reports: map[string]heard{}}
	var err error
	if m.voting, err = openVoting(filepath.Join(tb.TempDir(), "voter.json"), lease.Config{}.WithDefaults(), 0); err != nil {
		tb.Fatal(err)
	}
	return m
}

func asked(m *Member, path, body string) int {
	w := httptest.NewRecorder()
	m.rpc().ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)))
	return w.Code
}

// Who is no other member is not heard, and what can't be read changes nothing.
func TestMembersAlone(t *testing.T) {
	m := quiet(t)
	for body, want := range map[string]int{
		`{"from":"east","epoch":1}`:     http.StatusOK,
		`{"from":"west","epoch":1}`:     http.StatusForbidden,
		`{"from":"stranger","epoch":1}`: http.StatusForbidden,
		`{"from":`:                      http.StatusBadRequest,
		strings.Repeat(" ", maxAsked+1): http.StatusBadRequest,
	} {
		for _, path := range []string{consentPath, vouchPath, joinedPath, reportPath} {
			if got := asked(m, path, body); got != want {
				t.Errorf("%s of %.40q: status %d, want %d", path, body, got, want)
			}
		}
	}
}

// Whatever a member says is answered or refused, and can be lived with by whoever reports
// next.
func FuzzMember(f *testing.F) {
	f.Add(uint8(0), `{"from":"east","at":"2026-11-26T12:00:00Z","heard":["west"],"views":[{"Region":"east","In":1}],"server":{"Known":true},"version":"1"}`)
	f.Add(uint8(1), `{"from":"east","epoch":7}`)
	f.Add(uint8(2), `{"from":"east","epoch":18446744073709551615}`)
	f.Add(uint8(3), `{"from":"east","who":"west"}`)
	m := quiet(f)
	paths := []string{reportPath, consentPath, vouchPath, joinedPath}
	f.Fuzz(func(t *testing.T, which uint8, body string) {
		switch code := asked(m, paths[int(which)%len(paths)], body); code {
		case http.StatusOK, http.StatusBadRequest, http.StatusForbidden:
		default:
			t.Errorf("status %d", code)
		}
		for _, l := range m.mail.take() {
			l()
		}
		if news := m.observe(); len(news.Reports) > 1 {
			t.Errorf("%d reports of one other member", len(news.Reports))
		}
	})
}
