//go:build integration

package sidebyside_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/redis/go-redis/v9"

	"github.com/roam-sessions/roam"
	roamvalkey "github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/sidebyside"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// A library is how a handler has its sessions.
type library interface {
	wrap(next http.Handler) http.Handler
	get(r *http.Request, name string) string
	set(r *http.Request, name, value string) error
	login(r *http.Request, user string) error
}

// ours is Roam.
type ours struct {
	store    *roam.Store
	sessions *roam.Manager
}

func newOurs(b *testing.B, e *roamvalkey.Engine) ours {
	b.Helper()
	store, err := roam.Open(b.Context(), roam.Config{
		Here: roam.Region{ID: 1, Name: "here", Engine: e},
		// A call that waits for 256 others on a busy machine is no outage.
		LocalTimeout: 2 * time.Second, WriteBudget: 5 * time.Second,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := store.Close(); err != nil {
			b.Error(err)
		}
	})
	sessions, err := roam.NewManager(store, bytes.Repeat([]byte("k"), 32), roam.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return ours{store, sessions}
}

func (o ours) wrap(next http.Handler) http.Handler { return o.sessions.Wrap(next) }

func (o ours) get(r *http.Request, name string) string {
	return roam.Value[string](name).Get(roam.FromContext(r.Context()))
}

func (o ours) set(r *http.Request, name, value string) error {
	return roam.Value[string](name).Set(roam.FromContext(r.Context()), value)
}

func (o ours) login(r *http.Request, user string) error {
	auth, err := o.store.BeginAuth(r.Context(), user)
	if err == nil {
		roam.FromContext(r.Context()).Login(auth)
	}
	return err
}

// theirs is scs with goredisstore.
type theirs struct{ sessions *scs.SessionManager }

// newTheirs returns scs as it comes, but for its idle timeout.
func newTheirs(b *testing.B, addr string, idle time.Duration) theirs {
	b.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr})
	b.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.Error(err)
		}
	})
	s := scs.New()
	s.Store, s.IdleTimeout = goredisstore.New(c), idle
	return theirs{s}
}

func (s theirs) wrap(next http.Handler) http.Handler { return s.sessions.LoadAndSave(next) }

func (s theirs) get(r *http.Request, name string) string {
	return s.sessions.GetString(r.Context(), name)
}

func (s theirs) set(r *http.Request, name, value string) error {
	s.sessions.Put(r.Context(), name, value)
	return nil
}

func (s theirs) login(r *http.Request, user string) error {
	err := s.sessions.RenewToken(r.Context()) // as its documentation asks for
	s.sessions.Put(r.Context(), "user", user)
	return err
}

// rewritten is the number whose text the page that writes sets.
const rewritten = fields

// site is the handler. It is the same for both.
func site(l library) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /read", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(l.get(r, fieldName(0)) + l.get(r, fieldName(1)))) // an answer never fails
	})
	change := func(do func(r *http.Request) error) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			if err := do(r); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.WriteHeader(http.StatusOK)
		}
	}
	mux.HandleFunc("POST /write", change(func(r *http.Request) error { return l.set(r, fieldName(0), text(rewritten)) }))
	mux.HandleFunc("POST /login", change(func(r *http.Request) error {
		errs := []error{l.login(r, r.URL.RawQuery)}
		for f := range fields {
			errs = append(errs, l.set(r, fieldName(f), text(f)))
		}
		return errors.Join(errs...)
	}))
	return l.wrap(mux)
}

// answer is what a handler answers, kept as httptest does it, with less around it.
type answer struct {
	header http.Header
	code   int
	body   []byte
}

// Header returns the answer's.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader keeps the code.
func (a *answer) WriteHeader(code int) { a.code = code }

// Write keeps what is written.
func (a *answer) Write(p []byte) (int, error) {
	if a.code == 0 {
		a.code = http.StatusOK
	}
	a.body = append(a.body, p...)
	return len(p), nil
}

// A town is the site with the cookies of its visitors.
type town struct {
	handler http.Handler
	cookies []string // by visitor
	users   atomic.Int64
	wrote   [visitors]atomic.Bool
}

// newTown logs its visitors in.
func newTown(b *testing.B, l library) *town {
	b.Helper()
	t := &town{handler: site(l), cookies: make([]string, visitors)}
	each(b, "visitors", visitors, func(ctx context.Context, i int) error {
		got, err := t.visit(ctx, "POST", fmt.Sprint("/login?visitor", i), "")
		if err != nil {
			return err
		}
		for _, line := range got.header["Set-Cookie"] {
			c, err := http.ParseSetCookie(line)
			if err != nil {
				return err
			}
			if t.cookies[i] != "" {
				t.cookies[i] += "; "
			}
			t.cookies[i] += c.Name + "=" + c.Value
		}
		return nil
	})
	return t
}

// visit makes a request, as a server does once it has parsed it.
func (t *town) visit(ctx context.Context, method, path, cookies string) (*answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://site.test"+path, nil)
	if err != nil {
		return nil, err
	}
	if cookies != "" {
		r.Header["Cookie"] = []string{cookies}
	}
	a := &answer{header: http.Header{}}
	if t.handler.ServeHTTP(a, r); a.code != http.StatusOK {
		return a, fmt.Errorf("%s %s = %d %s", method, path, a.code, a.body)
	}
	return a, nil
}

func (t *town) read(ctx context.Context, i int) error {
	got, err := t.visit(ctx, "GET", "/read", t.cookies[i%visitors])
	if err != nil {
		return err
	}
	first := text(0)
	if t.wrote[i%visitors].Load() {
		first = text(rewritten)
	}
	if string(got.body) != first+text(1) {
		return fmt.Errorf("visitor %d is shown %q, want %q", i, got.body, first+text(1))
	}
	return nil
}

func (t *town) write(ctx context.Context, i int) error {
	_, err := t.visit(ctx, "POST", "/write", t.cookies[i%visitors])
	if err == nil {
		t.wrote[i%visitors].Store(true)
	}
	return err
}

func (t *town) login(ctx context.Context, _ int) error {
	got, err := t.visit(ctx, "POST", fmt.Sprint("/login?user", t.users.Add(1)), "")
	if err == nil && len(got.header["Set-Cookie"]) == 0 {
		err = errors.New("a login set no cookie")
	}
	return err
}

// BenchmarkPages is of one handler behind Roam and behind scs.
func BenchmarkPages(b *testing.B) {
	s := valkeytest.Start(b)
	roams := newTown(b, newOurs(b, open(b, 1, roamvalkey.Config{Addrs: []string{s.Addr}})))
	plain, idle := newTown(b, newTheirs(b, s.Addr, 0)), newTown(b, newTheirs(b, s.Addr, 30*time.Minute))
	b.Run("read", func(b *testing.B) { eachClients(b, sidebyside.PageReads, roams.read, plain.read, 1, 16, 256) })
	b.Run("idle", func(b *testing.B) { eachClients(b, sidebyside.PageIdle, roams.read, idle.read, 16) })
	b.Run("write", func(b *testing.B) { eachClients(b, sidebyside.PageWrites, roams.write, plain.write, 1, 16, 256) })
	each(b, "what Roam wrote", visitors, roams.read)
	each(b, "what scs wrote", visitors, plain.read)
	b.Run("login", func(b *testing.B) { eachClients(b, sidebyside.PageLogsIn, roams.login, plain.login, 1, 16, 256) })
}

// BenchmarkNearPages is the same with a near-cache, which is of a server of its own as in
// BenchmarkNear.
func BenchmarkNearPages(b *testing.B) {
	s := valkeytest.Start(b)
	near, plain := newTown(b, newOurs(b, openNear(b, s.Addr))), newTown(b, newTheirs(b, s.Addr, 0))
	eachClients(b, sidebyside.PageNear, near.read, plain.read, 1, 16, 256)
}
