package door

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	// algorithm is the only one that is checked here: AWS Signature Version 4.
	algorithm = "AWS4-HMAC-SHA256"
	// amzTime is the form of X-Amz-Date.
	amzTime = "20060102T150405Z"
	// mostSkew is how far a signature's time may be from ours: AWS allows five minutes.
	mostSkew = 5 * time.Minute
	// mostHeader bounds an Authorization header: 32 signed headers fit well.
	mostHeader = 4096
)

// A Signature is what an Authorization header says.
type Signature struct {
	// Key is the access key's ID.
	Key string
	// Date, Region and Service are the scope.
	Date, Region, Service string
	// Headers are the signed ones, in lower case and in order.
	Headers []string
	// Sum is the signature itself.
	Sum []byte
}

var errHeader = errors.New("authorization header is no signature of version 4")

// ParseSignature reads an Authorization header.
func ParseSignature(header string) (Signature, error) {
	rest, ok := strings.CutPrefix(header, algorithm+" ")
	if !ok || len(header) > mostHeader {
		return Signature{}, errHeader
	}
	parts := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := parts[name]; !ok || twice {
			return Signature{}, errHeader
		}
		parts[name] = value
	}
	scope := strings.Split(parts["Credential"], "/")
	sum, err := hex.DecodeString(parts["Signature"])
	if len(parts) != 3 || len(scope) != 5 || scope[0] == "" || scope[4] != "aws4_request" || err != nil || len(sum) != sha256.Size {
		return Signature{}, errHeader
	}
	s := Signature{
		Key: scope[0], Date: scope[1], Region: scope[2], Service: scope[3],
		Headers: strings.Split(parts["SignedHeaders"], ";"), Sum: sum,
	}
	if !slices.Contains(s.Headers, "host") || !slices.IsSorted(s.Headers) {
		return Signature{}, fmt.Errorf("%w: signed headers %.80q must have host and be in order", errHeader, parts["SignedHeaders"])
	}
	return s, nil
}

// checkTime compares the time of a request with its scope and with ours.
func (s Signature) checkTime(r *http.Request, now time.Time) error {
	stamp := r.Header.Get("X-Amz-Date")
	at, err := time.Parse(amzTime, stamp)
	switch {
	case err != nil:
		return refusal{badHeader, "X-Amz-Date is no time: " + stamp}
	case at.Format("20060102") != s.Date:
		return refusal{badSignature, fmt.Sprintf("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s'", s.Date, at.Format("20060102"))}
	case at.Before(now.Add(-mostSkew)):
		return refusal{badSignature, fmt.Sprintf("Signature expired: %s is now earlier than %s", stamp, now.Add(-mostSkew).UTC().Format(amzTime))}
	case at.After(now.Add(mostSkew)):
		return refusal{badSignature, fmt.Sprintf("Signature not yet current: %s is still later than %s", stamp, now.Add(mostSkew).UTC().Format(amzTime))}
	}
	return nil
}

// verify computes the signature that a request with this body should have.
func (s Signature) verify(r *http.Request, body []byte, secret string) error {
	payload := sha256.Sum256(body)
	said := r.Header.Get("X-Amz-Content-Sha256")
	if said != "" && said != hex.EncodeToString(payload[:]) {
		return refusal{badSignature, "X-Amz-Content-Sha256 is not that of the body"}
	}
	canonical := sha256.Sum256([]byte(canonicalRequest(r, s.Headers, hex.EncodeToString(payload[:]))))
	scope := strings.Join([]string{s.Date, s.Region, s.Service, "aws4_request"}, "/")
	text := strings.Join([]string{algorithm, r.Header.Get("X-Amz-Date"), scope, hex.EncodeToString(canonical[:])}, "\n")
	key := []byte("AWS4" + secret)
	for _, part := range []string{s.Date, s.Region, s.Service, "aws4_request", text} {
		m := hmac.New(sha256.New, key)
		_, _ = m.Write([]byte(part)) // a hash takes all
		key = m.Sum(nil)
	}
	if !hmac.Equal(key, s.Sum) {
		return refusal{badSignature, "The request signature we calculated does not match the signature you provided. " +
			"Check your AWS Secret Access Key and signing method. Consult the service documentation for details."}
	}
	return nil
}

// canonicalRequest is the text that is signed.
func canonicalRequest(r *http.Request, headers []string, payload string) string {
	var b strings.Builder
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	// Every service but S3 signs the path with what is escaped in it escaped again.
	fmt.Fprintf(&b, "%s\n%s\n%s\n", r.Method, escape(path, true), canonicalQuery(r.URL.Query()))
	for _, h := range headers {
		values := r.Header.Values(h)
		switch h {
		case "host":
			values = []string{r.Host}
		case "content-length":
			values = []string{fmt.Sprint(r.ContentLength)}
		}
		trimmed := make([]string, len(values))
		for i, v := range values {
			trimmed[i] = strings.Join(strings.Fields(v), " ")
		}
		fmt.Fprintf(&b, "%s:%s\n", h, strings.Join(trimmed, ","))
	}
	fmt.Fprintf(&b, "\n%s\n%s", strings.Join(headers, ";"), payload)
	return b.String()
}

func canonicalQuery(q url.Values) string {
	var all []string
	for k, values := range q {
		for _, v := range values {
			all = append(all, escape(k, false)+"="+escape(v, false))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "&")
}

// escape escapes all but what RFC 3986 calls unreserved, and slashes if they are kept.
func escape(s string, keepSlash bool) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', strings.IndexByte("-_.~", c) >= 0, keepSlash && c == '/':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
