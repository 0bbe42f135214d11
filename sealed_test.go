package roam_test

import (
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

const (
	visits = roam.Counter("visits")
	basket = roam.Set("basket")
)

// sealed returns b's sealed cookies alone.
func (b browser) sealed() browser {
	out := browser{}
	for name, value := range b {
		if strings.Contains(name, "-sealed") {
			out[name] = value
		}
	}
	return out
}

// isSealed reports whether b has a sealed cookie.
func (b browser) isSealed() bool { return len(b.sealed()) > 0 }

// newSealingLand is newLand with sessions that are sealed if need be.
func newSealingLand(t *testing.T, n int, edit ...func(from int, c *roam.Config)) *land {
	t.Helper()
	l := newLand(t, n, roam.ByToken, edit...)
	for _, a := range l.apps {
		o := a.options()
		o.Seal = true
		a.sessions = a.manager(t, testKey("land"), o)
	}
	return l
}

// down makes every Region fail for all; err nil heals them.
func (l *land) down(err error) {
	for from := range l.wires {
		for to := range l.wires {
			l.cut(from, to, err)
		}
	}
	if err == nil {
		time.Sleep(5 * time.Second) // breakers close
	}
}

// readOnly says whether all Regions refuse to be written to.
func (l *land) readOnly(yes bool) {
	for _, e := range l.engines {
		e.SetPrimary(!yes)
	}
	time.Sleep(5 * time.Second)
}

// shown is what a page shows of a session.
type shown struct {
	state   roam.State
	rung    roam.Rung
	user    string
	theme   string
	visits  int64
	basket  string
	missing bool
}

// show looks at a's Region with b. It fails the test if nothing is shown.
func (a *app) show(t *testing.T, b browser, path string) (out shown) {
	t.Helper()
	a.failures = nil
	a.visit(b, path, func(_ http.ResponseWriter, _ *http.Request, s *roam.Session) {
		out = shown{
			s.State(), s.Rung(), s.User(), theme.Get(s), visits.Get(s),
			strings.Join(basket.All(s), " "), s.FieldsMissing(),
		}
	})
	if len(a.failures) > 0 {
		t.Fatalf("%s is refused: %v", path, a.failures)
	}
	return out
}

// refuses makes a request that has to be answered by OnError, without cookies.
func (a *app) refuses(t *testing.T, b browser, path string, h handler, want error) {
	t.Helper()
	a.failures = nil
	res := a.visit(b, path, h)
	if len(a.failures) != 1 || !errors.Is(a.failures[0], want) || len(res.Cookies()) > 0 {
		t.Errorf("%s: failures %v, %d cookies; want one that is %v and none", path, a.failures, len(res.Cookies()), want)
	}
	a.failures = nil
}

// shopping is a request that changes a field of every kind.
func shopping(t *testing.T, element string) handler {
	return func(_ http.ResponseWriter, _ *http.Request, s *roam.Session) {
		if err := theme.Set(s, element); err != nil {
			t.Errorf("Set: %v", err)
		}
		visits.Add(s, 1)
		basket.Add(s, element)
	}
}

// While nobody takes a write a session is born in its cookie, any Region serves
// and changes it, and once they can all have it.
func TestSealedSessionGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSealingLand(t, 2)
		l.down(engine.ErrUnreachable)
		b := browser{}
		for i, element := range []string{"tea", "book"} {
			l.apps[i].visit(b, "/", shopping(t, element))
			if len(l.apps[i].failures) > 0 || len(b.sealed()) != 1 {
				t.Fatalf("Region %d: %v, sealed %v; want it sealed", i, l.apps[i].failures, b.isSealed())
			}
			time.Sleep(time.Second)
		}
		want := shown{state: roam.Live, rung: roam.Sealed, theme: "book", visits: 2, basket: "book tea"}
		for i, a := range l.apps {
			if got := a.show(t, b, "/"); got != want {
				t.Errorf("Region %d while all is down: %+v, want %+v", i, got, want)
			}
		}
		l.down(nil)
		want.rung = roam.Normal
		if got := l.apps[1].show(t, b, "/strict"); got != want || b.isSealed() {
			t.Errorf("after the heal: %+v, sealed %v; want %+v, taken in", got, b.isSealed(), want)
		}
		if got := l.apps[0].show(t, b, "/strict"); got != want { // fetched by the token's dot
			t.Errorf("in the other Region: %+v, want %+v", got, want)
		}
		l.replicate(1, 0)
		l.cut(0, 1, engine.ErrUnreachable)
		if got := l.apps[0].show(t, b, "/strict"); got != want {
			t.Errorf("in the other Region by itself: %+v, want %+v", got, want)
		}
	})
}

// A session that was in the store goes on from there, is logged in while nobody
// takes writes, and the login is everywhere afterwards, with its index.
func TestSealedLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSealingLand(t, 2)
		b := browser{}
		l.apps[0].visit(b, "/", shopping(t, "tea"))
		l.replicate(0, 1)
		l.readOnly(true)
		before := b[credentialName]
		planted := b.clone()
		if res := l.apps[0].visit(b, "/", l.apps[0].login(t, "alice")); setsCredential(res) != "set" || !b.isSealed() {
			t.Fatalf("login: credential %q, sealed %v; want a new one, sealed", setsCredential(res), b.isSealed())
		}
		if b[credentialName] == before {
			t.Error("login kept the secret")
		}
		want := shown{state: roam.Live, rung: roam.Sealed, user: "alice", theme: "tea", visits: 1, basket: "tea"}
		if got := l.apps[1].show(t, b, "/"); got != want {
			t.Errorf("while read-only: %+v, want %+v", got, want)
		}
		l.readOnly(false)
		want.rung = roam.Normal
		if got := l.apps[0].show(t, b, "/"); got != want || b.isSealed() {
			t.Errorf("after: %+v, sealed %v; want %+v, taken in", got, b.isSealed(), want)
		}
		rec, err := l.engines[0].Read(t.Context(), crdt.UserKey("alice"), crdt.Token{})
		if err != nil || len(rec.Sessions()) != 1 {
			t.Errorf("index of alice has %d sessions, %v; want 1", len(rec.Sessions()), err)
		}
		// The other Region has the session from before and can't be told of this.
		l.cut(0, 1, engine.ErrUnreachable)
		l.apps[1].refuses(t, b.clone(), "/", change(t), roam.ErrDoubtful)
		l.cut(0, 1, nil)
		l.replicate(0, 1)
		if got := l.apps[1].show(t, b, "/strict"); got != want {
			t.Errorf("in the other Region: %+v, want %+v", got, want)
		}
		if got := l.apps[0].show(t, planted, "/"); got.user != "" {
			t.Errorf("a cookie from before the login is %q's", got.user)
		}
	})
}

// Strict routes refuse what is in a cookie alone, and seal nothing.
func TestStrictRefusesSealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSealingLand(t, 2)
		b := browser{}
		l.apps[0].visit(b, "/", shopping(t, "tea"))
		l.readOnly(true)
		l.apps[0].refuses(t, b, "/strict", change(t), roam.ErrUnavailable)
		l.apps[0].visit(b, "/", shopping(t, "book"))
		l.apps[0].refuses(t, b, "/strict", func(http.ResponseWriter, *http.Request, *roam.Session) {}, roam.ErrStale)
		l.readOnly(false)
		if got := l.apps[0].show(t, b, "/strict"); got.rung != roam.Normal || got.theme != "book" || b.isSealed() {
			t.Errorf("writable again: %+v, sealed %v; want book, taken in", got, b.isSealed())
		}
		l.readOnly(true)
		l.apps[0].visit(b, "/", shopping(t, "cup"))
		l.down(engine.ErrUnreachable)
		l.apps[0].refuses(t, b, "/strict", change(t), roam.ErrUnavailable)
	})
}

// 15 minutes after the first sealing, however often it was sealed again, a
// sealed cookie is worth nothing and is cleared.
func TestSealedForFifteenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSealingLand(t, 1)
		b := browser{}
		l.apps[0].visit(b, "/", shopping(t, "tea"))
		l.readOnly(true)
		for range 5 {
			l.apps[0].visit(b, "/", shopping(t, "book"))
			time.Sleep(3*time.Minute - 10*time.Second)
		}
		if got := l.apps[0].show(t, b, "/"); got.theme != "book" || got.rung != roam.Sealed {
			t.Errorf("after 14 minutes: %+v, want book, sealed", got)
		}
		old := b.clone()
		time.Sleep(50 * time.Second)
		if got := l.apps[0].show(t, b, "/"); got.theme != "tea" || got.rung != roam.Normal || b.isSealed() {
			t.Errorf("after 15 minutes: %+v, sealed %v; want tea, cleared", got, b.isSealed())
		}
		l.down(engine.ErrUnreachable)
		l.apps[0].refuses(t, old, "/", change(t), roam.ErrUnavailable)
	})
}

// A logout that nobody takes, not even a journal, is not claimed.
func TestFailedLogoutWhileSealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSealingLand(t, 1, func(_ int, c *roam.Config) {
			j, err := roam.OpenJournal(1, filepath.Join(t.TempDir(), "journal"), nil)
			if err != nil {
				t.Fatalf("OpenJournal: %v", err)
			}
			if err := j.Close(); err != nil { // as if its disk were gone
				t.Fatalf("Close: %v", err)
			}
			c.Here.Journal = j
		})
		b := browser{}
		l.apps[0].visit(b, "/", l.apps[0].login(t, "alice"))
		l.readOnly(true)
		l.apps[0].visit(b, "/", shopping(t, "tea"))
		fails := func(_ http.ResponseWriter, r *http.Request, s *roam.Session) {
			if _, err := s.Destroy(r.Context()); !errors.Is(err, roam.ErrUnavailable) {
				t.Errorf("Destroy = %v, want ErrUnavailable", err)
			}
		}
		if res := l.apps[0].visit(b, "/", fails); setsCredential(res) != "" || !b.isSealed() {
			t.Errorf("after a logout that failed: credential %q, sealed %v; want untouched, sealed", setsCredential(res), b.isSealed())
		}
		if got := l.apps[0].show(t, b, "/"); got.user != "alice" {
			t.Errorf("after a logout that failed: %+v, want alice", got)
		}
	})
}

// A session that is too large is sealed by who its client is. It shows no
// fields, says so, and lets none be changed; the store's hold when it is back.
func TestTooLargeToSeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSealingLand(t, 1)
		a, b := l.apps[0], browser{}
		large := func(_ http.ResponseWriter, _ *http.Request, s *roam.Session) {
			if err := roam.Value[string]("large").Set(s, strings.Repeat("x", 4000)); err != nil {
				t.Errorf("Set: %v", err)
			}
		}
		a.visit(b, "/", a.login(t, "alice"))
		a.visit(b, "/", shopping(t, "tea"))
		a.visit(b, "/", large)
		l.readOnly(true)
		a.refuses(t, b, "/", shopping(t, "book"), roam.ErrUnavailable) // it would not go out
		a.visit(b, "/", renew)
		if !b.isSealed() {
			t.Fatal("not sealed by a renewal")
		}
		want := shown{state: roam.Live, rung: roam.Sealed, user: "alice", theme: "tea", visits: 1, basket: "tea"}
		if got := a.show(t, b, "/"); got != want {
			t.Errorf("while the store can be read: %+v, want %+v", got, want)
		}
		l.down(engine.ErrUnreachable)
		bare := shown{state: roam.Live, rung: roam.Sealed, user: "alice", missing: true}
		if got := a.show(t, b, "/"); got != bare {
			t.Errorf("while nobody can be read: %+v, want %+v", got, bare)
		}
		a.refuses(t, b, "/", change(t), roam.ErrUnavailable)
		a.visit(b, "/", renew)
		l.readOnly(false)
		l.down(nil)
		want.rung = roam.Normal
		if got := a.show(t, b, "/strict"); got != want || b.isSealed() {
			t.Errorf("after the heal: %+v, sealed %v; want %+v, taken in", got, b.isSealed(), want)
		}
	})
}

// Two tabs of which each has its own sealed copy: whichever is taken in first,
// nothing is lost and nothing counts twice.
func TestTwoTabsAreTakenIn(t *testing.T) {
	for _, order := range [][]int{{0, 1}, {1, 0}, {0, 0, 1}, {1, 0, 1, 0}, {0, 1, 0}} {
		synctest.Test(t, func(t *testing.T) {
			l := newSealingLand(t, 2)
			b := browser{}
			l.apps[0].visit(b, "/", shopping(t, "tea"))
			l.readOnly(true)
			l.apps[0].visit(b, "/", shopping(t, "cup"))
			tabs := []browser{b.clone(), b.clone()}
			for i, tab := range tabs {
				l.apps[i].visit(tab, "/", shopping(t, []string{"book", "pen"}[i]))
				time.Sleep(time.Second)
			}
			l.readOnly(false)
			last := browser{}
			for _, i := range order {
				last = tabs[i].clone()
				l.apps[i].show(t, last, "/")
			}
			l.replicate(0, 1)
			l.replicate(1, 0)
			want := shown{state: roam.Live, theme: "pen", visits: 4, basket: "book cup pen tea"}
			for i, a := range l.apps {
				if got := a.show(t, last.clone(), "/"); got != want {
					t.Errorf("order %v, Region %d: %+v, want %+v", order, i, got, want)
				}
			}
		})
	}
}

// A slow answer does not lose what a newer one has sealed: it clears no more
// than it brought, and that is another cookie.
func TestSlowAnswerKeepsWhatIsSealedSince(t *testing.T) {
	for _, brought := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			l := newSealingLand(t, 2)
			b := browser{}
			l.apps[0].visit(b, "/", shopping(t, "tea"))
			l.readOnly(true)
			if brought {
				l.apps[0].visit(b, "/", shopping(t, "cup"))
			}
			// Region 0 can be written to again, and answers late.
			l.cut(0, 1, engine.ErrUnreachable)
			l.engines[0].SetPrimary(true)
			time.Sleep(5 * time.Second)
			slow := b.clone()
			res := l.apps[0].visit(slow, "/", func(http.ResponseWriter, *http.Request, *roam.Session) {})
			l.engines[0].SetPrimary(false)
			l.cut(0, 1, nil)
			time.Sleep(5 * time.Second)
			l.apps[1].visit(b, "/", shopping(t, "book"))
			for _, c := range res.Cookies() { // overtaken
				if c.MaxAge < 0 {
					delete(b, c.Name)
				} else {
					b[c.Name] = c.Value
				}
			}
			if got := l.apps[1].show(t, b, "/"); got.theme != "book" {
				t.Errorf("brought %v: %+v, want book", brought, got)
			}
		})
	}
}

// A write from before a login whose answer comes after it does not undo the
// login, though both were sealed.
func TestSlowWriteKeepsSealedLogin(t *testing.T) {
	for _, brought := range []bool{false, true} {
		for range 4 { // the dice choose cookies
			synctest.Test(t, func(t *testing.T) {
				l := newSealingLand(t, 1)
				a, b := l.apps[0], browser{}
				a.visit(b, "/", shopping(t, "tea"))
				l.readOnly(true)
				if brought {
					a.visit(b, "/", shopping(t, "cup"))
				}
				slow := b.clone()
				a.visit(b, "/", a.login(t, "alice"))
				for _, c := range a.visit(slow, "/", shopping(t, "book")).Cookies() { // overtaken
					if c.MaxAge < 0 {
						delete(b, c.Name)
					} else {
						b[c.Name] = c.Value
					}
				}
				want := shown{state: roam.Live, rung: roam.Sealed, user: "alice", theme: "book", visits: 2, basket: "book tea"}
				if brought {
					want.visits, want.basket = 3, "book cup tea"
				}
				if got := a.show(t, b, "/"); got != want {
					t.Errorf("brought %v: %+v, want %+v", brought, got, want)
				}
			})
		}
	}
}
