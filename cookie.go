package roam

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// cookieVersion is the first byte of both cookies; docs/formats/cookies.md.
const cookieVersion = 1

const (
	secretBytes = 16 // 128 bits from crypto/rand: OWASP asks for 64 at least
	macBytes    = 16 // HMAC-SHA-256, cut to 128 bits
	sidBytes    = 16
	dotBytes    = 10
	userBytes   = 16
	loginBytes  = 8
	// minKeyBytes is how long a cookie key must be: the strength of its MAC.
	minKeyBytes = 32
	// maxCookieBytes is more than either cookie ever has; what is longer is not
	// even decoded.
	maxCookieBytes = 512
	// knowsFor is how long a credential or a token speaks for a Region that has
	// not heard of a rotation or a revocation yet (DESIGN R3), and longer than a
	// request from before one is under way.
	knowsFor = 60 * time.Second
	// maxEpochs bounds the revocations that a token carries.
	maxEpochs = 4
)

var errCookie = errors.New("not a cookie of ours")

// A credential is what proves a session. It is set when the session is made, at
// login and at rotation, and at no other time: a slow response from before a
// login can then neither log anyone out nor destroy anything (DESIGN R9).
type credential struct {
	id     crdt.SessionID
	secret [secretBytes]byte
	dot    crdt.Dot // the write that set it
	login  loginTag // what it was a credential of
}

// A loginTag tells whose session a credential was given for and by which login;
// zero while nobody had logged in. A Region that has not heard of a rotation
// takes it from a cookie only if both are the same: the rotation of a planted
// cookie is later than the victim's login, but not of it (DESIGN R3).
type loginTag [loginBytes]byte

func tagOf(id crdt.SessionID, user string, gen uint32) loginTag {
	if user == "" {
		return loginTag{}
	}
	b := append([]byte("roam login\x00"), id[:]...)
	b = binary.BigEndian.AppendUint32(b, gen)
	sum := sha256.Sum256(append(b, user...))
	return loginTag(sum[:loginBytes])
}

// proof returns the hash that the record stores of the secret.
func (c credential) proof() crdt.Hash {
	h := sha256.New()
	_, _ = h.Write([]byte("roam secret\x00")) // a hash.Hash never fails
	_, _ = h.Write(c.id[:])
	_, _ = h.Write(c.secret[:])
	return crdt.Hash(h.Sum(nil)[:len(crdt.Hash{})])
}

// A seen is what a browser has seen: the token of one session, and the
// revocations of one user that its next login must be above.
type seen struct {
	id     crdt.SessionID
	token  crdt.Token
	user   crdt.Key // zero: no epochs
	epochs crdt.Vector
}

// isZero reports whether there is nothing to remember in s.
func (s seen) isZero() bool {
	return s.token.Floor() == 0 && s.token.Len() == 0 && len(s.epochs) == 0
}

func (s seen) equal(t seen) bool {
	return s.id == t.id && s.token == t.token && s.user == t.user && s.epochs.Equal(t.epochs)
}

// A keyring signs cookies with its first key and accepts all of its keys.
type keyring struct{ keys []cookieKey }

type cookieKey struct {
	id         byte // tells keys apart; two may share one
	credential []byte
	seen       []byte
}

func newKeyring(keys ...[]byte) (keyring, error) {
	var ring keyring
	for i, k := range keys {
		if len(k) < minKeyBytes {
			return ring, fmt.Errorf("cookie key %d has %d bytes: want %d or more from crypto/rand", i, len(k), minKeyBytes)
		}
		var ck cookieKey
		var err error
		for purpose, into := range map[string]*[]byte{"credential": &ck.credential, "seen": &ck.seen} {
			if *into, err = hkdf.Key(sha256.New, k, nil, "roam cookie 1 "+purpose, sha256.Size); err != nil {
				return ring, fmt.Errorf("derive cookie key: %w", err)
			}
		}
		sum := sha256.Sum256(ck.credential)
		ck.id = sum[0]
		ring.keys = append(ring.keys, ck)
	}
	return ring, nil
}

func (k keyring) sealCredential(c credential) string {
	b := append([]byte{cookieVersion, k.keys[0].id}, c.id[:]...)
	b = append(b, c.secret[:]...)
	b = crdt.AppendDot(b, c.dot)
	b = append(b, c.login[:]...)
	return sign(b, k.keys[0].credential)
}

const credentialBytes = 2 + sidBytes + secretBytes + dotBytes + loginBytes

// openCredential returns the credential in a cookie's value. It fails with
// errCookie for everything that sealCredential did not make.
func (k keyring) openCredential(value string) (credential, error) {
	b, err := k.verify(value, func(ck cookieKey) []byte { return ck.credential })
	if err != nil || len(b) != credentialBytes {
		return credential{}, errCookie
	}
	var c credential
	if c.id, err = crdt.ParseSessionID(b[2:18]); err != nil {
		return credential{}, errCookie
	}
	copy(c.secret[:], b[18:])
	copy(c.login[:], b[credentialBytes-loginBytes:])
	if c.dot, err = crdt.DecodeDot(b[2+sidBytes+secretBytes : credentialBytes-loginBytes]); err != nil {
		return credential{}, errCookie
	}
	return c, nil
}

func (k keyring) sealSeen(s seen) string {
	return sign(appendSeen([]byte{cookieVersion, k.keys[0].id}, s), k.keys[0].seen)
}

func appendSeen(b []byte, s seen) []byte {
	b = append(b, s.id[:]...)
	b = appendStamp(b, s.token.Floor())
	b = append(b, byte(s.token.Len()))
	for _, d := range s.token.Dots() {
		b = crdt.AppendDot(b, d)
	}
	epochs := s.epochs[max(0, len(s.epochs)-maxEpochs):]
	b = append(b, byte(len(epochs)))
	if len(epochs) > 0 {
		b = append(b, s.user.Name()...)
	}
	for _, d := range epochs {
		b = crdt.AppendDot(b, d)
	}
	return b
}

// openSeen returns what a browser has seen, from a cookie's value. It fails with
// errCookie for everything that sealSeen did not make.
func (k keyring) openSeen(value string) (seen, error) {
	b, err := k.verify(value, func(ck cookieKey) []byte { return ck.seen })
	if err != nil {
		return seen{}, errCookie
	}
	r := cutter{b: b[2:]}
	s := seen{id: crdt.SessionID(r.cut(sidBytes))}
	s.token = crdt.Token{}.WithFloor(stampOf(r.cut(stampBytes)))
	for range r.count(crdt.MaxTokenDots) {
		s.token = s.token.With(r.dot())
	}
	if n := r.count(maxEpochs); n > 0 {
		s.user, err = crdt.ParseKey(crdt.KindUser, r.cut(userBytes))
		for range n {
			s.epochs = s.epochs.With(r.dot())
		}
	}
	if err != nil || r.bad || !bytes.Equal(b, appendSeen(b[:2:2], s)) {
		return seen{}, errCookie // also what is out of order, twice or too much
	}
	return s, nil
}

func sign(b, key []byte) string {
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write(b) // a hash.Hash never fails
	return base64.RawURLEncoding.EncodeToString(mac.Sum(b)[:len(b)+macBytes])
}

// verify returns the signed bytes of a cookie's value. It comes before any
// look-up, so that garbage costs a microsecond and no Region is asked.
func (k keyring) verify(value string, purpose func(cookieKey) []byte) ([]byte, error) {
	if len(value) > maxCookieBytes {
		return nil, errCookie
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil || len(b) < 2+macBytes || b[0] != cookieVersion {
		return nil, errCookie
	}
	b, sum := b[:len(b)-macBytes], b[len(b)-macBytes:]
	for _, ck := range k.keys {
		if ck.id != b[1] {
			continue
		}
		mac := hmac.New(sha256.New, purpose(ck))
		_, _ = mac.Write(b)
		if hmac.Equal(mac.Sum(nil)[:macBytes], sum) {
			return b, nil
		}
	}
	return nil, errCookie
}

const stampBytes = 7

func appendStamp(b []byte, s crdt.Stamp) []byte {
	for shift := 8 * (stampBytes - 1); shift >= 0; shift -= 8 {
		b = append(b, byte(s>>shift))
	}
	return b
}

func stampOf(b []byte) crdt.Stamp {
	var s crdt.Stamp
	for _, c := range b {
		s = s<<8 | crdt.Stamp(c)
	}
	return min(s, crdt.MaxStamp)
}

// A cutter cuts fields off the front of b. After the first that is missing, bad
// is set and zeros come.
type cutter struct {
	b   []byte
	bad bool
}

func (c *cutter) cut(n int) []byte {
	if n > len(c.b) {
		c.bad, c.b = true, nil
		return make([]byte, n)
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *cutter) count(most int) int {
	n := int(c.cut(1)[0])
	c.bad = c.bad || n > most
	return min(n, most)
}

func (c *cutter) dot() crdt.Dot {
	d, err := crdt.DecodeDot(c.cut(dotBytes))
	c.bad = c.bad || err != nil
	return d
}
