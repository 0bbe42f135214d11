package roam

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/router"
)

// grace is how long the secret before a routine rotation is accepted, for
// requests that were under way. A login leaves none: no way to fix a session.
const grace = 10 * time.Second

// touchTimeout bounds what a page waits for its use to be noted: the longest
// that one try at another Region may be configured to take.
const touchTimeout = 500 * time.Millisecond

// ErrEnded is what OnError is given when the session ended while a request to a
// Strict route was under way. Its changes are dropped, as there is nothing left
// to change; Safe routes go out without them.
var ErrEnded = errors.New("session ended meanwhile")

// errUnknownState: the request's session was not found but may exist, so that
// nothing but a login may take its place.
var errUnknownState = fmt.Errorf("%w: changes were not written", ErrDoubtful)

// commit writes what changed, once. It returns the credential to set, if there
// is a new one.
func (s *Session) commit(ctx context.Context) (*credential, error) {
	s.mu.Lock()
	v := s.view
	v.changes = maps.Clone(v.changes)
	s.mu.Unlock()
	cred, err := v.commit(ctx, s.manager)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = v.answer
	if !s.ended { // by another goroutine meanwhile; and what it revoked stays noted
		s.seen.id, s.seen.token = v.seen.id, v.seen.token
	}
	return cred, err
}

func (v *view) commit(ctx context.Context, m *Manager) (*credential, error) {
	if v.ended {
		return nil, nil
	}
	if v.login != nil && v.rec.User != "" && v.rec.User != v.login.user {
		if err := v.leave(ctx, m); err != nil {
			return nil, err
		}
	}
	switch {
	case !v.wantsWrite(m.store.now()):
		return nil, nil
	case len(v.changes) == 0 && v.login == nil && !v.renew:
		return nil, v.touch(ctx, m)
	case v.login == nil && v.unsure() != nil:
		return nil, v.unsure()
	}
	cred, err := v.write(ctx, m)
	if v.login != nil && v.state == Live && errors.Is(err, ErrEnded) {
		// The session ended under a login. Whoever has just proved who she is gets
		// a fresh one, as she would have had her request come a moment later.
		v.state, v.rec = LoggedOut, crdt.Record{}
		return v.write(ctx, m)
	}
	return cred, err
}

// unsure says why nothing but a login may be written, if that is so.
func (v *view) unsure() error {
	switch {
	case v.state == Unknown:
		return errUnknownState
	case v.slow:
		return fmt.Errorf("%w: its secret was just replaced", ErrEnded)
	case v.adopted && v.renew:
		return fmt.Errorf("%w: the secret was replaced where it can't be read", ErrStale)
	}
	return nil
}

// wantsWrite reports whether there is anything to write down: a change, a login,
// and of a live session a new secret or a use.
func (v *view) wantsWrite(now crdt.Time) bool {
	if len(v.changes) > 0 || v.login != nil {
		return true
	}
	return v.state == Live && (v.renew || v.rec.TouchDue(now))
}

// touch notes the use of a session that nothing else was done to. A use that
// can't be noted costs the session some of its idle time, but nobody the page:
// while no write gets through, reading goes on.
func (v *view) touch(ctx context.Context, m *Manager) error {
	ctx, cancel := context.WithTimeout(ctx, touchTimeout)
	defer cancel()
	if _, err := v.write(ctx, m); errors.Is(err, ErrEnded) {
		return err
	}
	return nil
}

// leave destroys another user's session before this one's user logs in.
func (v *view) leave(ctx context.Context, m *Manager) error {
	_, _, err := m.store.revoke(ctx, router.Write{
		Key: crdt.SessionKey(v.cred.id), Seen: v.seen.token, Base: v.rec, Op: crdt.Op{Destroy: true},
	})
	if err != nil {
		return fmt.Errorf("leave the session of another user: %w", err)
	}
	v.state, v.rec = New, crdt.Record{}
	return nil
}

// write makes one operation of all that the request did, and does it.
//
// Path write 2/5: from Manager.Wrap; next router.Router.Write.
func (v *view) write(ctx context.Context, m *Manager) (*credential, error) {
	cred := v.cred
	w := router.Write{Base: v.rec, Seen: v.seen.token, Op: crdt.Op{Touch: true, Changes: v.pending()}}
	fresh := v.state != Live
	if fresh {
		var err error
		if cred, err = m.newSession(); err != nil {
			return nil, err
		}
		w.Seen = crdt.Token{}.WithFloor(v.seen.token.Floor())
		w.Op.Birth, w.Op.Touch = &crdt.Birth{Idle: m.options.Idle}, false
	}
	w.Key = crdt.SessionKey(cred.id)
	newSecret := fresh || v.login != nil || v.renew
	if newSecret {
		if _, err := io.ReadFull(m.store.random, cred.secret[:]); err != nil {
			return nil, fmt.Errorf("make a secret: %w", err)
		}
		w.Op.Auth = v.auth(cred, m.store.now())
		cred.login = tagOf(cred.id, v.user(), w.Op.Auth.Gen)
	}
	if v.login != nil {
		if m.store.now().Sub(v.login.at) > authFor {
			return nil, ErrAuthExpired
		}
		w.Op.User = v.login.user
		if err := m.store.index(ctx, w.Op.User, cred.id); err != nil {
			return nil, err
		}
	}
	a, err := m.store.router.Write(ctx, w)
	switch {
	case errors.Is(err, crdt.ErrDead), errors.Is(err, crdt.ErrExpired):
		return nil, fmt.Errorf("%w: %w", ErrEnded, err)
	case err != nil:
		return nil, fmt.Errorf("commit session: %w", err)
	}
	v.answer.Rung = max(v.answer.Rung, a.Rung)
	v.seen.id, v.seen.token = cred.id, a.Token
	if !newSecret {
		return nil, nil
	}
	cred.dot = a.Dot
	return &cred, nil
}

// newSession returns a fresh ID, without a secret yet.
func (m *Manager) newSession() (credential, error) {
	var entropy crdt.IDEntropy
	if _, err := io.ReadFull(m.store.random, entropy[:]); err != nil {
		return credential{}, fmt.Errorf("make a session ID: %w", err)
	}
	deadline := m.store.now().Add(m.options.Lifetime)
	return credential{id: crdt.NewSessionID(deadline, m.store.router.Here().ID, entropy)}, nil
}

// auth returns the register that proves the session from now on. It is fixed
// here, once: a login that is tried again, or late, writes the same.
func (v *view) auth(cred credential, now crdt.Time) *crdt.Auth {
	old := v.rec.Auth
	auth := crdt.Auth{Gen: old.Gen, Cur: cred.proof(), At: old.At, Epochs: old.Epochs}
	switch {
	case v.login != nil:
		auth.Gen++
		auth.At, auth.Epochs = v.login.at, v.login.epochs
	case v.state == Live:
		auth.Prev, auth.Grace = v.cred.proof(), now.Add(grace)
	}
	return &auth
}

// index notes a session in its user's record, before the session is there
// (DESIGN R17). A user who has too many is not noted: the session is still ended
// by a revocation, which needs no index.
func (s *Store) index(ctx context.Context, user string, id crdt.SessionID) error {
	_, err := s.router.Write(ctx, router.Write{
		Key: crdt.UserKey(user), Op: crdt.Op{Changes: []crdt.Change{crdt.Index(id, nil)}},
	})
	if err != nil && !errors.Is(err, crdt.ErrLimit) {
		return fmt.Errorf("note the session of a user: %w", err)
	}
	return nil
}
