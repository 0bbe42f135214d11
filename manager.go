package roam

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/roam-sessions/roam/crdt"
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
	// Cookie is how cookies look.
	Cookie Cookie
	// OldKeys are cookie keys that are still accepted.
	OldKeys [][]byte
}

// Cookie is how the two cookies look. The zero value is a __Host- cookie that is
// Secure, HttpOnly, SameSite=Lax and gone when the browser is closed.
type Cookie struct {
	// Name of the credential, without the prefix. Default "roam". The token's is
	// the same with "-seen".
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
	keys    keyring
	options Options
}

// NewManager returns the middleware over store. Cookies are signed with key, 32
// random bytes or more, the same in every Region. It fails if a key is too short
// or an option makes no sense.
func NewManager(store *Store, key []byte, o Options) (*Manager, error) {
	keys, err := newKeyring(append([][]byte{key}, o.OldKeys...)...)
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
	if c, err := r.Cookie(m.seenName()); err == nil {
		s.brought, _ = m.keys.openSeen(c.Value) // not ours: nothing was seen
		s.seen = s.brought
	}
	c, err := r.Cookie(m.credentialName())
	if err != nil {
		return s, nil //nolint:nilerr // no cookie, no session
	}
	cred, err := m.keys.openCredential(c.Value)
	if err != nil {
		return s, nil //nolint:nilerr // not a cookie of ours: S2, never adopted
	}
	now := m.store.now()
	if now >= cred.id.Deadline() {
		s.state = Expired
		return s, nil
	}
	if s.seen.id != cred.id {
		s.seen.token = crdt.Token{}.WithFloor(s.seen.token.Floor())
	}
	// Whoever has the cookie has seen the write that set it.
	s.seen.token = s.seen.token.With(cred.dot)
	err = s.load(r.Context(), cred)
	if errors.Is(err, ErrDoubtful) && m.options.Entrance(r) {
		s.state, s.answer.Rung = Unknown, Stale
		return s, nil
	}
	return s, err
}

// load reads the session that cred names and judges it.
//
// Path read 4/4: from router.Router.Read; the verdict is the session's State.
func (s *Session) load(ctx context.Context, cred credential) error {
	store := s.manager.store
	q := router.Query{Key: crdt.SessionKey(cred.id), Seen: s.seen.token, Class: s.class}
	a, err := store.router.Read(ctx, q)
	if errors.Is(err, ErrDoubtful) && s.idledOut(cred, store.now()) {
		s.state = Expired
		return nil
	}
	if err != nil {
		return err
	}
	epochs, rung, err := store.epochsOf(ctx, a, s.class)
	if err != nil {
		return err
	}
	if a.Record.User != "" {
		epochs = epochs.Join(s.knownEpochs(crdt.UserKey(a.Record.User)))
	}
	now := store.now()
	s.answer, s.seen.token = a, a.Token
	s.answer.Rung = max(a.Rung, rung)
	verdict := a.Record.Judge(now, cred.proof(), epochs)
	switch {
	case verdict == crdt.WrongSecret && s.adopts(cred, a, now):
		s.adopted = true
		verdict, s.answer.Rung = crdt.Live, max(Stale, s.answer.Rung)
	case s.doubts(verdict, cred, a, now):
		if store.mode == ByToken || store.mode == ByPrimary {
			return fmt.Errorf("%w: the copy lacks what its cookie has seen", ErrDoubtful)
		}
		verdict, a.Doubtful = crdt.Absent, true
	}
	s.state = stateOf(verdict, a.Doubtful)
	s.slow = s.state == Superseded && now.Sub(a.Record.Auth.Dot.Stamp.Time()) < knowsFor
	if s.state == Live {
		s.rec, s.cred, s.seen.id = a.Record, cred, cred.id
	}
	return nil
}

// adopts reports whether a credential speaks for a rotation that the copy read
// has not heard of: its cookie is the proof. For a minute, on safe routes only,
// and of the login that the copy shows or the next: no other login's credential,
// and none from before the login, opens what is a user's.
func (s *Session) adopts(cred credential, a router.Answer, now crdt.Time) bool {
	user, gen := a.Record.User, a.Record.Auth.Gen
	related := user == "" || cred.login == tagOf(cred.id, user, gen) || cred.login == tagOf(cred.id, user, gen+1)
	return related && s.class == Safe && !a.Record.VV.Has(cred.dot) && now.Sub(cred.dot.Stamp.Time()) < knowsFor
}

// doubts reports whether a verdict is of a copy that can't give it: one that
// has not heard of the secret it finds wrong, or of the client's last use of the
// session it finds idle.
func (s *Session) doubts(v crdt.Verdict, cred credential, a router.Answer, now crdt.Time) bool {
	if a.Token.FreshIn(a.Record.VV) { // but for what is lost for good
		return false
	}
	return v == crdt.WrongSecret && !a.Record.VV.Has(cred.dot) || v == crdt.Expired && !s.idledOut(cred, now)
}

// idledOut reports whether the client's own token shows that the session has
// been idle for too long, wherever it is. Another session's token shows nothing.
func (s *Session) idledOut(cred credential, now crdt.Time) bool {
	idle, last := s.manager.options.Idle, max(s.brought.token.Floor(), cred.dot.Stamp)
	return idle > 0 && s.brought.id == cred.id && now.Sub(last.Time()) > idle+idle/4
}

func stateOf(v crdt.Verdict, doubtful bool) State {
	switch v {
	case crdt.Live:
		return Live
	case crdt.Ended, crdt.Revoked:
		return LoggedOut
	case crdt.Expired:
		return Expired
	case crdt.WrongSecret:
		return Superseded
	}
	if doubtful {
		return Unknown
	}
	return Gone
}

func (m *Manager) credentialName() string {
	if m.options.Cookie.Plain {
		return m.options.Cookie.Name
	}
	return "__Host-" + m.options.Cookie.Name
}

func (m *Manager) seenName() string { return m.credentialName() + "-seen" }
