package roam

import (
	"context"
	"errors"
	"fmt"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/proof"
	"github.com/roam-sessions/roam/internal/router"
)

// An Auth is an authentication under way: whose, and what was known of
// revocations when it began. The zero Auth logs nobody in.
type Auth struct{ login proof.Login }

// ErrAuthExpired: more than an hour passed between BeginAuth and Login's commit.
// Begin again.
var ErrAuthExpired = errors.New("authentication took too long")

// User returns who is authenticating.
func (a Auth) User() string { return a.login.User }

// BeginAuth begins an authentication of user; call it before the password is
// checked. If all sessions of the user are revoked from now on, in whatever
// Region, the session that Login makes of it is revoked too: a login that was
// under way must not outlive "log out everywhere". It fails with ErrUnavailable
// if nobody can tell what was revoked so far. An answer that may lack something
// will do: a login that did not see a revocation is refused where that is known.
func (s *Store) BeginAuth(ctx context.Context, user string) (Auth, error) {
	if user == "" || len(user) > crdt.MaxUserBytes {
		return Auth{}, fmt.Errorf("begin authentication: user name of %d bytes: want 1 to %d", len(user), crdt.MaxUserBytes)
	}
	key := crdt.UserKey(user)
	a, err := s.router.Read(ctx, router.Query{Key: key})
	if err != nil {
		return Auth{}, fmt.Errorf("begin authentication: %w", err)
	}
	login := proof.Login{User: user, At: s.now(), Epochs: a.Record.Epochs()}
	if sess, ok := fromContext(ctx); ok {
		// A browser that has just logged out everywhere may be ahead of this Region.
		login.Epochs = login.Epochs.Join(sess.knownEpochs(key))
	}
	return Auth{login}, nil
}

// RevokeUser logs a user out everywhere: every session whose authentication
// began before is refused in every Region that has heard of it, and the result
// says which have. The session of ctx, if it is the user's, is ended with its
// cookie. After an error it may still come to be: the outcome is not known.
func (s *Store) RevokeUser(ctx context.Context, user string) (Revocation, error) {
	key := crdt.UserKey(user)
	a, rev, err := s.revoke(ctx, router.Write{Key: key, Op: crdt.Op{Revoke: true}})
	if err != nil {
		return rev, fmt.Errorf("revoke the sessions of a user: %w", err)
	}
	if sess, ok := fromContext(ctx); ok {
		sess.revoked(user, key, a.Dot)
	}
	return rev, nil
}

// epochsOf reads the revocations of the user that a session belongs to: here, and
// where the session came from if that is elsewhere (DESIGN R12). The rung says
// how good that is.
func (s *Store) epochsOf(ctx context.Context, of router.Answer, class Class) (crdt.Vector, Rung, error) {
	if of.Record.User == "" || of.Record.Dead {
		return nil, Normal, nil
	}
	q := router.Query{Key: crdt.UserKey(of.Record.User), Class: class}
	if of.Region != s.router.Here().ID {
		q.Also = of.Region
	}
	a, err := s.router.Read(ctx, q)
	return a.Record.Epochs(), a.Rung, err
}
