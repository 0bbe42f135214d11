package proof

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/roam-sessions/roam/crdt"
)

const (
	sealSaltBytes = 16
	// sealHeader is version, key number and salt.
	sealHeader = 2 + sealSaltBytes
	// sealTagBytes is what AES-GCM adds.
	sealTagBytes = 16
	// MaxSealedLine bounds the whole Set-Cookie line of one sealed cookie.
	// Browsers keep 4,096 bytes; two of this size, with the other cookies, are
	// below the 8,190 bytes that common servers and proxies allow a header line.
	// There are more only after as many requests at the same time, until the next
	// one has joined them.
	MaxSealedLine = 3584
)

const (
	flagBare         = 1 << iota
	sealedFlagsKnown = 1<<iota - 1
)

// SealEntropy is what a write needs of randomness, from crypto/rand: the ID of an
// addition, and, if it is sealed, the salt of the key, the incarnation of the actor
// and the choice of the cookie.
type SealEntropy [sealSaltBytes + 4 + 8 + 1]byte

func (e SealEntropy) salt() [sealSaltBytes]byte { return [sealSaltBytes]byte(e[:sealSaltBytes]) }

func (e SealEntropy) incarnation() uint32 { return binary.BigEndian.Uint32(e[sealSaltBytes:]) }

// operation is never zero; it tells a repeated addition, and guards nothing.
func (e SealEntropy) operation() uint64 { return binary.BigEndian.Uint64(e[sealSaltBytes+4:]) | 1 }

func (e SealEntropy) slot() int { return int(e[len(e)-1]) % slotsOfAKind }

// Seal returns the value of the cookie that carries s, of at most room bytes. It
// fails with ErrTooLarge. The salt comes from crypto/rand and is used once.
func (k Keyring) Seal(s Sealed, salt [sealSaltBytes]byte, room int) (string, error) {
	var flags byte
	if s.Bare {
		flags = flagBare
	}
	plain := appendTime([]byte{flags}, s.Since)
	plain = crdt.AppendRecord(plain, s.Record)
	out := append([]byte{cookieVersion, k.keys[0].id}, salt[:]...)
	if n := base64.RawURLEncoding.EncodedLen(len(out) + len(plain) + sealTagBytes); n > room {
		return "", fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, n, room)
	}
	aead, nonce, err := k.keys[0].envelope(salt[:])
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(aead.Seal(out, nonce, plain, out)), nil
}

// OpenSealed returns what a sealed cookie carries. It fails with ErrCookie for
// everything that Seal did not make. That it is still worth something, and of
// the session at hand, is for a Visit to say.
func (k Keyring) OpenSealed(value string) (Sealed, error) {
	if len(value) > MaxSealedLine {
		return Sealed{}, ErrCookie
	}
	b, err := decodeBase64(value)
	if err != nil || len(b) < sealHeader+sealTagBytes || b[0] != cookieVersion {
		return Sealed{}, ErrCookie
	}
	head, body := b[:sealHeader], b[sealHeader:]
	for _, ck := range k.keys {
		if ck.id != head[1] {
			continue
		}
		aead, nonce, err := ck.envelope(head[2:])
		if err != nil {
			return Sealed{}, ErrCookie
		}
		if plain, err := aead.Open(nil, nonce, body, head); err == nil {
			return parseSealed(plain)
		}
	}
	return Sealed{}, ErrCookie
}

// envelope returns what a cookie with this salt is sealed with. Its key is its
// own, so one nonce a key is used once, and no count of cookies wears the
// configured key out; that two salts of 128 bits are equal is left to chance.
func (ck cookieKey) envelope(salt []byte) (aead cipher.AEAD, nonce []byte, err error) {
	const keyBytes, nonceBytes = 32, 12 // AES-256-GCM
	b, err := hkdf.Key(sha256.New, ck.sealed, salt, "roam sealed 1", keyBytes+nonceBytes)
	if err != nil {
		return nil, nil, fmt.Errorf("derive the key of a sealed cookie: %w", err)
	}
	block, err := aes.NewCipher(b[:keyBytes])
	if err != nil {
		return nil, nil, fmt.Errorf("key of a sealed cookie: %w", err)
	}
	if aead, err = cipher.NewGCM(block); err != nil {
		return nil, nil, fmt.Errorf("key of a sealed cookie: %w", err)
	}
	return aead, b[keyBytes:], nil
}

// parseSealed reads what was sealed: a session that was born and can be proved,
// as nothing dead and no user's record is.
func parseSealed(b []byte) (Sealed, error) {
	c := cutter{b: b}
	flags := c.cut(1)[0]
	s := Sealed{Bare: flags&flagBare != 0, Since: timeOf(c.cut(timeBytes))}
	rec, err := crdt.DecodeRecord(c.b)
	switch {
	case c.bad || err != nil || flags > sealedFlagsKnown:
		return Sealed{}, ErrCookie
	case rec.Born.Dot.IsZero() || rec.Auth.Dot.IsZero():
		return Sealed{}, ErrCookie
	case len(rec.VV) > 0 || s.Bare && len(rec.Fields) > 0:
		return Sealed{}, ErrCookie
	}
	s.Record = rec
	return s, nil
}

const timeBytes = 6

func appendTime(b []byte, t crdt.Time) []byte {
	for shift := 8 * (timeBytes - 1); shift >= 0; shift -= 8 {
		b = append(b, byte(t>>shift))
	}
	return b
}

func timeOf(b []byte) crdt.Time {
	var t crdt.Time
	for _, c := range b {
		t = t<<8 | crdt.Time(c)
	}
	return t
}
