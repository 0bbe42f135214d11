package roam_test

import (
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/engine"
)

// revokeBehindCut has alice log in twice in Region 0, without Region 1 hearing
// of it, and log out everywhere there while Region 1 is cut off. The cut is
// healed on return, and nothing has been replicated yet.
func revokeBehindCut(t *testing.T) (l *land, laptop, phone browser) {
	t.Helper()
	l = newLand(t, 2, roam.ByToken)
	laptop, phone = browser{}, browser{}
	l.apps[0].visit(laptop, "/", l.apps[0].login(t, "alice"))
	l.apps[0].visit(phone, "/", l.apps[0].login(t, "alice"))
	l.cut(0, 1, engine.ErrUnreachable)
	l.apps[0].visit(laptop, "/", func(_ http.ResponseWriter, r *http.Request, _ *roam.Session) {
		told, err := l.apps[0].store.RevokeUser(r.Context(), "alice")
		if err != nil || len(told.Waiting) != 1 {
			t.Errorf("RevokeUser = %+v, %v; want one Region waiting", told, err)
		}
	})
	l.cut(0, 1, nil)
	return l, laptop, phone
}

// Who logs out everywhere and in again at once, through a Region that has not
// heard of the first, is not logged out when it does.
func TestLoginAfterRevocationElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, laptop, _ := revokeBehindCut(t)
		l.apps[1].visit(laptop, "/", l.apps[1].login(t, "alice"))
		l.replicate(0, 1)
		l.replicate(1, 0)
		for i, a := range l.apps {
			if s, _ := a.look(laptop, "/"); s == nil || s.User() != "alice" {
				t.Errorf("Region %d: %+v, want alice's new session", i, s)
			}
		}
	})
}

// The browser that logged out everywhere does not show its old session where
// nobody has heard of that, though the session arrives there.
func TestBrowserKnowsOfItsRevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLand(t, 2, roam.ByToken)
		b := browser{}
		l.apps[0].visit(b, "/", l.apps[0].login(t, "alice"))
		l.replicate(0, 1)
		l.cut(0, 1, engine.ErrUnreachable)
		old := b[credentialName]
		l.apps[0].visit(b, "/", func(_ http.ResponseWriter, r *http.Request, _ *roam.Session) {
			if _, err := l.apps[0].store.RevokeUser(r.Context(), "alice"); err != nil {
				t.Errorf("RevokeUser: %v", err)
			}
		})
		b[credentialName] = old // of a request that was under way
		if s, _ := l.apps[1].look(b, "/"); s != nil && s.User() != "" {
			t.Errorf("where it was not heard of: %v of %q, want nobody's", s.State(), s.User())
		}
	})
}

// A session that is fetched is judged by what is known of its user where it
// comes from: the Region that fetches may have lost, or never had, either.
func TestFetchedSessionIsJudgedWhereItComesFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, phone := revokeBehindCut(t)
		if s, _ := l.apps[1].look(phone, "/"); s == nil || s.State() != roam.LoggedOut {
			t.Errorf("fetched after its user was revoked: %+v, want logged out", s)
		}
	})
}
