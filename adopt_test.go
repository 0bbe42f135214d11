package roam_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/engine"
)

// A planted cookie that is renewed behind a cut is newer than the victim's login
// and not of it: it shows and changes nothing of hers (DESIGN R3).
func TestPlantedRotationIsNotAdopted(t *testing.T) {
	for name, plant := range map[string]func(l *land) handler{
		"renewed":      func(*land) handler { return renew },
		"another user": func(l *land) handler { return l.apps[1].login(l.t, "mallory") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLand(t, 2, roam.ByToken)
				attacker := browser{}
				l.apps[0].visit(attacker, "/", change(t))
				l.replicate(0, 1)
				l.cut(0, 1, engine.ErrUnreachable)
				victim := attacker.clone()
				l.apps[0].visit(victim, "/", l.apps[0].login(t, "alice"))
				time.Sleep(time.Second)
				l.apps[1].visit(attacker, "/", plant(l)) // where nobody has heard of the login
				for _, do := range []handler{change(t), renew} {
					l.apps[0].visit(attacker, "/", do)
					s, _ := l.apps[0].look(attacker, "/")
					if s != nil && s.User() != "" {
						t.Fatalf("the planted cookie is %v of %q, want nobody's", s.State(), s.User())
					}
				}
				if s, _ := l.apps[0].look(victim, "/strict"); s.User() != "alice" {
					t.Errorf("the victim is %q, want alice", s.User())
				}
			})
		})
	}
}

// Once both are heard of everywhere, a login holds against the later rotation of
// a cookie planted before it, whichever arrives first (DESIGN R3).
func TestLoginHoldsAgainstPlantedRotation(t *testing.T) {
	for _, first := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			l := newLand(t, 2, roam.ByToken)
			attacker := browser{}
			l.apps[0].visit(attacker, "/", change(t))
			l.replicate(0, 1)
			l.cut(0, 1, engine.ErrUnreachable)
			victim := attacker.clone()
			l.apps[0].visit(victim, "/", l.apps[0].login(t, "alice"))
			time.Sleep(time.Second)
			l.apps[1].visit(attacker, "/", renew) // where nobody has heard of the login
			l.cut(0, 1, nil)
			l.replicate(first, 1-first)
			l.replicate(1-first, first)
			for i, a := range l.apps {
				if s, _ := a.look(victim, "/"); s == nil || s.User() != "alice" {
					t.Errorf("Region %d: the victim's session is %+v, want alice's", i, s)
				}
				if s, _ := a.look(attacker, "/"); s != nil && s.User() != "" {
					t.Errorf("Region %d: the planted cookie is %q's", i, s.User())
				}
			}
		})
	}
}

// The victim's own rotation is adopted behind a cut, for reading and changing;
// a further rotation is refused, since it would lose against the one not heard.
func TestAdoptedSecretIsNotRotated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLand(t, 2, roam.ByToken)
		b := browser{}
		l.apps[0].visit(b, "/", l.apps[0].login(t, "alice"))
		l.replicate(0, 1)
		l.cut(0, 1, engine.ErrUnreachable)
		l.apps[0].visit(b, "/", renew)
		s, _ := l.apps[1].look(b, "/")
		if s == nil || s.User() != "alice" || s.Rung() != roam.Stale {
			t.Fatalf("behind the cut, right after a rotation: %v, want alice's, stale", s)
		}
		if res := l.apps[1].visit(b, "/", renew); setsCredential(res) != "" || len(l.apps[1].failures) != 1 {
			t.Errorf("rotation while adopted: credential %q, failures %v; want untouched, one", setsCredential(res), l.apps[1].failures)
		}
		l.cut(0, 1, nil)
		l.replicate(0, 1)
		l.replicate(1, 0)
		for i, a := range l.apps {
			if s, _ := a.look(b, "/strict"); s.User() != "alice" {
				t.Errorf("after the heal in %d: %v of %q, want alice's", i, s.State(), s.User())
			}
		}
	})
}

// A copy that has not heard of the rotation that set a cookie can't call it
// superseded, however long ago that was: nothing takes the session's place.
func TestUnheardRotationIsNoEnd(t *testing.T) {
	for _, mode := range []roam.Mode{roam.ByToken, roam.ByPrimary, roam.ByRetry, roam.Accept} {
		t.Run(mode.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLand(t, 2, mode)
				b := browser{}
				l.apps[0].visit(b, "/", change(t))
				l.replicate(0, 1)
				l.cut(0, 1, engine.ErrUnreachable)
				l.apps[0].visit(b, "/", l.apps[0].login(t, "alice"))
				time.Sleep(2 * time.Minute)
				for _, path := range []string{"/", "/strict"} {
					before := l.writes.Load()
					res := l.apps[1].visit(b, path, change(t))
					if setsCredential(res) != "" || l.writes.Load() != before {
						t.Errorf("%s: credential %q, %d writes; want untouched, none", path, setsCredential(res), l.writes.Load()-before)
					}
				}
				l.cut(0, 1, nil)
				if s, _ := l.apps[0].look(b, "/"); s.User() != "alice" {
					t.Errorf("after the heal: %q, want alice", s.User())
				}
			})
		})
	}
}

// A copy that lacks the session's last uses can't say that it idled out.
func TestUnheardUseIsNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLand(t, 2, roam.ByToken)
		b := browser{}
		l.apps[0].visit(b, "/", l.apps[0].login(t, "alice"))
		l.replicate(0, 1)
		time.Sleep(20 * time.Minute)
		l.apps[0].look(b, "/") // noted here alone
		l.cut(0, 1, engine.ErrUnreachable)
		time.Sleep(15 * time.Minute)
		res := l.apps[1].visit(b, "/", change(t))
		if setsCredential(res) != "" || len(l.apps[1].failures) != 1 {
			t.Errorf("behind the cut: credential %q, failures %v; want untouched, one", setsCredential(res), l.apps[1].failures)
		}
		if s, _ := l.apps[0].look(b, "/"); s.User() != "alice" {
			t.Errorf("where it was used: %v of %q, want alice's", s.State(), s.User())
		}
	})
}

// A slow request from before a login ends after it: it sets no credential, or
// its answer would log the browser out (DESIGN R9).
func TestSlowRequestFromBeforeALogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, roam.Options{})
		b := browser{}
		a.visit(b, "/", change(t))
		slow := b.clone()
		a.visit(b, "/", a.login(t, "alice"))
		for name, do := range map[string]handler{"change": change(t), "logout": logout(t), "renew": renew} {
			if res := a.visit(slow.clone(), "/", do); setsCredential(res) != "" {
				t.Errorf("%s: credential %q, want untouched", name, setsCredential(res))
			}
		}
		if res := a.visit(browser{}, "/", logout(t)); setsCredential(res) != "" {
			t.Errorf("logout without a session: credential %q, want untouched", setsCredential(res))
		}
		if s, _ := a.look(b, "/"); s.User() != "alice" {
			t.Errorf("the browser is %q, want alice", s.User())
		}
		time.Sleep(2 * time.Minute) // by now it is no slow request but an old cookie
		if res := a.visit(slow, "/", change(t)); setsCredential(res) != "set" {
			t.Errorf("an old cookie after two minutes: credential %q, want a session of its own", setsCredential(res))
		}
	})
}

// A logout of a session that can't be found, and may exist, is not claimed.
func TestLogoutOfAnUnknownSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLand(t, 2, roam.Accept)
		b := browser{}
		l.apps[0].visit(b, "/", l.apps[0].login(t, "alice"))
		res := l.apps[1].visit(b, "/", func(_ http.ResponseWriter, r *http.Request, s *roam.Session) {
			if rev, err := s.Destroy(r.Context()); !errors.Is(err, roam.ErrDoubtful) || rev.Everywhere() {
				t.Errorf("Destroy of a session that is %v = %+v, %v; want ErrDoubtful", s.State(), rev, err)
			}
		})
		if setsCredential(res) != "" {
			t.Errorf("credential %q, want untouched", setsCredential(res))
		}
	})
}

// A session that only a dead Region knows keeps nobody out for good: the
// entrance lets her log in anew, and writes nothing else in its place.
func TestEntrance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLand(t, 2, roam.ByToken)
		b := browser{}
		l.apps[0].visit(b, "/", l.apps[0].login(t, "alice"))
		l.cut(0, 1, engine.ErrUnreachable) // and it is dead: nothing was replicated
		o := l.apps[1].options()
		o.Entrance = func(r *http.Request) bool { return r.URL.Path == "/login" }
		l.apps[1].sessions = l.apps[1].manager(t, testKey("land"), o)

		before := b.clone()
		res := l.apps[1].visit(b, "/login", change(t))
		if len(l.apps[1].failures) != 1 || setsCredential(res) != "" || b["__Host-roam"] != before["__Host-roam"] {
			t.Errorf("a change at the entrance: failures %v, credential %q; want one and untouched", l.apps[1].failures, setsCredential(res))
		}
		if s, _ := l.apps[1].look(b, "/"); s != nil {
			t.Errorf("elsewhere: %v, want an error", s.State())
		}
		if s, _ := l.apps[1].look(b, "/login"); s == nil || s.State() != roam.Unknown || s.Rung() != roam.Stale {
			t.Errorf("at the entrance: %+v, want unknown and stale", s)
		}
		l.apps[1].visit(b, "/login", l.apps[1].login(t, "alice"))
		if s, _ := l.apps[1].look(b, "/"); s == nil || s.User() != "alice" {
			t.Errorf("after a login: %v, want alice's", s)
		}
	})
}

// How long ago another session was used says nothing of this one: it is not
// called idle, and so gone, by the wrong token.
func TestAnotherSessionsTokenIsNoIdleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLand(t, 2, roam.ByToken)
		old, b := browser{}, browser{}
		l.apps[0].visit(old, "/", change(t))
		time.Sleep(2 * time.Hour)
		l.apps[0].visit(b, "/", change(t))
		time.Sleep(25 * time.Minute)
		l.apps[0].look(b, "/") // used, and noted
		time.Sleep(20 * time.Minute)
		b["__Host-roam-seen"] = old["__Host-roam-seen"]
		l.cut(0, 1, engine.ErrUnreachable)
		if s, _ := l.apps[1].look(b, "/"); s != nil {
			t.Errorf("a session that was used 20 minutes ago, not heard of here, is %v; want an error", s.State())
		}
	})
}
