package roam_test

import (
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/engine"
)

// A logout that no engine takes goes to the journal, and ends what is sealed as
// well.
func TestLogoutWhileSealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSealingLand(t, 2)
		b := browser{}
		l.apps[0].visit(b, "/", l.apps[0].login(t, "alice"))
		l.readOnly(true)
		l.apps[0].visit(b, "/", shopping(t, "tea"))
		if !b.isSealed() {
			t.Fatal("nothing was sealed while no engine took writes")
		}
		copied := b.clone()
		if res := l.apps[0].visit(b, "/", logout(t)); setsCredential(res) != "cleared" || b.isSealed() {
			t.Errorf("logout: credential %q, sealed %v; want both gone", setsCredential(res), b.isSealed())
		}
		if got := l.apps[0].show(t, copied, "/"); got.state != roam.LoggedOut || copied.isSealed() {
			t.Errorf("a copy of the sealed cookie: %+v, sealed %v; want logged out, cleared", got, copied.isSealed())
		}
	})
}

// Where no engine answers, a revocation that the journal took is all that is known, and
// what is sealed is held against it (DESIGN R11).
func TestSealedIsHeldAgainstTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSealingLand(t, 2)
		b := browser{}
		l.apps[0].visit(b, "/", l.apps[0].login(t, "alice"))
		l.readOnly(true)
		l.apps[0].visit(b, "/", shopping(t, "tea"))
		l.down(engine.ErrUnreachable)
		if got := l.apps[0].show(t, b, "/"); got.state != roam.Live || got.rung != roam.Sealed {
			t.Fatalf("before the revocation: %+v; want it live, by what is sealed", got)
		}
		if _, err := l.apps[0].store.RevokeUser(t.Context(), "alice"); err != nil {
			t.Fatalf("RevokeUser: %v", err)
		}
		if got := l.apps[0].show(t, b, "/"); got.state != roam.LoggedOut || b.isSealed() {
			t.Errorf("after it: %+v, sealed %v; want logged out, cleared", got, b.isSealed())
		}
	})
}

// What was ended meanwhile is not revived by what is sealed: neither a session
// that was destroyed nor one whose user's were revoked.
func TestSealedRevivesNothing(t *testing.T) {
	for name, end := range map[string]func(l *land, phone browser){
		"destroyed": func(l *land, phone browser) { l.apps[0].visit(phone.clone(), "/", logout(l.t)) },
		"revoked": func(l *land, _ browser) {
			if _, err := l.apps[0].store.RevokeUser(l.t.Context(), "alice"); err != nil {
				l.t.Errorf("RevokeUser: %v", err)
			}
		},
		"idled out and dropped": func(l *land, _ browser) { time.Sleep(16 * time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newSealingLand(t, 1)
				b := browser{}
				l.apps[0].visit(b, "/", l.apps[0].login(t, "alice"))
				phone := b.clone()
				l.readOnly(true)
				l.apps[0].visit(b, "/", shopping(t, "tea"))
				l.readOnly(false)
				end(l, phone)
				got := l.apps[0].show(t, b, "/")
				if name == "idled out and dropped" {
					if got.theme != "" || b.isSealed() {
						t.Errorf("%+v, sealed %v; want what the store has", got, b.isSealed())
					}
					return
				}
				if got.state != roam.LoggedOut || got.user != "" || b.isSealed() {
					t.Errorf("%+v, sealed %v; want logged out, cleared", got, b.isSealed())
				}
				if s, _ := l.apps[0].look(phone, "/"); s.State() != roam.LoggedOut {
					t.Errorf("by its credential alone: %v, want logged out", s.State())
				}
			})
		})
	}
}

// The session ends between the look at it and the taking in.
func TestEndedWhileTakenIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, roam.Options{Seal: true})
		b := browser{}
		a.visit(b, "/", a.login(t, "alice"))
		a.engine.failWrites.Store(true)
		a.visit(b, "/", shopping(t, "tea"))
		a.engine.failWrites.Store(false)
		time.Sleep(5 * time.Second)
		phone := b.clone()
		maps.DeleteFunc(phone, func(name, _ string) bool { return strings.Contains(name, "-sealed") })
		out := func() { a.visit(phone, "/", logout(t)) }
		a.engine.beforeApply.Store(&out)
		got := a.show(t, b, "/")
		if got.state != roam.LoggedOut || got.theme != "" || b.isSealed() {
			t.Errorf("%+v, sealed %v; want logged out, cleared", got, b.isSealed())
		}
	})
}
