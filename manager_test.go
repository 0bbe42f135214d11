package roam_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/engine"
)

func TestReadingMakesNothing(t *testing.T) {
	a := newApp(t, roam.Options{})
	s, res := a.look(browser{}, "/")
	reads, writes := a.engine.calls()
	if s.State() != roam.New || len(res.Cookies()) > 0 || reads+writes > 0 {
		t.Errorf("first look: %v, %d cookies, %d calls, want new, none, none", s.State(), len(res.Cookies()), reads+writes)
	}
	b := browser{}
	a.visit(b, "/", change(t))
	a.engine.calls()
	_, res = a.look(b, "/")
	reads, writes = a.engine.calls()
	if len(res.Cookies()) > 0 || reads != 1 || writes != 0 {
		t.Errorf("look at an anonymous session: %d cookies, %d reads, %d writes, want 0, 1, 0", len(res.Cookies()), reads, writes)
	}
}

// The credential is set when the session is made, at login and at renewal, and
// cleared at logout; at no other time, least of all when it is refused.
func TestWhenTheCredentialIsSet(t *testing.T) {
	a := newApp(t, roam.Options{})
	b := browser{}
	var planted browser
	nothing := func(http.ResponseWriter, *http.Request, *roam.Session) {}
	steps := []struct {
		name string
		do   handler
		want string
	}{
		{"look", nothing, ""},
		{"first change", change(t), "set"},
		{"look again", nothing, ""},
		{"change", change(t), ""},
		{"login", a.login(t, "alice"), "set"},
		{"look after login", nothing, ""},
		{"renew", renew, "set"},
		{"change after renewal", change(t), ""},
		{"logout", logout(t), "cleared"},
	}
	for _, step := range steps {
		if step.name == "login" {
			planted = b.clone()
		}
		if got := setsCredential(a.visit(b, "/", step.do)); got != step.want {
			t.Errorf("%s: credential %q, want %q", step.name, got, step.want)
		}
	}
	s, res := a.look(planted, "/")
	if s.State() != roam.LoggedOut || setsCredential(res) != "" {
		t.Errorf("old cookie: %v, credential %q, want logged out and untouched", s.State(), setsCredential(res))
	}
}

// Session fixation: whoever planted a cookie has nothing of it after the login.
func TestPlantedCookie(t *testing.T) {
	a := newApp(t, roam.Options{})
	attacker := browser{}
	a.visit(attacker, "/", change(t))
	victim := attacker.clone()
	a.visit(victim, "/", a.login(t, "alice"))
	for _, path := range []string{"/", "/strict"} {
		s, res := a.look(attacker, path)
		if s.State() != roam.Superseded || s.User() != "" || setsCredential(res) != "" {
			t.Errorf("planted cookie at %s: %v of %q, credential %q, want superseded, nobody's, untouched",
				path, s.State(), s.User(), setsCredential(res))
		}
		if s, _ := a.look(victim, path); s.State() != roam.Live || s.User() != "alice" {
			t.Errorf("the victim at %s: %v of %q, want live, alice's", path, s.State(), s.User())
		}
	}
	a.visit(attacker, "/", change(t))
	if s, _ := a.look(attacker, "/"); s.User() != "" {
		t.Errorf("the attacker after a change is %q, want nobody", s.User())
	}
}

func TestLoginKeepsTheSessionOfItsUserOnly(t *testing.T) {
	a := newApp(t, roam.Options{})
	b := browser{}
	a.visit(b, "/", change(t))
	a.visit(b, "/", a.login(t, "alice"))
	s, _ := a.look(b, "/")
	if s.User() != "alice" || theme.Get(s) != "dark" {
		t.Errorf("after login: %q with theme %q, want alice with dark", s.User(), theme.Get(s))
	}
	alice, before := b.clone(), s.Fingerprint()
	a.visit(b, "/", a.login(t, "bob"))
	s, _ = a.look(b, "/")
	if s.User() != "bob" || theme.Get(s) != "" || s.Fingerprint() == before {
		t.Errorf("after login of another: %q with theme %q in %s, want bob, none, not %s", s.User(), theme.Get(s), s.Fingerprint(), before)
	}
	if s, _ := a.look(alice, "/"); s.State() != roam.LoggedOut {
		t.Errorf("the session before is %v, want logged out", s.State())
	}
}

func TestRenewGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, roam.Options{})
		b := browser{}
		a.visit(b, "/", change(t))
		old := b.clone()
		a.visit(b, "/", renew)
		time.Sleep(10*time.Second - time.Millisecond)
		if s, _ := a.look(old, "/"); s.State() != roam.Live {
			t.Errorf("old secret just before 10 s: %v, want live", s.State())
		}
		time.Sleep(time.Millisecond)
		s, res := a.look(old, "/")
		if s.State() != roam.Superseded || setsCredential(res) != "" {
			t.Errorf("old secret at 10 s: %v, credential %q, want superseded, untouched", s.State(), setsCredential(res))
		}
		if s, _ := a.look(b, "/"); s.State() != roam.Live {
			t.Errorf("new secret: %v, want live", s.State())
		}
	})
}

func TestIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, roam.Options{Lifetime: time.Hour, Idle: 10 * time.Minute})
		b := browser{}
		a.visit(b, "/", change(t))
		for range 4 { // in use, it lasts
			time.Sleep(8 * time.Minute)
			if s, _ := a.look(b, "/"); s.State() != roam.Live {
				t.Fatalf("in use every 8 min: %v, want live", s.State())
			}
		}
		time.Sleep(10 * time.Minute)
		if s, res := a.look(b, "/"); s.State() != roam.Expired || len(res.Cookies()) > 0 {
			t.Errorf("after 10 min unused: %v, %d cookies, want expired, none", s.State(), len(res.Cookies()))
		}
	})
}

// Where no write gets through, pages that only read go out, though the use of
// the session can't be noted.
func TestReadingGoesOnWhileWritesFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, roam.Options{Lifetime: time.Hour, Idle: 10 * time.Minute})
		b := browser{}
		a.visit(b, "/", a.login(t, "alice"))
		time.Sleep(5 * time.Minute)
		a.engine.failWrites.Store(true)
		for _, path := range []string{"/", "/strict"} {
			start := time.Now()
			s, res := a.look(b, path)
			if s.User() != "alice" || res.StatusCode != http.StatusOK || len(a.failures) > 0 {
				t.Errorf("%s: %d for %q, OnError %v, want 200 for alice, none", path, res.StatusCode, s.User(), a.failures)
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("%s: took %v, want at most 1 s", path, took)
			}
		}
		if _, writes := a.engine.calls(); writes == 0 {
			t.Error("no touch was tried, so nothing was shown")
		}
	})
}

func TestAbsoluteLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, roam.Options{Lifetime: time.Hour, Idle: 10 * time.Minute})
		b := browser{}
		a.visit(b, "/", a.login(t, "alice"))
		for range 11 {
			time.Sleep(5 * time.Minute)
			a.visit(b, "/", renew)
		}
		time.Sleep(5*time.Minute - 2*time.Second)
		if s, _ := a.look(b, "/"); s.State() != roam.Live {
			t.Errorf("just before the hour: %v, want live", s.State())
		}
		time.Sleep(2 * time.Second)
		a.engine.calls()
		s, _ := a.look(b, "/")
		if reads, _ := a.engine.calls(); s.State() != roam.Expired || reads > 0 {
			t.Errorf("after the hour: %v with %d reads, want expired without any", s.State(), reads)
		}
	})
}

// However the first byte goes out, the session was committed before it.
func TestCommitBeforeTheFirstByte(t *testing.T) {
	a := newApp(t, roam.Options{})
	for name, send := range map[string]func(http.ResponseWriter) error{
		"Write":       func(w http.ResponseWriter) error { _, err := io.WriteString(w, "x"); return err },
		"WriteHeader": func(w http.ResponseWriter) error { w.WriteHeader(http.StatusTeapot); return nil },
		"Flusher":     func(w http.ResponseWriter) error { w.(http.Flusher).Flush(); return nil },
		"controller":  func(w http.ResponseWriter) error { return http.NewResponseController(w).Flush() },
		"nothing":     func(http.ResponseWriter) error { return nil },
	} {
		b := browser{}
		res := a.visit(b, "/", func(w http.ResponseWriter, r *http.Request, s *roam.Session) {
			change(t)(w, r, s)
			if err := send(w); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
		s, _ := a.look(b, "/")
		if setsCredential(res) != "set" || theme.Get(s) != "dark" {
			t.Errorf("%s: credential %q, theme %q, want set, dark", name, setsCredential(res), theme.Get(s))
		}
	}
}

// Informational answers go out at once, and cookies with the final one.
func TestHintsDoNotCommit(t *testing.T) {
	a := newApp(t, roam.Options{})
	server := httptest.NewServer(a.sessions.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		change(t)(w, r, roam.FromContext(r.Context()))
	})))
	defer server.Close()
	res, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK || setsCredential(res) != "set" {
		t.Errorf("answer after a 103 = %d, credential %q, want 200, set", res.StatusCode, setsCredential(res))
	}
}

func TestChangesAfterTheFirstByteAreNotWritten(t *testing.T) {
	a := newApp(t, roam.Options{})
	b := browser{}
	a.visit(b, "/", change(t))
	a.visit(b, "/", func(w http.ResponseWriter, _ *http.Request, s *roam.Session) {
		_, _ = io.WriteString(w, "x")
		if err := theme.Set(s, "late"); err != nil {
			t.Errorf("Set: %v", err)
		}
	})
	if s, _ := a.look(b, "/"); theme.Get(s) != "dark" {
		t.Errorf("theme = %q, want dark", theme.Get(s))
	}
}

// An answer that claims what was not written never goes out: not its body, its
// status, its headers or its cookies.
func TestFailedCommit(t *testing.T) {
	a := newApp(t, roam.Options{})
	a.engine.failWrites.Store(true)
	res := a.visit(browser{}, "/", func(w http.ResponseWriter, r *http.Request, s *roam.Session) {
		change(t)(w, r, s)
		w.Header().Set("Location", "/thanks")
		w.Header().Set("Content-Length", "6")
		w.WriteHeader(http.StatusSeeOther)
		_, _ = io.WriteString(w, "thanks")
	})
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusServiceUnavailable || string(body) != "on error\n" {
		t.Errorf("answer = %d %q %v, want 503 from OnError alone", res.StatusCode, body, err)
	}
	if l := res.Header.Get("Location") + res.Header.Get("Content-Length"); l != "" || len(res.Cookies()) > 0 {
		t.Errorf("answer has %q of the handler's headers and %d cookies, want none", l, len(res.Cookies()))
	}
	if len(a.failures) != 1 || !errors.Is(a.failures[0], roam.ErrUnavailable) {
		t.Errorf("OnError was given %v, want one ErrUnavailable", a.failures)
	}
}

func TestDefaultErrorPage(t *testing.T) {
	a := newApp(t, roam.Options{})
	m := a.manager(t, testKey("first"), roam.Options{})
	a.engine.failWrites.Store(true)
	res := browser{}.visit(m, "/", change(t))
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || len(res.Cookies()) > 0 {
		t.Errorf("answer = %d, Retry-After %q, %d cookies, want 503, some, none", res.StatusCode, res.Header.Get("Retry-After"), len(res.Cookies()))
	}
}

// A session may end while a request of its client is under way. Nothing is
// brought back: a Safe page goes out without its changes, a Strict one doesn't.
func TestEndedMeanwhile(t *testing.T) {
	a := newApp(t, roam.Options{})
	for path, want := range map[string]int{"/": http.StatusOK, "/strict": http.StatusServiceUnavailable} {
		b := browser{}
		a.visit(b, "/", a.login(t, "alice"))
		other := b.clone()
		a.failures = nil
		res := a.visit(b, path, func(w http.ResponseWriter, r *http.Request, s *roam.Session) {
			a.visit(other, "/", logout(t))
			change(t)(w, r, s)
		})
		if res.StatusCode != want || setsCredential(res) != "" {
			t.Errorf("%s: %d, credential %q, want %d, untouched", path, res.StatusCode, setsCredential(res), want)
		}
		if refused := len(a.failures) == 1 && errors.Is(a.failures[0], roam.ErrEnded); refused != (path == "/strict") {
			t.Errorf("%s: OnError was given %v", path, a.failures)
		}
		if s, _ := a.look(b, path); s.State() != roam.LoggedOut {
			t.Errorf("%s: session is %v, want logged out", path, s.State())
		}
	}
}

// Who logs in while the session under her ends gets a fresh one.
func TestLoginOfASessionThatEnds(t *testing.T) {
	a := newApp(t, roam.Options{})
	b := browser{}
	a.visit(b, "/", change(t))
	other := b.clone()
	res := a.visit(b, "/", func(w http.ResponseWriter, r *http.Request, s *roam.Session) {
		a.visit(other, "/", logout(t))
		a.login(t, "alice")(w, r, s)
	})
	if s, _ := a.look(b, "/"); s.User() != "alice" || setsCredential(res) != "set" {
		t.Errorf("after the login: %v of %q, credential %q, want alice's, set", s.State(), s.User(), setsCredential(res))
	}
}

// A logout that neither the engine nor the journal takes is none.
func TestFailedDestroyLeavesTheSession(t *testing.T) {
	a := newApp(t, roam.Options{})
	b := browser{}
	a.visit(b, "/", a.login(t, "alice"))
	a.engine.failWrites.Store(true)
	_ = a.journal.Close()
	res := a.visit(b, "/", func(_ http.ResponseWriter, r *http.Request, s *roam.Session) {
		if _, err := s.Destroy(r.Context()); !errors.Is(err, roam.ErrUnavailable) {
			t.Errorf("Destroy() = %v, want ErrUnavailable", err)
		}
	})
	a.engine.failWrites.Store(false)
	if s, _ := a.look(b, "/"); s.User() != "alice" || setsCredential(res) != "" {
		t.Errorf("after a failed logout: %q, credential %q, want alice, untouched", s.User(), setsCredential(res))
	}
}

func TestRevokeUser(t *testing.T) {
	a := newApp(t, roam.Options{})
	laptop, phone, bob := browser{}, browser{}, browser{}
	a.visit(laptop, "/", a.login(t, "alice"))
	a.visit(phone, "/", a.login(t, "alice"))
	a.visit(bob, "/", a.login(t, "bob"))
	tab := browser{}
	var begun roam.Auth
	a.visit(tab, "/", func(_ http.ResponseWriter, r *http.Request, _ *roam.Session) {
		begun, _ = a.store.BeginAuth(r.Context(), "alice") // and she is still typing
	})
	res := a.visit(laptop, "/", func(_ http.ResponseWriter, r *http.Request, _ *roam.Session) {
		told, err := a.store.RevokeUser(r.Context(), "alice")
		if err != nil || !told.Everywhere() || len(told.Have) != 1 || told.Have[0] != "here" {
			t.Errorf("RevokeUser() = %+v, %v, want here alone", told, err)
		}
	})
	if got := setsCredential(res); got != "cleared" {
		t.Errorf("the browser that revoked: credential %q, want cleared", got)
	}
	a.visit(tab, "/", func(_ http.ResponseWriter, _ *http.Request, s *roam.Session) { s.Login(begun) })
	for name, b := range map[string]browser{"other browser": phone, "login under way": tab} {
		if s, _ := a.look(b, "/"); s.State() != roam.LoggedOut || s.User() != "" {
			t.Errorf("%s: %v of %q, want logged out", name, s.State(), s.User())
		}
	}
	if s, _ := a.look(bob, "/"); s.User() != "bob" {
		t.Errorf("another user is %q, want bob", s.User())
	}
	a.visit(laptop, "/", a.login(t, "alice"))
	if s, _ := a.look(laptop, "/"); s.User() != "alice" {
		t.Errorf("after a new login: %v of %q, want alice", s.State(), s.User())
	}
}

// A revocation is forgotten when no session can be older; so an authentication
// that begins before one may not end at any time after.
func TestAuthenticationTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, roam.Options{})
		b := browser{}
		var begun roam.Auth
		a.visit(b, "/", func(_ http.ResponseWriter, r *http.Request, _ *roam.Session) {
			begun, _ = a.store.BeginAuth(r.Context(), "alice")
		})
		<-time.After(61 * time.Minute)
		a.visit(b, "/", func(_ http.ResponseWriter, _ *http.Request, s *roam.Session) { s.Login(begun) })
		if len(a.failures) != 1 || !errors.Is(a.failures[0], roam.ErrAuthExpired) {
			t.Errorf("failures = %v, want ErrAuthExpired", a.failures)
		}
		if s, _ := a.look(b, "/"); s.User() != "" {
			t.Errorf("logged in as %q by an authentication an hour old", s.User())
		}
	})
}

// A revocation that is made while the session is being written is remembered by
// the browser all the same.
func TestRevocationDuringCommit(t *testing.T) {
	a := newApp(t, roam.Options{})
	b := browser{}
	a.visit(b, "/", change(t))
	without := len(b[credentialName+"-seen"])
	a.visit(b, "/", func(w http.ResponseWriter, r *http.Request, s *roam.Session) {
		revoke := func() {
			if _, err := a.store.RevokeUser(r.Context(), "bob"); err != nil {
				t.Errorf("RevokeUser: %v", err)
			}
		}
		a.engine.beforeApply.Store(&revoke)
		change(t)(w, r, s)
	})
	if with := len(b[credentialName+"-seen"]); with <= without {
		t.Errorf("the token has %d characters, as before the revocation; want it to carry the epoch", with)
	}
}

// A handler that gives up half way leaves the session as it was.
func TestPanicCommitsNothing(t *testing.T) {
	a := newApp(t, roam.Options{})
	func() {
		defer func() {
			if got, _ := recover().(error); !errors.Is(got, http.ErrAbortHandler) {
				t.Errorf("recovered %v, want ErrAbortHandler", got)
			}
		}()
		a.visit(browser{}, "/", func(w http.ResponseWriter, r *http.Request, s *roam.Session) {
			change(t)(w, r, s)
			panic(http.ErrAbortHandler) // invariant of net/http: this ends a request
		})
	}()
	if _, writes := a.engine.calls(); writes != 0 {
		t.Errorf("%d writes after a panic, want 0", writes)
	}
}

func TestGoroutinesShareASession(t *testing.T) {
	const hits roam.Counter = "hits"
	a := newApp(t, roam.Options{})
	b := browser{}
	a.visit(b, "/", func(_ http.ResponseWriter, _ *http.Request, s *roam.Session) {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				hits.Add(s, 1)
				_ = s.User() + s.Fingerprint()
			})
		}
		all.Wait()
	})
	if s, _ := a.look(b, "/"); hits.Get(s) != 8 {
		t.Errorf("hits = %d, want 8", hits.Get(s))
	}
}

func TestFromContextOutsidePanics(t *testing.T) {
	defer func() {
		if got, ok := recover().(string); !ok || !strings.Contains(got, "Manager.Wrap") {
			t.Errorf("panic = %v, want one that names Manager.Wrap", got)
		}
	}()
	roam.FromContext(t.Context())
}

var _ engine.Wrapper = (*probe)(nil)
