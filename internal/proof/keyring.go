package proof

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/roam-sessions/roam/crdt"
)

// cookieVersion is the first byte of every cookie; docs/formats/cookies.md.
const cookieVersion = 1

const (
	macBytes  = 16 // HMAC-SHA-256, cut to 128 bits
	sidBytes  = 16
	dotBytes  = 10
	userBytes = 16
	// minKeyBytes is how long a cookie key must be: the strength of its MAC.
	minKeyBytes = 32
	// maxCookieBytes is more than credential or token ever have; what is longer is
	// not even decoded.
	maxCookieBytes = 512
	// maxEpochs bounds the revocations that a token carries.
	maxEpochs = 4
)

// ErrCookie is what every value comes to that we did not make.
var ErrCookie = errors.New("not a cookie of ours")

// A Keyring signs and seals cookies with its first key and accepts all of its
// keys. Many goroutines may use it.
type Keyring struct{ keys []cookieKey }

type cookieKey struct {
	id         byte // tells keys apart; two may share one
	credential []byte
	seen       []byte
	sealed     []byte
}

// NewKeyring returns the keyring of keys that came from crypto/rand, at least one.
// It fails if one is too short.
func NewKeyring(keys ...[]byte) (Keyring, error) {
	var ring Keyring
	for i, k := range keys {
		if len(k) < minKeyBytes {
			return ring, fmt.Errorf("cookie key %d has %d bytes: want %d or more from crypto/rand", i, len(k), minKeyBytes)
		}
		var ck cookieKey
		for _, d := range []struct {
			purpose string
			into    *[]byte
		}{{"credential", &ck.credential}, {"seen", &ck.seen}, {"sealed", &ck.sealed}} {
			var err error
			if *d.into, err = hkdf.Key(sha256.New, k, nil, "roam cookie 1 "+d.purpose, sha256.Size); err != nil {
				return ring, fmt.Errorf("derive cookie key: %w", err)
			}
		}
		sum := sha256.Sum256(ck.credential)
		ck.id = sum[0]
		ring.keys = append(ring.keys, ck)
	}
	return ring, nil
}

// SignCredential returns the value of the cookie c.
func (k Keyring) SignCredential(c Credential) string {
	b := append([]byte{cookieVersion, k.keys[0].id}, c.ID[:]...)
	b = append(b, c.Secret[:]...)
	b = crdt.AppendDot(b, c.Dot)
	b = binary.BigEndian.AppendUint32(b, c.Gen)
	b = append(b, c.Login[:]...)
	return sign(b, k.keys[0].credential)
}

const (
	genBytes        = 4
	credentialBytes = 2 + sidBytes + SecretBytes + dotBytes + genBytes + loginBytes
)

// OpenCredential returns the credential in a cookie's value. It fails with
// ErrCookie for everything that SignCredential did not make.
func (k Keyring) OpenCredential(value string) (Credential, error) {
	b, err := k.verify(value, func(ck cookieKey) []byte { return ck.credential })
	if err != nil || len(b) != credentialBytes {
		return Credential{}, ErrCookie
	}
	r := cutter{b: b[2:]}
	var c Credential
	if c.ID, err = crdt.ParseSessionID(r.cut(sidBytes)); err != nil {
		return Credential{}, ErrCookie
	}
	c.Secret = Secret(r.cut(SecretBytes))
	d := r.cut(dotBytes)
	c.Gen, c.Login = binary.BigEndian.Uint32(r.cut(genBytes)), LoginTag(r.cut(loginBytes))
	if bytes.Equal(d, make([]byte, dotBytes)) { // set while the session was sealed
		return c, nil
	}
	if c.Dot, err = crdt.DecodeDot(d); err != nil {
		return Credential{}, ErrCookie
	}
	return c, nil
}

// SignSeen returns the value of the token s.
func (k Keyring) SignSeen(s Seen) string {
	return sign(appendSeen([]byte{cookieVersion, k.keys[0].id}, s), k.keys[0].seen)
}

func appendSeen(b []byte, s Seen) []byte {
	b = append(b, s.ID[:]...)
	b = appendStamp(b, s.Token.Floor())
	b = append(b, byte(s.Token.Len()))
	for _, d := range s.Token.Dots() {
		b = crdt.AppendDot(b, d)
	}
	epochs := s.Epochs[max(0, len(s.Epochs)-maxEpochs):]
	b = append(b, byte(len(epochs)))
	if len(epochs) > 0 {
		b = append(b, s.User.Name()...)
	}
	for _, d := range epochs {
		b = crdt.AppendDot(b, d)
	}
	return b
}

// OpenSeen returns what a browser has Seen, from a cookie's value. It fails with
// ErrCookie for everything that SignSeen did not make.
func (k Keyring) OpenSeen(value string) (Seen, error) {
	b, err := k.verify(value, func(ck cookieKey) []byte { return ck.seen })
	if err != nil {
		return Seen{}, ErrCookie
	}
	r := cutter{b: b[2:]}
	s := Seen{ID: crdt.SessionID(r.cut(sidBytes))}
	s.Token = crdt.Token{}.WithFloor(stampOf(r.cut(stampBytes)))
	for range r.count(crdt.MaxTokenDots) {
		s.Token = s.Token.With(r.dot())
	}
	if n := r.count(maxEpochs); n > 0 {
		s.User, err = crdt.ParseKey(crdt.KindUser, r.cut(userBytes))
		for range n {
			s.Epochs = s.Epochs.With(r.dot())
		}
	}
	if err != nil || r.bad || !bytes.Equal(b, appendSeen(b[:2:2], s)) {
		return Seen{}, ErrCookie // also what is out of order, twice or too much
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
func (k Keyring) verify(value string, purpose func(cookieKey) []byte) ([]byte, error) {
	if len(value) > maxCookieBytes || strings.ContainsAny(value, "\r\n") { // which the decoder would skip

		return nil, ErrCookie
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil || len(b) < 2+macBytes || b[0] != cookieVersion {
		return nil, ErrCookie
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
	return nil, ErrCookie
}

// decodeBase64 reads what base64.RawURLEncoding wrote and nothing else: the
// decoder, strict as it is, passes over ends of lines.
func decodeBase64(value string) ([]byte, error) {
	if strings.ContainsAny(value, "\r\n") {
		return nil, ErrCookie
	}
	return base64.RawURLEncoding.Strict().DecodeString(value)
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
