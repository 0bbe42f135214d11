package dns

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"time"

	wire "github.com/miekg/dns"
)

// fudge is how far the clocks of two servers may be apart, in seconds: RFC 8945, 10.
const fudge = 300

// A Key signs messages, by RFC 8945 (TSIG). Both ends have it. It prints as its name.
type Key struct {
	// Name is that of the key, at both ends.
	Name string
	// Algorithm is hmac-sha256, hmac-sha384 or hmac-sha512. Empty: hmac-sha256.
	Algorithm string
	// Secret has at least 16 bytes.
	Secret []byte
}

// String returns the name.
func (k Key) String() string { return "key " + k.Name }

// GoString returns the name.
func (k Key) GoString() string { return k.String() }

const minSecret = 16

// parse returns the key as messages have it, or what is wrong with it.
func (k Key) parse() (Key, error) {
	name, err := parseName(k.Name)
	if err != nil {
		return Key{}, fmt.Errorf("name of a key: %q: %w", k.Name, err)
	}
	if k.Algorithm == "" {
		k.Algorithm = wire.HmacSHA256
	}
	out := Key{Name: name, Algorithm: wire.CanonicalName(k.Algorithm), Secret: k.Secret}
	if out.hash() == nil {
		return Key{}, fmt.Errorf("%v: algorithm %q is none of hmac-sha256, hmac-sha384 and hmac-sha512", k, k.Algorithm)
	}
	if len(k.Secret) < minSecret {
		return Key{}, fmt.Errorf("%v: its secret has %d bytes, at least %d", k, len(k.Secret), minSecret)
	}
	return out, nil
}

func (k Key) hash() hash.Hash {
	switch k.Algorithm {
	case wire.HmacSHA256:
		return hmac.New(sha256.New, k.Secret)
	case wire.HmacSHA384:
		return hmac.New(sha512.New384, k.Secret)
	case wire.HmacSHA512:
		return hmac.New(sha512.New, k.Secret)
	}
	return nil
}

// A keyring has the keys that are known, by name. It is a wire.TsigProvider.
type keyring map[string]Key

func newKeyring(keys ...*Key) (keyring, error) {
	ring := keyring{}
	var faults []error
	for _, k := range keys {
		if k == nil {
			continue
		}
		parsed, err := k.parse()
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if have, ok := ring[parsed.Name]; ok && (have.Algorithm != parsed.Algorithm || !hmac.Equal(have.Secret, parsed.Secret)) {
			faults = append(faults, fmt.Errorf("%v has two secrets", parsed))
		}
		ring[parsed.Name] = parsed
	}
	return ring, errors.Join(faults...)
}

// Generate returns the signature of a message.
func (r keyring) Generate(msg []byte, t *wire.TSIG) ([]byte, error) {
	k, ok := r[wire.CanonicalName(t.Hdr.Name)]
	if !ok {
		return nil, wire.ErrSecret
	}
	if k.Algorithm != wire.CanonicalName(t.Algorithm) {
		return nil, wire.ErrKeyAlg
	}
	h := k.hash()
	h.Write(msg)
	return h.Sum(nil), nil
}

// Verify looks whether the signature of a message is right. One that is cut short is not.
func (r keyring) Verify(msg []byte, t *wire.TSIG) error {
	want, err := r.Generate(msg, t)
	if err != nil {
		return err
	}
	got, err := hex.DecodeString(t.MAC)
	if err != nil || !hmac.Equal(got, want) {
		return wire.ErrSig
	}
	return nil
}

// A signature is what is known of that of a request.
type signature struct {
	tsig *wire.TSIG
	// fault is the error of RFC 8945, 5.2; zero: it is right.
	fault uint16
	// later: tsig is that of our last answer, and there are more of them.
	later bool
}

// signer returns the name of the key that signed, if one did.
func (s *signature) signer() string {
	if s == nil || s.fault != 0 {
		return ""
	}
	return wire.CanonicalName(s.tsig.Hdr.Name)
}

// authenticate judges the signature of a request; nil: there is none. The packet may be changed. A signature anywhere but at the end is no message (RFC 8945, 5.1).
func (r keyring) authenticate(packet []byte, req *wire.Msg) (*signature, error) {
	for i, rr := range req.Extra {
		if rr.Header().Rrtype == wire.TypeTSIG && i != len(req.Extra)-1 {
			return nil, errors.New("a signature is not at the end")
		}
	}
	t := req.IsTsig()
	if t == nil {
		return nil, nil //nolint:nilnil // there is none, and nothing is wrong
	}
	if t.Algorithm == "" || t.Hdr.Class != wire.ClassANY {
		return nil, errors.New("a signature has no algorithm, or another class") // RFC 8945, 4.2
	}
	s := &signature{tsig: t}
	switch err := wire.TsigVerifyWithProvider(packet, r, "", false); {
	case err == nil:
	case errors.Is(err, wire.ErrTime):
		s.fault = wire.RcodeBadTime
	case errors.Is(err, wire.ErrSig):
		s.fault = wire.RcodeBadSig
	default:
		s.fault = wire.RcodeBadKey
	}
	return s, nil
}

// longest is what a signature adds to a message at the most, beside the name of its key.
const longest = 128

// size returns what signing an answer adds to it.
func (s *signature) size() int {
	if s == nil {
		return 0
	}
	return longest + len(s.tsig.Hdr.Name)
}

// pack packs an answer, signed if the request was. The next one of the same request is signed
// on top of it.
func (r keyring) pack(resp *wire.Msg, s *signature, now time.Time) ([]byte, error) {
	if s == nil {
		return resp.Pack()
	}
	t := s.tsig
	resp.SetTsig(t.Hdr.Name, t.Algorithm, fudge, now.Unix())
	ours := resp.IsTsig()
	ours.Error = s.fault
	if s.fault == wire.RcodeBadTime {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], uint64(now.Unix())) //nolint:gosec // since 1970
		ours.OtherLen, ours.OtherData = 6, hex.EncodeToString(b[2:])
		ours.TimeSigned = t.TimeSigned // RFC 8945, 5.2.3: so that the other end can check it
	}
	of := t.MAC
	if s.fault == wire.RcodeBadKey || s.fault == wire.RcodeBadSig {
		of = "" // the answer is not signed (RFC 8945, 5.3.2), and that may be anything
	}
	packet, mac, err := wire.TsigGenerateWithProvider(resp, r, of, s.later)
	if err != nil {
		return nil, fmt.Errorf("sign an answer: %w", err)
	}
	s.tsig, s.later = &wire.TSIG{Hdr: t.Hdr, Algorithm: t.Algorithm, MAC: mac}, true
	return packet, nil
}
