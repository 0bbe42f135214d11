package roam_test

import (
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
)

// Where memory is kept free, an anonymous session is born in its cookie and
// stays there; there is room again, and it is taken in (DESIGN R13).
func TestFullMemorySealsBirths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, err := memory.New(1, memory.Config{Clock: clock, MaxBytes: 512 << 10, SweepInterval: time.Minute})
		if err != nil {
			t.Fatalf("memory.New: %v", err)
		}
		defer func() { _ = mem.Close() }()
		store, err := roam.Open(t.Context(), roam.Config{
			Here: roam.Region{ID: 1, Name: "here", Engine: mem}, WriteBudget: 50 * time.Millisecond, Clock: clock,
		})
		if err != nil {
			t.Fatalf("Open: %v", err)
		}
		defer func() { _ = store.Close() }()
		a := &app{store: store}
		o := a.options()
		o.Seal, o.Idle = true, 10*time.Minute
		a.sessions = a.manager(t, testKey("full"), o)
		member := browser{}
		a.visit(member, "/", a.login(t, "alice"))
		var b browser
		for !b.isSealed() {
			b = browser{}
			a.visit(b, "/", shopping(t, "tea"))
			if s := mem.Stats(); len(a.failures) > 0 || s.Bytes > s.MaxBytes*81/100 {
				t.Fatalf("%d of %d bytes: %v, sealed %v; want it sealed at 80 %%", s.Bytes, s.MaxBytes, a.failures, b.isSealed())
			}
		}
		for range 3 {
			if got := a.show(t, b, "/"); got.rung != roam.Sealed || got.basket != "tea" {
				t.Errorf("in full memory: %+v, want tea, sealed", got)
			}
		}
		if a.visit(member, "/", shopping(t, "book")); member.isSealed() || len(a.failures) > 0 {
			t.Errorf("a session that is there: sealed %v, %v; want it written", member.isSealed(), a.failures)
		}
		time.Sleep(7 * time.Minute)
		a.show(t, b, "/")           // a use, which is sealed
		time.Sleep(6 * time.Minute) // the others have idled out
		if got := a.show(t, b, "/strict"); got.rung != roam.Normal || got.basket != "tea" || b.isSealed() {
			t.Errorf("with room again: %+v, sealed %v; want tea, taken in", got, b.isSealed())
		}
	})
}

// A use that nobody can note is noted in a sealed cookie that is there, so that
// a session in use does not idle out; no cookie is made for it.
func TestUseIsSealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSealingLand(t, 2)
		for _, a := range l.apps {
			o := a.options()
			o.Seal, o.Idle = true, 4*time.Minute
			a.sessions = a.manager(t, testKey("land"), o)
		}
		a := l.apps[0]
		b, reader := browser{}, browser{}
		a.visit(b, "/", shopping(t, "tea"))
		a.visit(reader, "/", shopping(t, "tea"))
		l.readOnly(true)
		a.visit(b, "/", shopping(t, "book"))
		for range 6 {
			time.Sleep(2 * time.Minute)
			if got := a.show(t, b, "/"); got.theme != "book" {
				t.Fatalf("in use: %+v, want book", got)
			}
		}
		// Where nobody can tell of the session, the browser's token knows of no use.
		l.cut(0, 1, engine.ErrUnreachable)
		if got := l.apps[1].show(t, b, "/"); got.theme != "book" {
			t.Errorf("in use, where it was never heard of: %+v, want book", got)
		}
		if a.show(t, reader, "/"); reader.isSealed() {
			t.Error("a page that was looked at is sealed, want its session left where it is")
		}
	})
}

// The Region that a sealed session was born in stays away: another takes it in.
func TestSealedBirthOutlivesItsRegion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSealingLand(t, 3)
		l.down(engine.ErrUnreachable)
		b := browser{}
		l.apps[0].visit(b, "/", shopping(t, "tea"))
		l.down(nil)
		l.cut(0, 1, engine.ErrUnreachable)
		l.cut(0, 2, engine.ErrUnreachable)
		l.apps[1].refuses(t, b, "/strict", change(t), roam.ErrDoubtful)
		if got := l.apps[1].show(t, b, "/"); got.theme != "tea" || got.rung != roam.Stale || b.isSealed() {
			t.Errorf("in another Region: %+v, sealed %v; want tea, stale, taken in", got, b.isSealed())
		}
		if got := l.apps[1].show(t, b, "/strict"); got.theme != "tea" || got.rung != roam.Normal {
			t.Errorf("once taken in: %+v, want tea, normal", got)
		}
	})
}

// A login that was sealed is not taken in before its user's record knows of it
// (DESIGN R17), and a failure leaves everything as it is.
func TestSealedLoginIsNotedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, roam.Options{Seal: true})
		b := browser{}
		a.visit(b, "/", shopping(t, "tea"))
		a.engine.failWrites.Store(true)
		a.visit(b, "/", a.login(t, "alice"))
		a.engine.failWrites.Store(false)
		time.Sleep(5 * time.Second)
		var first atomic.Int64
		then := func() { first.Store(1); a.engine.failWrites.Store(true) } // the index gets through, nothing else
		a.engine.beforeApply.Store(&then)
		before := b.clone()
		if got := a.show(t, b, "/"); got.user != "alice" || got.rung != roam.Sealed || first.Load() != 1 {
			t.Errorf("while it can't be taken in: %+v, want alice, sealed", got)
		}
		if b[credentialName] != before[credentialName] || !maps.Equal(b.sealed(), before.sealed()) {
			t.Error("a failure to take it in changed the cookies")
		}
		rec, err := a.engine.Engine.Read(t.Context(), crdt.UserKey("alice"), crdt.Token{})
		if err != nil || len(rec.Sessions()) != 1 {
			t.Errorf("alice's record knows of %d sessions, %v; want 1", len(rec.Sessions()), err)
		}
		a.engine.failWrites.Store(false)
		time.Sleep(5 * time.Second)
		if got := a.show(t, b, "/strict"); got.user != "alice" || got.rung != roam.Normal || b.isSealed() {
			t.Errorf("afterwards: %+v, sealed %v; want alice, taken in", got, b.isSealed())
		}
	})
}

// Sealed cookies look like the others and are no larger than a browser keeps;
// they don't say what is in them, and each is told to whoever listens.
func TestSealedCookies(t *testing.T) {
	for _, cookie := range []roam.Cookie{{}, {Persistent: true, SameSite: http.SameSiteStrictMode}, {Plain: true, Name: strings.Repeat("n", 100)}} {
		synctest.Test(t, func(t *testing.T) {
			var sealed atomic.Int64
			l := newSealingLand(t, 1, func(_ int, c *roam.Config) {
				c.Observe = func(o roam.Observation) {
					if o.Answer.Rung == roam.Sealed && o.Act == roam.ActCreate {
						sealed.Add(1)
					}
				}
			})
			a := l.apps[0]
			o := a.options()
			o.Seal, o.Cookie = true, cookie
			a.sessions = a.manager(t, testKey("land"), o)
			l.down(engine.ErrUnreachable)
			longest, refused := 0, false
			for n := 1; !refused; n += 7 {
				a.failures = nil
				res := a.visit(browser{}, "/", func(_ http.ResponseWriter, _ *http.Request, s *roam.Session) {
					if err := theme.Set(s, strings.Repeat("x", n)); err != nil {
						t.Errorf("Set: %v", err)
					}
				})
				refused = len(a.failures) > 0
				for _, line := range res.Header.Values("Set-Cookie") {
					name, rest, _ := strings.Cut(line, "=")
					longest = max(longest, len(line))
					if strings.Contains(name, "-sealed") {
						checkSealedLine(t, rest, cookie)
					}
				}
			}
			if longest > 4096 || longest < 3500 {
				t.Errorf("longest Set-Cookie has %d bytes, want nearly 3,584", longest)
			}
			if sealed.Load() == 0 {
				t.Error("no sealed answer was observed")
			}
		})
	}
}

func checkSealedLine(t *testing.T, line string, c roam.Cookie) {
	t.Helper()
	want := []string{"Path=/", "Max-Age=899", "HttpOnly", "Secure", "SameSite=Lax"}
	switch {
	case c.SameSite != 0:
		want[4] = "SameSite=Strict"
	case c.Plain:
		want = slices.Delete(want, 3, 4)
	}
	line = strings.Replace(line, "Max-Age=900", "Max-Age=899", 1) // the tries took a while
	value, attributes, _ := strings.Cut(line, "; ")
	if attributes != strings.Join(want, "; ") {
		t.Errorf("sealed cookie has %q, want %q", attributes, want)
	}
	raw, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil || strings.Contains(string(raw), ".theme") || strings.Contains(string(raw), "xxxxxxxx") {
		t.Errorf("sealed cookie is not base64, %v, or shows what is in it: %.80q", err, value)
	}
}

// A key that was replaced still opens what it sealed.
func TestSealedByAnOldKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSealingLand(t, 1)
		a, b := l.apps[0], browser{}
		l.down(engine.ErrUnreachable)
		a.visit(b, "/", shopping(t, "tea"))
		o := a.options()
		o.Seal, o.OldKeys = true, [][]byte{testKey("land")}
		a.sessions = a.manager(t, testKey("next"), o)
		if got := a.show(t, b, "/"); got.theme != "tea" {
			t.Errorf("with the key as an old one: %+v, want tea", got)
		}
		a.visit(b, "/", renew)
		o.OldKeys = nil
		a.sessions = a.manager(t, testKey("next"), o)
		if got := a.show(t, b, "/"); got.theme != "tea" {
			t.Errorf("renewed, with the new key alone: %+v, want tea", got)
		}
	})
}

// An addition that may have been made is not made again in a cookie, however the
// outcome came to be unknown.
func TestUnknownAdditionIsNotSealed(t *testing.T) {
	type want struct {
		err    error
		sealed bool
	}
	for name, c := range map[string]struct {
		strike func(l *land, side *wire, r *http.Request)
		want   want
	}{
		"no answer":      {func(l *land, _ *wire, _ *http.Request) { l.down(engine.ErrUnavailable) }, want{roam.ErrUnknownOutcome, false}},
		"never sent":     {func(l *land, _ *wire, _ *http.Request) { l.down(engine.ErrUnreachable) }, want{nil, true}},
		"side is silent": {func(_ *land, side *wire, _ *http.Request) { side.fail(context.DeadlineExceeded) }, want{roam.ErrUnavailable, false}},
		"client is gone": {func(_ *land, _ *wire, r *http.Request) {
			ctx, cancel := context.WithCancel(r.Context())
			cancel()
			*r = *r.WithContext(ctx)
		}, want{roam.ErrUnavailable, false}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var side *wire
				l := newSealingLand(t, 1, func(_ int, c *roam.Config) {
					if name == "side is silent" {
						side = sideStore(t)
						c.Here.Side = side
					}
				})
				b := browser{}
				l.apps[0].visit(b, "/", shopping(t, "tea"))
				l.readOnly(name == "side is silent")
				l.apps[0].visit(b, "/", func(_ http.ResponseWriter, r *http.Request, s *roam.Session) {
					visits.Add(s, 1)
					c.strike(l, side, r)
				})
				var got error
				if len(l.apps[0].failures) > 0 {
					got = l.apps[0].failures[0]
				}
				if b.isSealed() != c.want.sealed || !errors.Is(got, c.want.err) {
					t.Errorf("sealed %v, %v; want %v, %v", b.isSealed(), got, c.want.sealed, c.want.err)
				}
			})
		})
	}
}

// A sealed cookie of another session than the credential's says nothing, and
// neither does one without a credential.
func TestSealedOfAnotherSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSealingLand(t, 1)
		mine, hers := browser{}, browser{}
		l.apps[0].visit(mine, "/", shopping(t, "tea"))
		l.apps[0].visit(hers, "/", l.apps[0].login(t, "alice"))
		l.readOnly(true)
		l.apps[0].visit(hers, "/", shopping(t, "book"))
		maps.Copy(mine, hers.sealed())
		if got := l.apps[0].show(t, mine, "/"); got.theme != "tea" || got.user != "" || got.rung != roam.Normal || !mine.isSealed() {
			t.Errorf("with another's sealed cookie: %+v, sealed %v; want tea, cookie untouched", got, mine.isSealed())
		}
		delete(mine, credentialName)
		if got := l.apps[0].show(t, mine, "/"); got.state != roam.New || got.user != "" {
			t.Errorf("without a credential: %+v, want new", got)
		}
		l.down(engine.ErrUnreachable)
		mine[credentialName] = "x"
		if got := l.apps[0].show(t, mine, "/"); got.state != roam.New || got.user != "" {
			t.Errorf("with a strange credential: %+v, want new", got)
		}
	})
}

// Nothing is sealed, and nothing sealed is looked at, unless a configuration
// says so.
func TestSealingIsOffByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSealingLand(t, 1)
		b := browser{}
		l.apps[0].visit(b, "/", shopping(t, "tea"))
		l.readOnly(true)
		off := &app{store: l.apps[0].store}
		off.sessions = off.manager(t, testKey("land"), off.options())
		b.visit(off.sessions, "/", shopping(t, "book"))
		if b.isSealed() || len(off.failures) != 1 {
			t.Errorf("sealed %v, failures %v; want an error", b.isSealed(), off.failures)
		}
		l.apps[0].visit(b, "/", shopping(t, "book"))
		b.visit(off.sessions, "/", func(_ http.ResponseWriter, _ *http.Request, s *roam.Session) {
			if theme.Get(s) != "tea" || s.Rung() != roam.Normal {
				t.Errorf("without Seal: %q, %v; want tea, normal", theme.Get(s), s.Rung())
			}
		})
	})
}

// Where nobody can tell of the session itself, what is known of its user's
// revocations is still held against it.
func TestSealedIsHeldAgainstRevocations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSealingLand(t, 3)
		b := browser{}
		l.readOnly(true)
		l.apps[0].visit(b, "/", l.apps[0].login(t, "alice")) // born in its cookie
		l.cut(0, 1, engine.ErrUnreachable)
		l.cut(0, 2, engine.ErrUnreachable)
		if got := l.apps[1].show(t, b.clone(), "/"); got.user != "alice" || got.rung != roam.Sealed {
			t.Errorf("where the Region of birth can't be asked: %+v, want alice, sealed", got)
		}
		l.engines[2].SetPrimary(true)
		time.Sleep(5 * time.Second)
		if _, err := l.apps[2].store.RevokeUser(t.Context(), "alice"); err != nil {
			t.Errorf("RevokeUser: %v", err)
		}
		l.replicate(2, 1)
		if got := l.apps[1].show(t, b, "/"); got.state != roam.LoggedOut || b.isSealed() {
			t.Errorf("after a revocation that was heard of: %+v, sealed %v; want logged out, cleared", got, b.isSealed())
		}
	})
}

// A page does not wait to have taken in what nobody could even be read for.
func TestNothingIsTakenInOfNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sealed atomic.Int64
		var all atomic.Uint64
		l := newSealingLand(t, 2, func(_ int, c *roam.Config) {
			c.Observe = func(o roam.Observation) {
				if o.Act == roam.ActRead && o.Answer.Rung == roam.Sealed {
					sealed.Add(1)
				}
				if o.Answer.Rung == roam.Sealed {
					all.Add(1)
				}
			}
		})
		b := browser{}
		l.down(engine.ErrUnavailable)
		l.apps[0].visit(b, "/", change(t))
		time.Sleep(time.Minute)
		var writes, reads atomic.Int64
		for from := range l.wires {
			for to := range l.wires {
				l.wires[from][to].hook = func(_ crdt.Key, write bool) error {
					if write {
						writes.Add(1)
					} else {
						reads.Add(1)
					}
					return nil
				}
			}
		}
		l.apps[0].show(t, b, "/")
		if writes.Load() > 0 || reads.Load() == 0 || sealed.Load() != 1 {
			t.Errorf("%d writes, %d reads were tried, %d sealed answers observed; want none, some, one", writes.Load(), reads.Load(), sealed.Load())
		}
		if c := l.apps[0].store.Counts(); c.Answers[roam.Sealed] != all.Load() || all.Load() < 2 || c.Answers[roam.Refused] == 0 {
			t.Errorf("counted %v, want the %d sealed answers and what was refused", c.Answers, all.Load())
		}
	})
}

// What a browser knows of revocations is held against its sealed session where
// nobody can be asked.
func TestSealedAndRevokedByItsBrowser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSealingLand(t, 2)
		b := browser{}
		l.apps[0].visit(b, "/", l.apps[0].login(t, "alice"))
		l.readOnly(true)
		l.apps[0].visit(b, "/", shopping(t, "tea"))
		l.readOnly(false)
		old := b.clone()
		l.apps[0].visit(b, "/", func(_ http.ResponseWriter, r *http.Request, _ *roam.Session) {
			if _, err := l.apps[0].store.RevokeUser(r.Context(), "alice"); err != nil {
				t.Errorf("RevokeUser: %v", err)
			}
		})
		l.down(engine.ErrUnreachable)
		if got := l.apps[0].show(t, old.clone(), "/"); got.user != "alice" {
			t.Errorf("where nobody can be asked, and the browser does not know: %+v, want alice", got)
		}
		old[seenName] = b[seenName]
		if got := l.apps[0].show(t, old, "/"); got.state != roam.LoggedOut || old.isSealed() {
			t.Errorf("with the browser's token: %+v, sealed %v; want logged out, cleared", got, old.isSealed())
		}
	})
}

// A store that comes back while the page is made takes in what is sealed with
// the page's own write; or it knows by then that the session has ended.
func TestTakenInWithTheWrite(t *testing.T) {
	for _, ends := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a := newApp(t, roam.Options{Seal: true})
			b := browser{}
			a.visit(b, "/", shopping(t, "tea"))
			phone := b.clone()
			a.engine.failWrites.Store(true)
			a.visit(b, "/", shopping(t, "cup"))
			a.visit(b, "/", func(w http.ResponseWriter, r *http.Request, s *roam.Session) {
				if s.Rung() != roam.Sealed {
					t.Errorf("rung is %v, want sealed", s.Rung())
				}
				a.engine.failWrites.Store(false)
				time.Sleep(5 * time.Second)
				if ends {
					a.visit(phone, "/", logout(t))
				}
				shopping(t, "book")(w, r, s)
			})
			if b.isSealed() || len(a.failures) > 0 {
				t.Errorf("ends %v: sealed %v, failures %v; want it cleared", ends, b.isSealed(), a.failures)
			}
			want := shown{state: roam.Live, theme: "book", visits: 3, basket: "book cup tea"}
			if ends {
				want = shown{state: roam.LoggedOut}
			}
			if got := a.show(t, b, "/"); got != want {
				t.Errorf("ends %v: %+v, want %+v", ends, got, want)
			}
		})
	}
}

// What is known of a user's revocations can't be read, but her session can: it is
// served by what is sealed, and by nothing once that is taken in.
func TestSealedWithoutRevocations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSealingLand(t, 1)
		a, b := l.apps[0], browser{}
		a.visit(b, "/", a.login(t, "alice"))
		l.readOnly(true)
		a.visit(b, "/", shopping(t, "tea"))
		l.wires[0][0].hook = func(k crdt.Key, _ bool) error {
			if k.Kind() == crdt.KindUser {
				return engine.ErrUnreachable
			}
			return nil
		}
		if got := a.show(t, b, "/"); got.user != "alice" || got.rung != roam.Sealed {
			t.Errorf("read-only: %+v, want alice, sealed", got)
		}
		l.readOnly(false)
		if got := a.show(t, b, "/"); got.user != "alice" || got.rung != roam.Stale || b.isSealed() {
			t.Errorf("taken in: %+v, sealed %v; want alice, stale", got, b.isSealed())
		}
		time.Sleep(time.Minute)
		a.refuses(t, b, "/", change(t), roam.ErrUnavailable)
	})
}
