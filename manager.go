package roam

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/proof"
	"github.com/roam-sessions/roam/internal/router"
)

// Options is how a Manager behaves. Zero fields take their defaults.
type Options struct {
	// Lifetime is how long a session lasts at most, used or not. Default 24 h
	// (NIST SP 800-63B, AAL2); at most 399 days, a day less than
	// crdt.MaxLifetime: clocks differ, and authentications take their time.
	Lifetime time.Duration
	// Idle is how long a session lasts unused. Default 30 min; negative: for
	// ever. It may end up to a tenth early, since uses are not all written down.
	Idle time.Duration
	// Class says what a route may be given. Default: Safe for all.
	Class func(*http.Request) Class
	// Entrance names the routes where a user may begin anew, such as the login
	// form. Where it can't be told whether her session is gone, these are let
	// through with the State Unknown instead of an error; nothing but a login
	// takes its place. Without one, who had a session that only a dead Region
	// knows can't get in until that Region is back. Default: none.
	Entrance func(*http.Request) bool
	// OnError answers a request whose session can't be loaded or written.
	// Default: 503 with Retry-After, or 409 for ErrEnded. No cookie is set or cleared with it.
	OnError func(http.ResponseWriter, *http.Request, error)
	// Seal says what happens to a write on a Safe route that no Region and no side
	// store can take. Default false: the request gets an error. True: the session
	// travels encrypted in a cookie until a Region takes it in, for 15 minutes at
	// most; meanwhile a copy of that cookie, with its credential, can be replayed
	// where nobody can be asked whether it was logged out. Every Region must have
	// the same setting: sealed cookies are ignored where it is false.
	Seal bool
	// Cookie is how cookies look.
	Cookie Cookie
	// OldKeys are cookie keys that are still accepted.
	OldKeys [][]byte
}

// Cookie is how the cookies look. The zero value is a __Host- cookie that is
// Secure, HttpOnly, SameSite=Lax and gone when the browser is closed.
type Cookie struct {
	// Name of the credential, without the prefix. Default "roam". The token's is
	// the same with "-seen", those of sealed sessions with "-sealed" and a number;
	// these last end after 15 minutes, whether or not the browser is closed.
	Name string
	// Plain leaves out Secure and the __Host- prefix, for development over http.
	Plain bool
	// SameSite, default Lax.
	SameSite http.SameSite
	// Persistent keeps the cookies for the session's lifetime ("remember me").
	Persistent bool
}

const maxLifetime = crdt.MaxLifetime - 24*time.Hour

// A Manager is the middleware that gives requests their sessions. It may be used
// by many goroutines.
type Manager struct {
	store   *Store
	keys    proof.Keyring
	options Options
}

// NewManager returns the middleware over store. Cookies are signed with key, 32
// random bytes or more, the same in every Region. It fails if a key is too short
// or an option makes no sense.
func NewManager(store *Store, key []byte, o Options) (*Manager, error) {
	keys, err := proof.NewKeyring(append([][]byte{key}, o.OldKeys...)...)
	if err != nil {
		return nil, err
	}
	if o.Lifetime == 0 {
		o.Lifetime = 24 * time.Hour
	}
	switch {
	case o.Idle == 0:
		o.Idle = 30 * time.Minute
	case o.Idle < 0:
		o.Idle = 0
	}
	if o.Class == nil {
		o.Class = func(*http.Request) Class { return Safe }
	}
	if o.Entrance == nil {
		o.Entrance = func(*http.Request) bool { return false }
	}
	if o.OnError == nil {
		o.OnError = unavailable
	}
	if o.Cookie.Name == "" {
		o.Cookie.Name = "roam"
	}
	if o.Cookie.SameSite == 0 {
		o.Cookie.SameSite = http.SameSiteLaxMode
	}
	if err := o.Cookie.check(); err != nil {
		return nil, err
	}
	switch {
	case o.Lifetime < time.Second || o.Lifetime > maxLifetime:
		return nil, fmt.Errorf("option Lifetime %v: want 1s to %v", o.Lifetime, maxLifetime)
	case o.Idle%time.Millisecond != 0:
		return nil, fmt.Errorf("option Idle %v: want whole milliseconds", o.Idle)
	case o.Idle > o.Lifetime:
		return nil, fmt.Errorf("option Idle %v is longer than Lifetime %v", o.Idle, o.Lifetime)
	}
	return &Manager{store: store, keys: keys, options: o}, nil
}

// check refuses cookies that no browser, or not even net/http, would set.
func (c Cookie) check() error {
	probe := http.Cookie{Name: c.Name, Value: "x"}
	if err := probe.Valid(); err != nil {
		return fmt.Errorf("cookie name %q: %w", c.Name, err)
	}
	if strings.HasPrefix(c.Name, "__") {
		return fmt.Errorf("cookie name %q: prefixes are added, and left out where Plain is set", c.Name)
	}
	if c.SameSite == http.SameSiteNoneMode && c.Plain {
		return errors.New("SameSite=None needs a Secure cookie: leave Plain unset")
	}
	return nil
}

func unavailable(w http.ResponseWriter, _ *http.Request, err error) {
	if errors.Is(err, ErrEnded) {
		http.Error(w, "Your session has ended. Please log in again.", http.StatusConflict)
		return
	}
	w.Header().Set("Retry-After", "1")
	http.Error(w, "Your session can't be reached right now. You are still logged in; please try again.", http.StatusServiceUnavailable)
}

// Wrap returns next with a session in each request's context. The session is
// committed before the first byte of the answer; if that fails, OnError answers
// instead of next.
//
// Path read 1/4 and write 1/5: a request comes in; next Manager.load, and
// Session.commit when its answer goes out.
func (m *Manager) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Cookie")
		before := w.Header().Clone()
		s, err := m.load(r)
		if err != nil {
			m.options.OnError(w, r, err)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), contextKey{}, s))
		rw := &response{ResponseWriter: w, request: r, session: s, before: before}
		next.ServeHTTP(rw, r)
		rw.commit()
	})
}

// load returns the session that the request's cookies prove, or a new one. An
// error means that nobody can tell.
func (m *Manager) load(r *http.Request) (*Session, error) {
	s := &Session{manager: m, class: m.options.Class(r)}
	s.seals = m.options.Seal && s.class == Safe
	v := m.visit(r, s.class)
	s.brought = v.Seen
	var read bool
	if s.standing, read = v.Begin(m.store.now()); !read {
		return s, nil
	}
	err := s.load(r.Context(), v)
	if errors.Is(err, ErrDoubtful) && m.options.Entrance(r) {
		s.standing, s.answer.Rung = v.Untold(m.store.now()), Stale
		return s, nil
	}
	return s, err
}

// visit opens the request's cookies. One that is not ours is as none: it is
// never adopted.
func (m *Manager) visit(r *http.Request, class Class) proof.Visit {
	mode := m.store.mode
	v := proof.Visit{Strict: class == Strict, Lenient: mode == ByRetry || mode == Accept, Idle: m.options.Idle}
	if c, err := r.Cookie(m.seenName()); err == nil {
		v.Seen, _ = m.keys.OpenSeen(c.Value)
	}
	if c, err := r.Cookie(m.credentialName()); err == nil {
		v.Credential, _ = m.keys.OpenCredential(c.Value)
	}
	v.Sealed = m.openSealed(r)
	return v
}

// load reads the session that a visit's credential names and has it judged.
func (s *Session) load(ctx context.Context, v proof.Visit) error {
	store := s.manager.store
	q := router.Query{Key: crdt.SessionKey(v.Credential.ID), Seen: s.standing.Seen.Token, Class: s.class}
	a, err := store.router.Read(ctx, q)
	silent := errors.Is(err, ErrUnavailable)
	standsIn := v.StandsIn(store.now()) // what is sealed, for what can't be read
	if st, idled := v.Idled(store.now()); idled && !standsIn && errors.Is(err, ErrDoubtful) {
		s.standing = st
		return nil
	}
	answer := proof.Answer{Record: a.Record, Token: a.Token, Doubtful: a.Doubtful, Partial: a.Partial, Unread: err != nil}
	if err != nil && !standsIn {
		return err
	}
	of := a
	of.Record = v.Copy(a.Record, store.now())
	if answer.Unread {
		of.Region, a.Rung = store.router.Here().ID, Stale
	}
	epochs, rung, err := store.epochsOf(ctx, of, s.class)
	if err != nil && !standsIn {
		return err
	}
	if err != nil {
		rung = Stale
	}
	answer.Epochs = epochs
	verdict := v.Judge(answer, store.now())
	if verdict.Doubt {
		return fmt.Errorf("%w: the copy lacks what its cookie has seen", ErrDoubtful)
	}
	s.standing, s.answer = verdict.Standing, a
	s.answer.Rung = max(a.Rung, rung)
	if verdict.Stale {
		s.answer.Rung = max(Stale, s.answer.Rung)
	}
	return s.unseal(ctx, silent)
}

func (m *Manager) credentialName() string {
	if m.options.Cookie.Plain {
		return m.options.Cookie.Name
	}
	return "__Host-" + m.options.Cookie.Name
}

func (m *Manager) seenName() string { return m.credentialName() + "-seen" }
