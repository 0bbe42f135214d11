package events_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/events"
)

const (
	secret = "0123456789abcdef"
	other  = "fedcba9876543210"
)

func noon() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

// The bytes are a promise to receivers, who compute them themselves.
func TestSignVector(t *testing.T) {
	got := events.Sign([]byte(secret), []byte(`{"seq":1}`), time.Unix(1780315200, 0))
	// printf '1780315200.{"seq":1}' | openssl dgst -sha256 -hmac 0123456789abcdef
	want := "t=1780315200,v1=fe6d3dcce10a9841eafaa8c9a849d355764d1f898b3e62406300aa5dc4b8eabf"
	if got != want {
		t.Errorf("Sign = %s, want %s", got, want)
	}
}

func TestVerify(t *testing.T) {
	body := []byte(`{"seq":1}`)
	good := events.Sign([]byte(secret), body, noon())
	_, mac, _ := strings.Cut(good, ",")
	for _, c := range []struct {
		name, header, body string
		now                time.Time
		secrets            string
		ok                 bool
	}{
		{"as it was sent", good, string(body), noon(), secret, true},
		{"five minutes late", good, string(body), noon().Add(5 * time.Minute), secret, true},
		{"later", good, string(body), noon().Add(5*time.Minute + time.Second), secret, false},
		{"five minutes early", good, string(body), noon().Add(-5 * time.Minute), secret, true},
		{"earlier", good, string(body), noon().Add(-5*time.Minute - time.Second), secret, false},
		{"another body", good, `{"seq":2}`, noon(), secret, false},
		{"another secret", good, string(body), noon(), other, false},
		{"one of two secrets", good, string(body), noon(), other + " " + secret, true},
		{"no secret", good, string(body), noon(), "", false},
		{"a short secret", good, string(body), noon(), secret + " short", false},
		{"two signatures", good + ",v1=" + strings.Repeat("00", 32), string(body), noon(), secret, true},
		{"a later version beside it", good + ",v2=xyz", string(body), noon(), secret, true},
		{"a later version alone", strings.Replace(good, "v1", "v2", 1), string(body), noon(), secret, false},
		{"another time", "t=1780315201," + mac, string(body), noon(), secret, false},
		{"no time", mac, string(body), noon(), secret, false},
		{"two times", good + ",t=1", string(body), noon(), secret, false},
		{"a time before times", "t=-9223372036854775808," + mac, string(body), noon(), secret, false},
		{"half a signature", good[:len(good)-2], string(body), noon(), secret, false},
		{"nothing", "", string(body), noon(), secret, false},
		{"too much", good + strings.Repeat(",x=y", 1000), string(body), noon(), secret, false},
	} {
		var secrets [][]byte
		for s := range strings.FieldsSeq(c.secrets) {
			secrets = append(secrets, []byte(s))
		}
		err := events.Verify(c.header, []byte(c.body), c.now, secrets...)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, events.ErrSignature) {
			t.Errorf("%s: Verify = %v, want success %v", c.name, err, c.ok)
		}
	}
}

// Whatever stands in a header: only what Sign made is good.
func FuzzVerify(f *testing.F) {
	body := []byte("body")
	good := events.Sign([]byte(secret), body, noon())
	f.Add(good, body)
	f.Add(good+",v1=00", body)
	f.Add("t=,v1=", []byte{})
	f.Add(strings.ToUpper(good), body)
	f.Fuzz(func(t *testing.T, header string, b []byte) {
		if events.Verify(header, b, noon(), []byte(secret)) == nil && (!bytes.Equal(b, body) || !strings.Contains(header, "t=1780315200")) {
			t.Errorf("Verify(%q, %q) succeeds", header, b)
		}
	})
}
