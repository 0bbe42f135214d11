package proof

import (
	"errors"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

const (
	// grace is how long the secret before a routine rotation is accepted, for
	// requests that were under way. A login leaves none: no way to fix a session.
	grace = 10 * time.Second
	// authFor is how long an authentication may take. Revocations are forgotten
	// when no session can be older; one that takes for ever would be.
	authFor = time.Hour
)

// A Login is an authentication that was begun: whose, when, and what was known
// of revocations then.
type Login struct {
	User   string
	At     crdt.Time
	Epochs crdt.Vector
}

// Expired reports whether the authentication took so long that it is worth
// nothing any more.
func (l Login) Expired(now crdt.Time) bool { return now.Sub(l.At) > authFor }

// A Wish is what a request wants of its session.
type Wish struct {
	Changes []crdt.Change
	Login   *Login
	Renew   bool
}

// A Move is what a Wish comes to.
type Move uint8

// The moves.
const (
	// Rest: there is nothing to write.
	Rest Move = iota
	// Touch: only the use of the session is noted. A use that can't be noted
	// costs the session some of its idle time, but nobody the page.
	Touch
	// Write: Standing.Write says what.
	Write
	// Leave: the session is another user's and is destroyed first; then Write,
	// by the standing that is Left.
	Leave
	// RefuseUnknown: the session may exist, so nothing but a login may take its
	// place.
	RefuseUnknown
	// RefuseSlow: the session's secret was just replaced, so this may be a slow
	// request from before. Its wish is too late.
	RefuseSlow
	// RefuseRotation: the secret was replaced where it can't be read, and another
	// rotation would lose against that one.
	RefuseRotation
	// RefuseBare: the session's fields are in no copy that could be had, so what
	// changes them does not know what it changes.
	RefuseBare
)

// Move says what a wish comes to.
func (st Standing) Move(w Wish, now crdt.Time) Move {
	changes := len(w.Changes) > 0 || w.Login != nil
	live := st.State == Live
	switch {
	case st.Bare && len(w.Changes) > 0:
		return RefuseBare
	case w.Login != nil && st.Record.User != "" && st.Record.User != w.Login.User:
		return Leave
	case w.Login != nil:
		return Write
	case !changes && !(live && (w.Renew || st.Record.TouchDue(now))):
		return Rest
	case !changes && !w.Renew:
		return Touch
	}
	return st.refusal(w)
}

// refusal returns why a wish that is no login can't be written; Write if it can.
func (st Standing) refusal(w Wish) Move {
	switch {
	case st.State == Unknown:
		return RefuseUnknown
	case st.Slow:
		return RefuseSlow
	case st.Adopted && w.Renew:
		return RefuseRotation
	}
	return Write
}

// Left returns the standing after the session was destroyed for another user's
// login.
func (st Standing) Left() Standing {
	st = st.Unsealed()
	st.State, st.Record = New, crdt.Record{}
	return st
}

// Lost returns the standing of a session that turned out to have ended while it
// was to be written, as an engine's refusal says: that it had expired, or is dead.
func (st Standing) Lost(refusal error) Standing {
	st = st.Unsealed()
	st.State, st.Record = LoggedOut, crdt.Record{}
	if errors.Is(refusal, crdt.ErrExpired) {
		st.State = Expired
	}
	return st
}

// End returns the standing after the request ended its session.
func (st Standing) End() Standing {
	st = st.Lost(crdt.ErrDead)
	st.Seen.ID, st.Seen.Token = crdt.SessionID{}, st.Seen.floor()
	return st
}

// Maker is what a write needs that the request did not bring.
type Maker struct {
	Now      crdt.Time
	Here     crdt.Region
	Lifetime time.Duration
	Idle     time.Duration // 0: for ever
	// ID, Secret and Seal come from crypto/rand. They are used once, if at all.
	ID     crdt.IDEntropy
	Secret Secret
	Seal   SealEntropy
}

// A Written is one operation on one session, and what its cookie becomes.
type Written struct {
	Key  crdt.Key
	Seen crdt.Token  // that the write must be above
	Base crdt.Record // as it was read; bottom for a birth
	Op   crdt.Op
	// Note is the user whose record has to be told of the session first; empty
	// for none.
	Note string
	// Credential is what proves the session after the write, but for its Dot.
	Credential Credential
	// NewSecret: the credential has to be set with the answer.
	NewSecret bool
}

// Write makes one operation of all that a request wants, and takes in what is
// sealed. A session that is not Live has a fresh one made in its place.
func (st Standing) Write(w Wish, m Maker) Written {
	out := Written{
		Base: st.Record, Seen: st.Seen.Token, Credential: st.Credential,
		Op: crdt.Op{Touch: true, Changes: w.Changes},
	}
	if out.Op.HasAdd() {
		out.Op.ID = m.Seal.operation() // whether an engine takes it, a cookie, or both
	}
	fresh := st.State != Live
	if fresh {
		out.Credential = Credential{ID: crdt.NewSessionID(m.Now.Add(m.Lifetime), m.Here, m.ID)}
		out.Seen = st.Seen.floor()
		out.Op.Birth, out.Op.Touch = &crdt.Birth{Idle: m.Idle}, false
	}
	out.Key = crdt.SessionKey(out.Credential.ID)
	st.adopt(&out)
	out.NewSecret = fresh || w.Login != nil || w.Renew
	user := st.Record.User
	if w.Login != nil {
		user, out.Op.User, out.Note = w.Login.User, w.Login.User, w.Login.User
	}
	if out.NewSecret {
		out.Credential.Secret = m.Secret
		out.Op.Auth = st.auth(w, out.Credential.Hash(), m.Now)
		out.Credential.Gen = out.Op.Auth.Gen
		out.Credential.Login = TagOf(out.Credential.ID, user, out.Op.Auth.Gen)
	}
	out.Op.Stamp = crdt.Mint(m.Now, out.Base, out.Seen)
	return out
}

// auth returns the register that proves the session from now on. It is fixed
// here, once: a login that is tried again, or late, writes the same. It is above
// the login that the client's credential is of, which the copy that was read may
// not have heard of: a later login must not lose against it.
func (st Standing) auth(w Wish, cur crdt.Hash, now crdt.Time) *crdt.Auth {
	old := st.Record.Auth
	auth := crdt.Auth{Gen: max(old.Gen, st.Credential.Gen), Cur: cur, At: old.At, Epochs: old.Epochs}
	switch {
	case w.Login != nil:
		auth.Gen++
		auth.At, auth.Epochs = w.Login.At, w.Login.Epochs
	case st.State == Live:
		auth.Prev, auth.Grace = st.Credential.Hash(), now.Add(grace)
	}
	return &auth
}

// Wrote returns what the browser has seen once a write was made, and the
// credential to set; nil for none.
func (st Standing) Wrote(w Written, d crdt.Dot, t crdt.Token) (Seen, *Credential) {
	seen := st.Seen.wrote(w.Credential.ID, t)
	if !w.NewSecret {
		return seen, nil
	}
	w.Credential.Dot = d
	return seen, &w.Credential
}
