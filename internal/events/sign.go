package events

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	// SignatureHeader has when a request was signed, and how.
	SignatureHeader = "Roam-Signature"
	// Tolerance is how far the signing of a request may be from the receiver's time: what
	// was overheard can't be sent again later.
	Tolerance = 5 * time.Minute
	// LeastSecret is the fewest bytes that a secret has: 128 bits.
	LeastSecret = 16
	// maxSignature bounds the header, and maxSignatures what it may hold.
	maxSignature  = 1024
	maxSignatures = 8
)

// ErrSignature says that a request was not signed with the secret, or not now.
var ErrSignature = errors.New("the signature is not good")

// Sign returns the header of a body that is sent at a time. HMAC-SHA256 is over the
// seconds since 1970, a dot, and the body.
func Sign(secret, body []byte, at time.Time) string {
	t := strconv.FormatInt(at.Unix(), 10)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac(secret, t, body))
}

func mac(secret []byte, t string, body []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(t + "."))
	h.Write(body)
	return h.Sum(nil)
}

// Verify tells receivers whether a body was signed with one of their secrets, of which
// there are two while one takes the place of another. It fails with ErrSignature. A
// request may come twice: what was done already is known by the id in it.
func Verify(header string, body []byte, now time.Time, secrets ...[]byte) error {
	t, macs, err := parseSignature(header)
	if err != nil {
		return err
	}
	seconds, err := strconv.ParseInt(t, 10, 64)
	if err != nil || seconds < 0 || seconds > now.Unix()+int64(Tolerance/time.Second) || seconds < now.Unix()-int64(Tolerance/time.Second) {
		return fmt.Errorf("%w: it is of another time than %d", ErrSignature, now.Unix())
	}
	good := false
	for _, secret := range secrets {
		if len(secret) < LeastSecret {
			return fmt.Errorf("%w: a secret has fewer than %d bytes", ErrSignature, LeastSecret)
		}
		want := mac(secret, t, body)
		for _, m := range macs {
			good = hmac.Equal(m, want) || good // all are looked at, whichever it is
		}
	}
	if !good {
		return fmt.Errorf("%w: it is by another secret, or of another body", ErrSignature)
	}
	return nil
}

// parseSignature returns the time and the signatures of a header. Names that it does not
// know are of later versions, and let be.
func parseSignature(header string) (t string, macs [][]byte, err error) {
	if len(header) > maxSignature {
		return "", nil, fmt.Errorf("%w: the header is too long", ErrSignature)
	}
	for part := range strings.SplitSeq(header, ",") {
		name, value, ok := strings.Cut(part, "=")
		switch {
		case !ok || name == "t" && t != "":
			return "", nil, fmt.Errorf("%w: the header makes no sense", ErrSignature)
		case name == "t":
			t = value
		case name == "v1":
			m, err := hex.DecodeString(value)
			if err != nil || len(m) != sha256.Size || len(macs) == maxSignatures {
				return "", nil, fmt.Errorf("%w: the header makes no sense", ErrSignature)
			}
			macs = append(macs, m)
		}
	}
	if t == "" || len(macs) == 0 {
		return "", nil, fmt.Errorf("%w: the header lacks t or v1", ErrSignature)
	}
	return t, macs, nil
}
