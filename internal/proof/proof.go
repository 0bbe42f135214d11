package proof

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// knowsFor is how long a credential or a token speaks for a Region that has
// not heard of a rotation or a revocation yet (DESIGN R3), and longer than a
// request from before one is under way.
const knowsFor = 60 * time.Second

// SecretBytes is the length of a Secret: 128 bits from crypto/rand, where OWASP
// asks for 64 at least.
const SecretBytes = 16

// A Secret is what a cookie proves a session with. Only its hash is stored. It
// does not print.
type Secret [SecretBytes]byte

// Format prints that there is a secret, whatever the verb.
func (Secret) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "secret") }

// A Credential is what proves a session. It is set when the session is made, at
// login and at rotation, and at no other time: a slow response from before a
// login can then neither log anyone out nor destroy anything (DESIGN R9).
type Credential struct {
	ID     crdt.SessionID
	Secret Secret
	Dot    crdt.Dot // the write that set it; zero if that was sealed
	Gen    uint32   // of the auth register that the write made
	Login  LoginTag // what it was a credential of
}

// IsZero reports whether c is no credential at all.
func (c Credential) IsZero() bool { return c.ID.IsZero() }

// Hash returns the hash that the record stores of the secret.
func (c Credential) Hash() crdt.Hash {
	h := sha256.New()
	_, _ = h.Write([]byte("roam secret\x00")) // a hash.Hash never fails
	_, _ = h.Write(c.ID[:])
	_, _ = h.Write(c.Secret[:])
	return crdt.Hash(h.Sum(nil)[:len(crdt.Hash{})])
}

const loginBytes = 8

// A LoginTag tells whose session a credential was given for and by which login;
// zero while nobody had logged in. A Region that has not heard of a rotation
// takes it from a cookie only if both are the same: the rotation of a planted
// cookie is later than the victim's login, but not of it (DESIGN R3).
type LoginTag [loginBytes]byte

// TagOf returns the tag of the login that made the session id the user's in
// generation gen of its auth register.
func TagOf(id crdt.SessionID, user string, gen uint32) LoginTag {
	if user == "" {
		return LoginTag{}
	}
	b := append([]byte("roam login\x00"), id[:]...)
	b = binary.BigEndian.AppendUint32(b, gen)
	sum := sha256.Sum256(append(b, user...))
	return LoginTag(sum[:loginBytes])
}

// A Seen is what a browser has seen: the token of one session, and the
// revocations of one user that its next login must be above.
type Seen struct {
	ID     crdt.SessionID
	Token  crdt.Token
	User   crdt.Key // zero: no epochs
	Epochs crdt.Vector
}

// IsZero reports whether there is nothing to remember in s.
func (s Seen) IsZero() bool {
	return s.Token.Floor() == 0 && s.Token.Len() == 0 && len(s.Epochs) == 0
}

// Equal reports whether s and t have seen the same.
func (s Seen) Equal(t Seen) bool {
	return s.ID == t.ID && s.Token == t.Token && s.User == t.User && s.Epochs.Equal(t.Epochs)
}

// EpochsOf returns the revocations of a user that the browser knows of.
func (s Seen) EpochsOf(user crdt.Key) crdt.Vector {
	if s.User != user {
		return nil
	}
	return s.Epochs
}

// With returns s knowing of the revocation d of a user, and of no other user's.
func (s Seen) With(user crdt.Key, d crdt.Dot) Seen {
	if s.User != user {
		s.Epochs = nil
	}
	s.User, s.Epochs = user, s.Epochs.With(d)
	return s
}

// wrote returns s after a write to the session id whose token is t.
func (s Seen) wrote(id crdt.SessionID, t crdt.Token) Seen {
	s.ID, s.Token = id, t
	return s
}

// floor returns the token of one who has seen nothing of the session at hand,
// whose next write is still above all that she has seen.
func (s Seen) floor() crdt.Token { return crdt.Token{}.WithFloor(s.Token.Floor()) }
