package door

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

func FuzzParseSignature(f *testing.F) {
	sum := strings.Repeat("ab", 32)
	f.Add("AWS4-HMAC-SHA256 Credential=AKID/20260601/us-west-1/sns/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + sum)
	f.Add("AWS4-HMAC-SHA256 Credential=//// , SignedHeaders=, Signature=")
	f.Add("AWS4-HMAC-SHA256 Signature=" + sum + ",Signature=" + sum + ",SignedHeaders=host")
	f.Fuzz(func(t *testing.T, header string) {
		s, err := ParseSignature(header)
		if err != nil {
			return
		}
		if s.Key == "" || len(s.Sum) != 32 || len(s.Headers) == 0 {
			t.Errorf("ParseSignature(%q) = %+v", header, s)
		}
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		if s.verify(r, nil, "secret") == nil {
			t.Errorf("%q is the signature of anything", header)
		}
	})
}

func FuzzParseQuery(f *testing.F) {
	f.Add("Action=A&M.member.1.N=x&M.member.1.D.member.1.Name=r&M.member.2.N=y", "M")
	f.Add("a.1=x&a.02=y&a=z", "a")
	f.Fuzz(func(t *testing.T, body, name string) {
		p, err := ParseQuery(body)
		if err != nil {
			return
		}
		for _, o := range append(p.Objects(name), p, p.Object(name)) {
			o.Str(name)
			o.Float(name)
			o.Int(name)
			o.Time(name)
			o.Strs(name)
			if len(o.List(name)) > strings.Count(body, "&")+1 {
				t.Errorf("%q has a list of %d", body, len(o.List(name)))
			}
		}
	})
}

func FuzzParseJSON(f *testing.F) {
	f.Add([]byte(`{"a":[{"b":1.5}],"c":null,"d":true}`))
	f.Add([]byte(strings.Repeat(`{"a":`, 20) + "1" + strings.Repeat("}", 20)))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := ParseJSON(body)
		if err != nil {
			return
		}
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseJSON(text); err != nil || !reflect.DeepEqual(p, again) {
			t.Errorf("%q is %v, and again %v, %v", body, p, again, err)
		}
	})
}

func FuzzParseCBOR(f *testing.F) {
	seed, err := cbor.Marshal(map[string]any{"Namespace": "n", "MetricData": []any{map[string]any{"Value": 1.5, "MetricName": "m"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte{0xbf, 0x61, 'T', 0xc1, 0x1a, 0, 0, 0, 1, 0xff})
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := ParseCBOR(body)
		if err != nil {
			return
		}
		for name := range p {
			p.Str(name)
			p.Float(name)
			p.Time(name)
			p.Objects(name)
		}
	})
}

func FuzzParseRule(f *testing.F) {
	f.Add([]byte(`{"service":"route53","effect":"outage"}`))
	f.Add([]byte(`{"effect":"slow","delay":"1.5s"}`))
	f.Add([]byte(`{"effect":"slow","delay":1500}`))
	f.Add([]byte(`{"effect":"throttle","rate":1e400}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseRule(text)
		if err != nil {
			return
		}
		if r.Delay < 0 || r.Delay > time.Minute || r.Rate < 0 || r.Count < 0 {
			t.Errorf("ParseRule(%s) = %+v", text, r)
		}
	})
}

func TestParams(t *testing.T) {
	p, err := ParseQuery("M.member.2.N=b&M.member.10.N=c&M.member.1.N=a&L.SubnetIdentifier.1=x&Plain.1=y&Bad.x=1&At=2026-06-01T10:00:00Z&F=1.5&T=TRUE")
	if err != nil {
		t.Fatal(err)
	}
	names := ""
	for _, o := range p.Objects("M") {
		names += o.Str("N")
	}
	at, ok := p.Time("At")
	if names != "abc" || p.Strs("L")[0] != "x" || p.Strs("Plain")[0] != "y" || p.List("Bad") != nil || !ok || at.Hour() != 10 || !p.Truth("T") {
		t.Errorf("read %v: names %q", p, names)
	}
	if n, ok := p.Int("F"); ok {
		t.Errorf("1.5 is the whole number %d", n)
	}
	for _, bad := range []string{"a=1&a.b=2", "a.b.c=1&a.b=2", "%zz=1", strings.Repeat("a.", 20) + "b=1"} {
		if p, err := ParseQuery(bad); err == nil {
			t.Errorf("ParseQuery(%q) = %v, want an error", bad, p)
		}
	}
}
