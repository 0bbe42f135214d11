package roam

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/proof"
	"github.com/roam-sessions/roam/internal/router"
)

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
func (s *Session) commit(ctx context.Context) (*proof.Credential, error) {
	s.mu.Lock()
	v := s.view
	v.changes = maps.Clone(v.changes)
	s.mu.Unlock()
	if v.ended {
		return nil, nil
	}
	cred, err := v.commit(ctx, s.manager)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = v.answer
	if !s.ended { // by another goroutine meanwhile; and what it revoked stays noted
		seen := v.standing.Seen
		s.standing.Seen.ID, s.standing.Seen.Token = seen.ID, seen.Token
		s.standing.Spent, s.sealing = v.standing.Spent, v.sealing
	}
	return cred, err
}

// wish returns what the request wants.
func (v *view) wish() proof.Wish {
	w := proof.Wish{Changes: v.pending(), Renew: v.renew}
	if v.login != nil {
		w.Login = &v.login.login
	}
	return w
}

func (v *view) commit(ctx context.Context, m *Manager) (*proof.Credential, error) {
	wish := v.wish()
	switch v.standing.Move(wish, m.store.now()) {
	case proof.Rest:
		return nil, nil
	case proof.Touch:
		return nil, v.touch(ctx, m, wish)
	case proof.RefuseUnknown:
		return nil, errUnknownState
	case proof.RefuseSlow:
		return nil, fmt.Errorf("%w: its secret was just replaced", ErrEnded)
	case proof.RefuseRotation:
		return nil, fmt.Errorf("%w: the secret was replaced where it can't be read", ErrStale)
	case proof.RefuseBare:
		return nil, errBare
	case proof.Leave:
		if _, err := m.store.destroy(ctx, v.standing); err != nil {
			return nil, fmt.Errorf("leave the session of another user: %w", err)
		}
		v.standing = v.standing.Left()
	case proof.Write:
	}
	cred, err := v.write(ctx, m, wish)
	if v.login != nil && v.standing.State == Live && errors.Is(err, ErrEnded) {
		// The session ended under a login. Whoever has just proved who she is gets
		// a fresh one, as she would have had her request come a moment later.
		v.standing = v.standing.Lost(err)
		return v.write(ctx, m, wish)
	}
	return cred, err
}

// touch notes the use of a session that nothing else was done to. A use that
// can't be noted costs the session some of its idle time, but nobody the page:
// while no write gets through, reading goes on.
func (v *view) touch(ctx context.Context, m *Manager, wish proof.Wish) error {
	ctx, cancel := context.WithTimeout(ctx, touchTimeout)
	defer cancel()
	v.seals = v.seals && v.standing.Carried != 0 // a use alone is not worth a cookie
	if _, err := v.write(ctx, m, wish); errors.Is(err, ErrEnded) {
		return err
	}
	return nil
}

// write makes one operation of all that the request did, and does it.
//
// Path write 2/5: from Manager.Wrap; next router.Router.Write.
func (v *view) write(ctx context.Context, m *Manager, wish proof.Wish) (*proof.Credential, error) {
	maker, err := m.maker()
	if err != nil {
		return nil, err
	}
	w := v.standing.Write(wish, maker)
	if wish.Login != nil && wish.Login.Expired(maker.Now) {
		return nil, ErrAuthExpired
	}
	a, err := m.store.take(ctx, w)
	switch {
	case errors.Is(err, crdt.ErrDead), errors.Is(err, crdt.ErrExpired):
		v.standing = v.standing.Unsealed()
		return nil, fmt.Errorf("%w: %w", ErrEnded, err)
	case v.seals && sealable(w, err):
		return v.seal(m, w, maker, err)
	case err != nil:
		return nil, fmt.Errorf("commit session: %w", err)
	}
	v.answer.Rung = max(v.answer.Rung, a.Rung)
	seen, cred := v.standing.Wrote(w, a.Dot, a.Token)
	v.standing = v.standing.Unsealed() // the write has taken it in
	v.standing.Seen = seen
	return cred, nil
}

// maker returns what a write needs besides what the request brought.
func (m *Manager) maker() (proof.Maker, error) {
	out := proof.Maker{
		Now: m.store.now(), Here: m.store.router.Here().ID,
		Lifetime: m.options.Lifetime, Idle: m.options.Idle,
	}
	for _, b := range [][]byte{out.ID[:], out.Secret[:], out.Seal[:]} {
		if _, err := io.ReadFull(m.store.random, b); err != nil {
			return out, fmt.Errorf("make a session: %w", err)
		}
	}
	return out, nil
}

// take makes a write, after its user's record was told of the session.
func (s *Store) take(ctx context.Context, w proof.Written) (router.Answer, error) {
	if w.Note != "" {
		if err := s.index(ctx, w.Note, w.Credential.ID); err != nil {
			return router.Answer{}, err
		}
	}
	return s.router.Write(ctx, router.Write{Key: w.Key, Seen: w.Seen, Base: w.Base, Op: w.Op})
}

// destroy ends the session of a standing in every Region.
func (s *Store) destroy(ctx context.Context, st proof.Standing) (Revocation, error) {
	_, rev, err := s.revoke(ctx, router.Write{
		Key: crdt.SessionKey(st.Credential.ID), Seen: st.Seen.Token, Base: st.Record, Op: crdt.Op{Destroy: true},
	})
	return rev, err
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
