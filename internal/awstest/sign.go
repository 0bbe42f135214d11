package awstest

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

// A scope is what a signature is good for.
type scope struct{ key, date, region, service string }

// verify checks the signature of a request, version 4, by what AWS writes of it: canonical
// request, string to sign, and a key of date, Region and service.
func verify(r *http.Request, body []byte, now time.Time) (scope, error) {
	var s scope
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return s, errors.New("it is not signed")
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[k] = v
	}
	parts := strings.Split(fields["Credential"], "/")
	if len(parts) != 5 || parts[4] != "aws4_request" {
		return s, fmt.Errorf("credential %q has no scope", fields["Credential"])
	}
	s = scope{key: parts[0], date: parts[1], region: parts[2], service: parts[3]}
	stamp := r.Header.Get("X-Amz-Date")
	at, err := time.Parse("20060102T150405Z", stamp)
	if err != nil || stamp[:8] != s.date || now.Sub(at).Abs() > 5*time.Minute {
		return s, fmt.Errorf("it is of %q, and now is %v", stamp, now)
	}
	if s.key != KeyID {
		return s, fmt.Errorf("key %q is nobody's", s.key)
	}
	signed := strings.Split(fields["SignedHeaders"], ";")
	for _, name := range []string{"host", "x-amz-date"} {
		if !slices.Contains(signed, name) {
			return s, fmt.Errorf("%s is not signed", name)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n%s\n", r.Method, canonicalPath(r), canonicalQuery(r.URL.Query()))
	for _, name := range signed {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(len(body))
		}
		fmt.Fprintf(&b, "%s:%s\n", name, strings.Join(strings.Fields(value), " "))
	}
	sum := sha256.Sum256(body)
	fmt.Fprintf(&b, "\n%s\n%s", fields["SignedHeaders"], hex.EncodeToString(sum[:]))
	request := sha256.Sum256([]byte(b.String()))
	text := fmt.Sprintf("AWS4-HMAC-SHA256\n%s\n%s\n%s", stamp, strings.Join(parts[1:], "/"), hex.EncodeToString(request[:]))
	key := []byte("AWS4" + Secret)
	for _, part := range append(parts[1:], text) {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(part))
		key = h.Sum(nil)
	}
	if !hmac.Equal([]byte(hex.EncodeToString(key)), []byte(fields["Signature"])) {
		return s, errors.New("the signature is wrong")
	}
	return s, nil
}

func canonicalPath(r *http.Request) string {
	path := r.URL.EscapedPath()
	if path == "" {
		return "/"
	}
	return strings.ReplaceAll(path, "%", "%25") // escaped twice, for all services but S3
}

func canonicalQuery(q url.Values) string {
	return strings.ReplaceAll(q.Encode(), "+", "%20")
}
