package awstest

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const body = `{"a":1}`

// signed returns a request that the SDK's signer has signed.
func signed(t *testing.T, url, region, secret string, at time.Time) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", "AmazonSSM.GetParameters")
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: KeyID, SecretAccessKey: secret}, r, hex.EncodeToString(sum[:]), "ssm", region, at); err != nil {
		t.Fatal(err)
	}
	return r
}

// Of the SDK's signatures every good one is taken, and of what was changed after it nothing.
func TestVerify(t *testing.T) {
	now := time.Date(2026, 6, 1, 10, 0, 0, 0, time.UTC)
	for _, url := range []string{"https://ssm.us-west-2.amazonaws.com", "https://ssm.us-west-2.amazonaws.com/a%20b/c?x=1&name=a%2Bb&name=a+c", "http://127.0.0.1:8000/v1"} {
		s, err := verify(signed(t, url, "us-west-2", Secret, now), []byte(body), now.Add(time.Minute))
		if want := (scope{KeyID, "20260601", "us-west-2", "ssm"}); err != nil || s != want {
			t.Errorf("%s: verify = %+v, %v, want %+v", url, s, err, want)
		}
	}
	for what, c := range map[string]struct {
		change func(r *http.Request)
		body   string
		secret string
		now    time.Time
	}{
		"no signature":   {change: func(r *http.Request) { r.Header.Del("Authorization") }},
		"another method": {change: func(r *http.Request) { r.Method = http.MethodPut }},
		"another path":   {change: func(r *http.Request) { r.URL.Path = "/x" }},
		"another query":  {change: func(r *http.Request) { r.URL.RawQuery = "x=1" }},
		"another host":   {change: func(r *http.Request) { r.Host = "example" }},
		"another target": {change: func(r *http.Request) { r.Header.Set("X-Amz-Target", "AmazonSSM.PutParameter") }},
		"another body":   {body: "{}"},
		"another secret": {secret: "x"},
		"another Region": {change: func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "us-west-2", "us-east-1", 1))
		}},
		"another service": {change: func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "/ssm/", "/sns/", 1))
		}},
		"another key": {change: func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), KeyID, "AKIDX", 1))
		}},
		"less signed": {change: func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "host;", "", 1))
		}},
		"too late": {now: now.Add(time.Hour)},
	} {
		if c.secret == "" {
			c.secret = Secret
		}
		if c.body == "" {
			c.body = body
		}
		if c.now.IsZero() {
			c.now = now
		}
		r := signed(t, "https://ssm.us-west-2.amazonaws.com/", "us-west-2", c.secret, now)
		if c.change != nil {
			c.change(r)
		}
		if _, err := verify(r, []byte(c.body), c.now); err == nil {
			t.Errorf("%s: it was taken", what)
		}
	}
}
