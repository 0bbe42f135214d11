package roam

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/proof"
	"github.com/roam-sessions/roam/internal/router"
)

// The rung below local-only: what nobody could take travels in a cookie until
// somebody can.

// errBare: the handler saw no fields and so can't know what it overwrites.
var errBare = fmt.Errorf("%w: the session was too large to seal, so its fields can't be read or changed", ErrUnavailable)

// FieldsMissing reports whether the session is served by who its client is and
// no more: no Region could be read, and with its fields it was too large for the
// sealed cookie. It shows none; to change one fails the request.
func (s *Session) FieldsMissing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.standing.Bare
}

func (m *Manager) sealedName(slot int) string {
	return m.credentialName() + [proof.Slots]string{"-sealed", "-sealed2", "-sealed3", "-sealed4"}[slot]
}

// openSealed opens the request's sealed cookies. One that is not ours is as none.
func (m *Manager) openSealed(r *http.Request) (out [proof.Slots]proof.Sealed) {
	if !m.options.Seal {
		return out
	}
	for slot := range out {
		if c, err := r.Cookie(m.sealedName(slot)); err == nil {
			out[slot], _ = m.keys.OpenSealed(c.Value)
		}
	}
	return out
}

// sealedRoom returns how long the value of a sealed cookie may be.
func (m *Manager) sealedRoom() int {
	const longest = 1000 // seconds; more than a sealed cookie lives
	return proof.MaxSealedLine - len(m.cookie(m.sealedName(proof.Slots-1), "", longest).String())
}

// unseal has the store take in what came sealed, before the handler sees the
// session. What can't be taken in now stays as it is, and strict routes refuse
// it. Silent says that no Region answered: there is no use in asking once more.
func (s *Session) unseal(ctx context.Context, silent bool) error {
	w, ok := s.standing.Import()
	if !ok {
		return nil
	}
	a, err := router.Answer{}, ErrUnavailable
	if !silent {
		ctx, cancel := context.WithTimeout(ctx, touchTimeout)
		defer cancel()
		a, err = s.manager.store.take(ctx, w)
	}
	switch {
	case err == nil:
		s.standing = s.standing.Unsealed()
		s.standing.Seen.Token = a.Token
		s.answer.Rung = max(s.answer.Rung, a.Rung)
	case errors.Is(err, crdt.ErrDead), errors.Is(err, crdt.ErrExpired): // meanwhile: it revives nothing
		s.standing = s.standing.Lost(err)
	case s.class == Strict:
		return fmt.Errorf("%w: what is sealed was not taken in: %w", ErrStale, err)
	default:
		s.answer.Rung = Sealed
		s.manager.store.observe(Observation{Act: ActRead, Key: w.Key, Answer: s.answer})
	}
	return nil
}

// sealable reports whether a write that failed with err may be made in a cookie
// instead: nobody took it, and no addition may have been made that would then
// count twice.
func sealable(w proof.Written, err error) bool {
	if !errors.Is(err, ErrUnavailable) {
		return false
	}
	late := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
	return !w.Op.HasAdd() || engine.OutcomeKnown(err) && !late
}

// seal makes a write in a sealed cookie that no Region could take because of
// cause.
func (v *view) seal(m *Manager, w proof.Written, maker proof.Maker, cause error) (*proof.Credential, error) {
	sealing, err := v.standing.Seal(w, maker, m.keys, m.sealedRoom())
	if err != nil {
		return nil, fmt.Errorf("commit session: %w; seal it: %w", cause, err)
	}
	v.standing = v.standing.Unsealed() // the new one has all
	v.standing.Seen, v.sealing = sealing.Seen, &sealing
	v.answer.Rung = Sealed
	m.store.observe(Observation{Act: actOf(w), Key: w.Key, Answer: router.Answer{
		Region: m.store.router.Here().ID, Rung: Sealed, Token: sealing.Seen.Token,
	}})
	return sealing.Credential, nil
}

// observe counts what the router does not see, and tells whoever listens.
func (s *Store) observe(o Observation) {
	s.router.Answered(o.Answer.Rung)
	if s.hear != nil {
		s.hear(o)
	}
}

// actOf names what a sealed write did.
func actOf(w proof.Written) Act {
	switch op := w.Op; {
	case op.User != "":
		return ActLogin
	case op.Birth != nil:
		return ActCreate
	case op.Auth != nil:
		return ActRotate
	case len(op.Changes) > 0:
		return ActChange
	}
	return ActTouch
}
