package door

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/roam-sessions/roam/fakeaws/internal/clock"
	"github.com/roam-sessions/roam/fakeaws/internal/iam"
)

// ask is a request, and how it is signed.
type ask struct {
	url, body       string
	key, secret     string
	service, region string
	at              time.Time
	headers         map[string]string
}

func good(url string) ask {
	return ask{
		url: url, body: "Action=Echo&Version=1&Text=a%2Bb", key: "AKID", secret: "secret", service: "elasticache", region: "us-west-1", at: time.Now(),
		headers: map[string]string{"Content-Type": "application/x-www-form-urlencoded"},
	}
}

func (a ask) request(t *testing.T) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.url, strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range a.headers {
		r.Header.Set(k, v)
	}
	sum := sha256.Sum256([]byte(a.body))
	err = v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: a.key, SecretAccessKey: a.secret}, r, hex.EncodeToString(sum[:]), a.service, a.region, a.at)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func send(t *testing.T, r *http.Request) (int, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// echo is a service that says back what it is told.
func echo(act func(ctx context.Context, c *Call) (any, error)) *Service {
	return &Service{
		Name: "elasticache", Regions: []string{"us-west-1", "us-west-2"},
		Speaks: func(*http.Request) Protocol { return Query{Namespace: "http://echo/", Version: "1"} },
		Act:    act,
	}
}

func told(_ context.Context, c *Call) (any, error) {
	switch c.Action {
	case "Echo":
		return struct{ Text string }{c.Params.Str("Text")}, nil
	case "Fail":
		return nil, Faultf(http.StatusNotFound, "NoSuchThing", "a < b")
	case "Break":
		return nil, errors.New("broken")
	}
	return nil, ErrUnknownAction
}

func open(t *testing.T, s *Service, c clock.Clock) (*Keeper, string) {
	t.Helper()
	k := NewKeeper(c, "123456789012")
	k.Admit("AKID", Caller{ARN: "arn:aws:iam::123456789012:user/tester", Secret: "secret"})
	server := httptest.NewServer(k.Door(s, "us-west-1"))
	t.Cleanup(server.Close)
	return k, server.URL
}

func TestSignatures(t *testing.T) {
	k, url := open(t, echo(told), clock.Real{})
	front := httptest.NewServer(k.Front())
	defer front.Close()
	change := func(f func(a *ask)) ask {
		a := good(url + "/")
		f(&a)
		return a
	}
	for name, c := range map[string]struct {
		ask    ask
		mangle func(r *http.Request)
		status int
		want   string
	}{
		"good":                   {good(url + "/"), nil, 200, "<EchoResult><Text>a+b</Text></EchoResult>"},
		"good, at the front":     {good(front.URL + "/"), nil, 200, "<Text>a+b</Text>"},
		"good, with a query":     {good(url + "/?b=1&a=%20%2F&b=0"), nil, 200, "<Text>a+b</Text>"},
		"good, an escaped path":  {good(url + "/a%2Fb%20c:d"), nil, 200, "<Text>a+b</Text>"},
		"another secret":         {change(func(a *ask) { a.secret = "other" }), nil, 403, "<Code>SignatureDoesNotMatch</Code>"},
		"a stranger":             {change(func(a *ask) { a.key = "OTHER" }), nil, 403, "<Code>InvalidClientTokenId</Code>"},
		"another service":        {change(func(a *ask) { a.service = "sns" }), nil, 403, "correct service: &#39;elasticache&#39;"},
		"another Region":         {change(func(a *ask) { a.region = "us-west-2" }), nil, 403, "valid region, not &#39;us-west-2&#39;"},
		"no such Region, front":  {change(func(a *ask) { a.url, a.region = front.URL, "mars-1" }), nil, 403, "valid region, not &#39;mars-1&#39;"},
		"no such service, front": {change(func(a *ask) { a.url, a.service = front.URL, "s3" }), nil, 403, "<Code>SignatureDoesNotMatch</Code>"},
		"an old one":             {change(func(a *ask) { a.at = a.at.Add(-6 * time.Minute) }), nil, 403, "Signature expired"},
		"one to come":            {change(func(a *ask) { a.at = a.at.Add(6 * time.Minute) }), nil, 403, "not yet current"},
		"none":                   {good(url), func(r *http.Request) { r.Header.Del("Authorization") }, 403, "<Code>MissingAuthenticationToken</Code>"},
		"none, front":            {good(front.URL), func(r *http.Request) { r.Header.Del("Authorization") }, 403, "<Code>MissingAuthenticationToken</Code>"},
		"no signature":           {good(url), func(r *http.Request) { r.Header.Set("Authorization", "Basic YTpi") }, 400, "<Code>IncompleteSignature</Code>"},
		"another body": {good(url), func(r *http.Request) {
			body := strings.Replace(good("").body, "Text=a", "Text=b", 1)
			r.Body = io.NopCloser(strings.NewReader(body))
		}, 403, "<Code>SignatureDoesNotMatch</Code>"},
		"another path":       {good(url + "/a"), func(r *http.Request) { r.URL.Path = "/b" }, 403, "<Code>SignatureDoesNotMatch</Code>"},
		"another query":      {good(url + "/?a=1"), func(r *http.Request) { r.URL.RawQuery = "a=2" }, 403, "<Code>SignatureDoesNotMatch</Code>"},
		"another header":     {good(url), func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 403, "<Code>SignatureDoesNotMatch</Code>"},
		"a fault":            {change(func(a *ask) { a.body = "Action=Fail&Version=1" }), nil, 404, "<Code>NoSuchThing</Code><Message>a &lt; b</Message>"},
		"a fault of ours":    {change(func(a *ask) { a.body = "Action=Break&Version=1" }), nil, 500, "<Type>Receiver</Type><Code>InternalFailure</Code>"},
		"an unknown action":  {change(func(a *ask) { a.body = "Action=Sing&Version=1" }), nil, 400, "<Code>InvalidAction</Code>"},
		"an unknown version": {change(func(a *ask) { a.body = "Action=Echo&Version=2" }), nil, 400, "<Code>InvalidAction</Code>"},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.ask.request(t)
			if c.mangle != nil {
				c.mangle(r)
			}
			status, body := send(t, r)
			if status != c.status || !strings.Contains(body, c.want) {
				t.Errorf("%d %s\nwant %d with %s", status, body, c.status, c.want)
			}
		})
	}
}

// A date in the scope that is not the request's is refused though it is signed.
func TestScopeOfAnotherDay(t *testing.T) {
	s := Signature{Date: "20260101"}
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("X-Amz-Date", "20260102T000000Z")
	if err := s.checkTime(r, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)); err == nil {
		t.Error("the scope of another day is good")
	}
}

func TestPolicyAndJournal(t *testing.T) {
	s := echo(told)
	s.Asks = func(*Call) []iam.Request { return []iam.Request{{Resource: "arn:thing"}} }
	k, url := open(t, s, clock.Real{})
	p, err := iam.Decode([]byte(`{"Statement":{"Effect":"Allow","Action":"elasticache:Echo","Resource":"arn:thing"}}`))
	if err != nil {
		t.Fatal(err)
	}
	k.Admit("AKID", Caller{ARN: "arn:aws:iam::123456789012:role/f", Secret: "secret", Policy: &p})
	status, body := send(t, good(url).request(t))
	if status != 200 {
		t.Fatalf("%d %s, want what the policy allows", status, body)
	}
	a := good(url)
	a.body = "Action=Fail&Version=1"
	status, body = send(t, a.request(t))
	if status != 403 || !strings.Contains(body, "<Code>AccessDenied</Code>") || !strings.Contains(body, "elasticache:Fail on resource: arn:thing") {
		t.Errorf("%d %s, want AccessDenied", status, body)
	}
	got := k.Records()
	if len(got) != 2 || got[0].Action != "Echo" || got[0].Code != "" || got[1].Code != "AccessDenied" || got[1].Resources[0] != "arn:thing" {
		t.Errorf("journal: %+v, want Echo and what was denied", got)
	}
}

func TestJournalForgetsTheOldest(t *testing.T) {
	k := NewKeeper(clock.Real{}, "1")
	for i := range mostRecords + 3 {
		k.note(Record{Action: strings.Repeat("x", i%7), Code: string(rune('a' + i%26))})
	}
	got := k.Records()
	if len(got) != mostRecords || got[0].Code != "d" || got[len(got)-1].Code != string(rune('a'+(mostRecords+2)%26)) {
		t.Errorf("%d records from %q to %q", len(got), got[0].Code, got[len(got)-1].Code)
	}
}

func TestRules(t *testing.T) {
	var done atomic.Int64
	k, url := open(t, echo(func(context.Context, *Call) (any, error) { done.Add(1); return struct{}{}, nil }), clock.Real{})
	for name, c := range map[string]struct {
		rule   Rule
		status int
		want   string
		done   int64
	}{
		"an outage":           {Rule{Service: "elasticache", Effect: Outage}, 503, "<Code>ServiceUnavailable</Code>", 0},
		"an outage, by name":  {Rule{Effect: Outage, Code: "InternalFailure", Status: 500}, 500, "<Code>InternalFailure</Code>", 0},
		"of another Region":   {Rule{Region: "us-west-2", Effect: Outage}, 200, "EchoResponse", 1},
		"of another service":  {Rule{Service: "sns", Effect: Outage}, 200, "EchoResponse", 1},
		"of another action":   {Rule{Action: "Sing", Effect: Outage}, 200, "EchoResponse", 1},
		"a throttle":          {Rule{Action: "Echo", Effect: Throttle}, 400, "<Code>Throttling</Code><Message>Rate exceeded", 0},
		"a connection closed": {Rule{Effect: Refuse}, 0, "EOF", 0},
		"a lost answer":       {Rule{Effect: Lose}, 0, "EOF", 1},
		"a slow one":          {Rule{Effect: Slow, Delay: time.Millisecond}, 200, "EchoResponse", 1},
	} {
		t.Run(name, func(t *testing.T) {
			done.Store(0)
			id, err := k.Rules.Add(c.rule)
			if err != nil {
				t.Fatal(err)
			}
			r := good(url).request(t)
			r.GetBody = nil // the client must not try again
			status, body := send(t, r)
			if status != c.status || !strings.Contains(body, c.want) || done.Load() != c.done {
				t.Errorf("%d %s, done %d times, want %d %s, %d times", status, body, done.Load(), c.status, c.want, c.done)
			}
			if !k.Rules.Remove(id) {
				t.Error("the rule went by itself")
			}
		})
	}
}

func TestRuleHangs(t *testing.T) {
	k, url := open(t, echo(told), clock.Real{})
	if _, err := k.Rules.Add(Rule{Effect: Hang, Count: 1}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if resp, err := http.DefaultClient.Do(good(url).request(t).WithContext(ctx)); err == nil {
		_ = resp.Body.Close()
		t.Error("answered, want nothing until the client gives up")
	}
	if status, body := send(t, good(url).request(t)); status != 200 {
		t.Errorf("the call after the one that hangs: %d %s", status, body)
	}
	if len(k.Rules.List()) != 0 {
		t.Error("the rule outlives its count")
	}
}

func TestRulesAreBounded(t *testing.T) {
	var rs Rules
	for range mostRules {
		if _, err := rs.Add(Rule{Effect: Hang}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := rs.Add(Rule{Effect: Hang}); !errors.Is(err, ErrRule) {
		t.Errorf("one more: %v, want ErrRule", err)
	}
	rs.Clear()
	if _, err := rs.Add(Rule{Effect: Hang}); err != nil {
		t.Error(err)
	}
}

func TestBuckets(t *testing.T) {
	m := clock.NewManual(time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC))
	s := echo(told)
	s.Bucket = func(action string) (rate, burst float64) {
		if action == "" {
			return 0, 0
		}
		return 2, 3
	}
	_, url := open(t, s, m)
	try := func() (ok int) {
		for range 5 {
			if status, _ := send(t, good(url).request(t)); status == 200 {
				ok++
			}
		}
		return ok
	}
	if got := try(); got != 3 {
		t.Errorf("%d pass at once, want the burst of 3", got)
	}
	m.Advance(time.Second)
	if got := try(); got != 2 {
		t.Errorf("%d pass a second later, want 2", got)
	}
	m.Advance(time.Hour)
	if got := try(); got != 3 {
		t.Errorf("%d pass an hour later, want no more than the burst", got)
	}
}

// Bodies are unzipped as far as they may be long, and signed as they were sent.
func TestGzip(t *testing.T) {
	_, url := open(t, echo(told), clock.Real{})
	zip := func(plain string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(plain))
		_ = z.Close()
		return b.String()
	}
	a := good(url)
	a.headers["Content-Encoding"] = "gzip"
	a.body = zip(good("").body)
	if status, body := send(t, a.request(t)); status != 200 || !strings.Contains(body, "<Text>a+b</Text>") {
		t.Errorf("%d %s", status, body)
	}
	a.body = zip("Action=Echo&Version=1&Text=" + strings.Repeat("x", mostBody))
	if status, body := send(t, a.request(t)); status != 400 || !strings.Contains(body, "too large") {
		t.Errorf("%d %.200s, want that it is too large", status, body)
	}
}
