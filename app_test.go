package roam_test

import (
	"context"
	"crypto/sha256"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/journal"
)

// testKey returns a cookie key that is the same in every run.
func testKey(name string) []byte {
	sum := sha256.Sum256([]byte("test key " + name))
	return sum[:]
}

// A probe is an engine that counts the calls made to it and can be told to fail.
type probe struct {
	engine.Engine
	reads, writes atomic.Int64
	failWrites    atomic.Bool
	beforeApply   atomic.Pointer[func()] // runs once, before the next write
}

func (p *probe) Unwrap() engine.Engine { return p.Engine }

func (p *probe) Read(ctx context.Context, k crdt.Key, seen crdt.Token) (crdt.Record, error) {
	p.reads.Add(1)
	return p.Engine.Read(ctx, k, seen)
}

func (p *probe) Apply(ctx context.Context, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	p.writes.Add(1)
	if p.failWrites.Load() {
		return crdt.Dot{}, engine.ErrUnreachable
	}
	if f := p.beforeApply.Swap(nil); f != nil {
		(*f)()
	}
	return p.Engine.Apply(ctx, k, op)
}

// calls returns how many calls were made since it was last asked.
func (p *probe) calls() (reads, writes int64) { return p.reads.Swap(0), p.writes.Swap(0) }

// An app is a manager over one Region in memory. Paths that begin with /strict
// are Strict.
type app struct {
	store    *roam.Store
	sessions *roam.Manager
	engine   *probe
	journal  *journal.Journal
	failures []error // what OnError was given
}

// clock is time.Now moved on, since a synctest bubble begins in the year 2000,
// where Roam's time has not.
func clock() time.Time { return time.Now().AddDate(30, 0, 0) }

func newApp(t testing.TB, o roam.Options) *app {
	t.Helper()
	mem, err := memory.New(1, memory.Config{Clock: clock})
	if err != nil {
		t.Fatalf("memory.New: %v", err)
	}
	a := &app{engine: &probe{Engine: mem}}
	if a.journal, err = journal.New(1, journal.Config{Clock: clock}); err != nil {
		t.Fatalf("journal.New: %v", err)
	}
	a.store, err = roam.Open(t.Context(), roam.Config{
		Here:        roam.Region{ID: 1, Name: "here", Engine: a.engine, Journal: a.journal},
		WriteBudget: 400 * time.Millisecond,
		Clock:       clock,
	})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := a.store.Close(); err != nil {
			t.Errorf("Store.Close() = %v, want nil", err)
		}
		if err := mem.Close(); err != nil {
			t.Errorf("Engine.Close() = %v, want nil", err)
		}
	})
	if o.OnError == nil {
		o.OnError = a.options().OnError
	}
	o.Class = a.options().Class
	a.sessions = a.manager(t, testKey("first"), o)
	return a
}

// options notes what OnError is given, and makes paths below /strict Strict.
func (a *app) options() roam.Options {
	return roam.Options{
		OnError: func(w http.ResponseWriter, _ *http.Request, err error) {
			a.failures = append(a.failures, err)
			http.Error(w, "on error", http.StatusServiceUnavailable)
		},
		Class: func(r *http.Request) roam.Class {
			if strings.HasPrefix(r.URL.Path, "/strict") {
				return roam.Strict
			}
			return roam.Safe
		},
	}
}

// manager returns another manager over the same store.
func (a *app) manager(t testing.TB, key []byte, o roam.Options) *roam.Manager {
	t.Helper()
	m, err := roam.NewManager(a.store, key, o)
	if err != nil {
		t.Fatalf("NewManager: %v", err)
	}
	return m
}

// A browser keeps cookies, by name.
type browser map[string]string

func (b browser) clone() browser { return maps.Clone(b) }

// A handler is what a test does in one request.
type handler func(w http.ResponseWriter, r *http.Request, s *roam.Session)

// visit makes one request at path to a's manager.
func (a *app) visit(b browser, path string, h handler) *http.Response {
	return b.visit(a.sessions, path, h)
}

// visit makes one request at path to m and takes the cookies of the answer.
func (b browser) visit(m *roam.Manager, path string, h handler) *http.Response {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for name, value := range b {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h(w, r, roam.FromContext(r.Context()))
	})).ServeHTTP(w, r)
	res := w.Result()
	for _, c := range res.Cookies() {
		if c.MaxAge < 0 {
			delete(b, c.Name)
		} else {
			b[c.Name] = c.Value
		}
	}
	return res
}

// look makes a request that changes nothing and returns its session.
func (a *app) look(b browser, path string) (s *roam.Session, res *http.Response) {
	res = a.visit(b, path, func(_ http.ResponseWriter, _ *http.Request, got *roam.Session) { s = got })
	return s, res
}

const theme roam.Value[string] = "theme"

// change is a request that changes a field.
func change(t testing.TB) handler {
	return func(_ http.ResponseWriter, _ *http.Request, s *roam.Session) {
		if err := theme.Set(s, "dark"); err != nil {
			t.Errorf("Set: %v", err)
		}
	}
}

// login is a request that logs user in.
func (a *app) login(t testing.TB, user string) handler {
	return func(_ http.ResponseWriter, r *http.Request, s *roam.Session) {
		auth, err := a.store.BeginAuth(r.Context(), user)
		if err != nil {
			t.Errorf("BeginAuth(%q): %v", user, err)
		}
		s.Login(auth)
	}
}

// logout is a request that logs out.
func logout(t testing.TB) handler {
	return func(_ http.ResponseWriter, r *http.Request, s *roam.Session) {
		if _, err := s.Destroy(r.Context()); err != nil {
			t.Errorf("Destroy: %v", err)
		}
	}
}

func renew(_ http.ResponseWriter, _ *http.Request, s *roam.Session) { s.Renew() }

const (
	credentialName = "__Host-roam"
	seenName       = "__Host-roam-seen"
)

// setsCredential says what an answer does to the credential: "set", "cleared"
// or "".
func setsCredential(res *http.Response) string {
	for _, c := range res.Cookies() {
		switch {
		case c.Name != credentialName:
		case c.MaxAge < 0:
			return "cleared"
		default:
			return "set"
		}
	}
	return ""
}
