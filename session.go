package roam

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/proof"
	"github.com/roam-sessions/roam/internal/router"
)

// A State says what became of the session that a request's cookies named;
// String names it.
type State = proof.State

// The states.
const (
	// New: the request named none, or one that we did not make.
	New = proof.New
	// Live: the session is the client's.
	Live = proof.Live
	// Gone: the session is known to be nowhere.
	Gone = proof.Gone
	// LoggedOut: the session was destroyed, or all of its user's were revoked.
	LoggedOut = proof.LoggedOut
	// Expired: past its deadline or its idle time.
	Expired = proof.Expired
	// Superseded: the client's secret was replaced, by a rotation or a login.
	Superseded = proof.Superseded
	// Unknown: not found, but it may exist elsewhere. Nothing but a login is
	// written in its place, and its cookie is kept. Only the modes ByRetry and
	// Accept, and the routes of Options.Entrance, let such a request through.
	Unknown = proof.Unknown
)

// A Session is what one request knows of its client. Several goroutines of that
// request may use it. Changes are shown at once to whoever reads them through
// it, and are written when the answer's first byte goes out; later ones are not.
type Session struct {
	manager *Manager
	class   Class
	brought proof.Seen // by the request

	mu sync.Mutex // guards view; no Region is called under it
	view
}

// A view is what a request knows of its session and wants of it.
type view struct {
	standing proof.Standing
	answer   router.Answer
	changes  map[string]overlay // by field, as Change names it
	login    *Auth
	renew    bool
	ended    bool // by this request: its cookies go
	seals    bool // what nobody can take may be sealed
	sealing  *proof.Sealing
}

// An overlay is what this request does to one field, and the change that will
// be written for it.
type overlay struct {
	value  []byte
	gone   bool
	delta  int64
	change crdt.Change
}

type contextKey struct{}

// FromContext returns the session of a request that came through Manager.Wrap.
// It panics if the request did not.
func FromContext(ctx context.Context) *Session {
	s, ok := fromContext(ctx)
	if !ok {
		// A broken invariant of the program, not of its input: the handler was
		// mounted outside the middleware.
		panic("roam: no session in the context: wrap the handler with Manager.Wrap")
	}
	return s
}

func fromContext(ctx context.Context) (*Session, bool) {
	s, ok := ctx.Value(contextKey{}).(*Session)
	return s, ok
}

// User returns who is logged in; empty for nobody.
func (s *Session) User() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return ""
	}
	return s.user()
}

// user returns whose session it is to be.
func (v *view) user() string {
	if v.login != nil {
		return v.login.login.User
	}
	return v.standing.Record.User
}

// State returns what became of the session that the request named.
func (s *Session) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.standing.State
}

// Rung returns how good the answer was that the session was loaded from. Sealed:
// all of it, or what was changed last, is in the client's cookie alone.
func (s *Session) Rung() Rung {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answer.Rung
}

// Served returns the name of the Region that answered when the session was
// loaded.
func (s *Session) Served() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.manager.store.router.Name(s.answer.Region)
}

// Left reports whether another Region was asked when the session was loaded.
func (s *Session) Left() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answer.Left
}

// Lost returns how many writes that the client had seen no Region has any more.
func (s *Session) Lost() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.answer.Lost)
}

// Fingerprint returns a short name for the session that can go into a log: the
// session can't be had from it. It is empty for a session not yet created.
func (s *Session) Fingerprint() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.standing.State != Live {
		return ""
	}
	return s.standing.Credential.ID.String()
}

// Created returns when the session was made; zero if it was not yet.
func (s *Session) Created() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.standing.State != Live {
		return time.Time{}
	}
	return s.standing.Record.Born.Created.Std()
}

// Login makes the session that of auth's user. Its secret changes, so that a
// cookie planted before is worth nothing. If the session is another user's, that
// one is destroyed and a fresh one begins.
func (s *Session) Login(auth Auth) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if auth.login.User == "" {
		return
	}
	s.login, s.ended = &auth, false
}

// Renew gives the session a new secret; call it when privileges change. The old
// one is accepted for ten more seconds, for requests already under way.
func (s *Session) Renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renew = true
}

// Destroy ends the session now, drops its changes, and clears the cookies with
// the response. The result says which Regions have the logout; the others are
// told until they do. On an error the client may still be logged in, and should
// be told so: ErrDoubtful for one whose session was not found and may exist. A
// client that has no session keeps its cookies, since a slow answer would clear
// those of a login made meanwhile.
func (s *Session) Destroy(ctx context.Context) (Revocation, error) {
	s.mu.Lock()
	st := s.standing
	state := st.State
	if state != Live && state != Unknown {
		s.drop()
	}
	s.mu.Unlock()
	switch state {
	case Live:
	case Unknown:
		return s.manager.store.nowhere(), fmt.Errorf("%w: it was not ended", ErrDoubtful)
	default:
		return Revocation{}, nil
	}
	rev, err := s.manager.store.destroy(ctx, st)
	if err != nil {
		return rev, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
	return rev, nil
}

// drop forgets what the request wanted of its session.
func (v *view) drop() { v.login, v.renew, v.changes = nil, false, nil }

func (v *view) end() {
	v.drop()
	v.ended, v.standing = true, v.standing.End()
}

// revoked notes that the sessions of a user were revoked by this request, for
// the browser's next login, and ends the session if it is one of them.
func (s *Session) revoked(user string, key crdt.Key, d crdt.Dot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.standing.Seen = s.standing.Seen.With(key, d)
	if s.standing.Record.User == user {
		s.end()
	}
}

// knownEpochs returns the revocations of a user that the browser knows of.
func (s *Session) knownEpochs(user crdt.Key) crdt.Vector {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.standing.Seen.EpochsOf(user)
}

func (s *Session) change(name string, edit func(*overlay), c crdt.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.changes[name]
	edit(&o)
	o.change = c
	s.set(name, o)
}

func (v *view) set(name string, o overlay) {
	if v.changes == nil {
		v.changes = make(map[string]overlay)
	}
	v.changes[name] = o
}

func (s *Session) value(name string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, ok := s.changes["."+name]; ok {
		return o.value, !o.gone
	}
	return s.standing.Record.Value(name)
}

func (v *view) elements(set string) []string {
	out := v.standing.Record.Elements(set)
	prefix := "&" + set + "\x00"
	for name, o := range v.changes {
		element, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		out = slices.DeleteFunc(out, func(e string) bool { return e == element })
		if !o.gone {
			out = append(out, element)
		}
	}
	slices.Sort(out)
	return out
}

// pending returns the changes in the order of their fields.
func (v *view) pending() []crdt.Change {
	var out []crdt.Change
	for _, name := range slices.Sorted(maps.Keys(v.changes)) {
		out = append(out, v.changes[name].change)
	}
	return out
}
