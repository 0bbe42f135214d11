package admin

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/pki"
)

func tokensOf() []Token {
	return []Token{
		{Name: "dashboard", Role: Viewer, SHA256: sha256.Sum256([]byte(viewerToken))},
		{Name: "oncall", Role: Operator, SHA256: sha256.Sum256([]byte(operatorToken))},
		{Name: "weak", Role: Operator, SHA256: sha256.Sum256([]byte("short"))},
	}
}

// Every route asks who it is, but for two, and an operator's asks for one.
func TestWhoMay(t *testing.T) {
	m := founded(t)
	m.failedOver(t, 1)
	s := serve(t, m, func(c *Config) { c.Hooks = nil })
	a := &api{}
	for _, r := range a.routes() {
		path := strings.NewReplacer("{epoch}", "7", "{region}", "nowhere", "{name}", "nobody").Replace(r.path)
		if r.path == "/v1/events/stream" {
			path += "?after=x" // refused, and not for who asks
		}
		status := func(token string) int {
			return s.ask(asking{method: r.method, path: path, token: token}, nil).StatusCode
		}
		if got := status("-"); (got == 401 || got == 429) == (r.needs == nothing) {
			t.Errorf("%s %s of nobody: status %d", r.method, path, got)
		}
		if got := status(viewerToken); (got == 403) != (r.needs == toAct || r.needs == toRead) {
			t.Errorf("%s %s of a viewer: status %d", r.method, path, got)
		}
		if got := status(operatorToken); got == 401 || got == 403 {
			t.Errorf("%s %s of an operator: status %d", r.method, path, got)
		}
	}
}

func TestTokens(t *testing.T) {
	s := serve(t, founded(t), nil)
	for name, header := range map[string]string{
		"unknown": "Bearer 0123456789abcdef0123456789", "short, though its hash is known": "Bearer short", "no scheme": operatorToken,
		"another scheme": "Basic " + operatorToken, "none": "Bearer ", "long": "Bearer " + strings.Repeat("x", 1000),
		"a hash": fmt.Sprintf("Bearer %x", sha256.Sum256([]byte(operatorToken))), "one more letter": "Bearer " + operatorToken + "x",
	} {
		a := s.ask(asking{method: "GET", path: "/v1/status", token: "-", header: map[string]string{"Authorization": header}}, nil)
		if a.StatusCode != http.StatusUnauthorized || a.Header.Get("WWW-Authenticate") != `Bearer realm="roam"` {
			t.Errorf("%s: status %d, want 401", name, a.StatusCode)
		}
	}
	if a := s.ask(asking{method: "GET", path: "/v1/status", token: "-", header: map[string]string{"Authorization": "bearer  " + operatorToken}}, nil); a.StatusCode != http.StatusOK {
		t.Errorf("in small letters: status %d, want 200", a.StatusCode)
	}
	token, hash := NewToken()
	again, _ := NewToken()
	if len(token) < leastToken || hash != sha256.Sum256([]byte(token)) || token == again {
		t.Errorf("NewToken = %q, then %q", token, again)
	}
}

// Who is not let in too often is told to come later, and whoever has a token is let in.
func TestFailuresAreBounded(t *testing.T) {
	s := serve(t, founded(t), nil)
	wrong := asking{method: "GET", path: "/v1/status", token: strings.Repeat("x", 30)}
	for range failBurst {
		s.refused(wrong, 401, KindUnauthorized)
	}
	s.refused(wrong, 429, KindTooMany)
	if a := s.ask(wrong, nil); a.Header.Get("Retry-After") != "6" {
		t.Errorf("Retry-After %q, want 6", a.Header.Get("Retry-After"))
	}
	if a := s.ask(asking{method: "GET", path: "/v1/status"}, nil); a.StatusCode != http.StatusOK {
		t.Errorf("with a token: status %d", a.StatusCode)
	}
}

func TestThrottle(t *testing.T) {
	var th throttle
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for range failBurst {
		if wait := th.take("a", now); wait != 0 {
			t.Fatalf("within the burst: wait %v", wait)
		}
	}
	for range 3 { // what is refused is not counted
		if wait := th.take("a", now); wait != failEvery {
			t.Errorf("beyond the burst: wait %v, want %v", wait, failEvery)
		}
	}
	if wait := th.take("b", now); wait != 0 {
		t.Errorf("of another network: wait %v", wait)
	}
	if wait := th.take("a", now.Add(failEvery)); wait != 0 {
		t.Errorf("after %v: wait %v", failEvery, wait)
	}
	for i := range maxNetworks {
		th.take(fmt.Sprint("n", i), now)
	}
	if len(th.clear) > maxNetworks+1 {
		t.Errorf("%d networks are remembered, want at most %d", len(th.clear), maxNetworks+1)
	}
	for range failBurst {
		th.take("late", now)
	}
	if wait := th.take("later", now); wait == 0 {
		t.Error("those beyond the bound do not share an allowance")
	}
	th.take("a", now.Add(time.Hour))
	if th.take("fresh", now.Add(time.Hour)); len(th.clear) > 2 {
		t.Errorf("%d networks are remembered an hour later", len(th.clear))
	}
}

func TestNetwork(t *testing.T) {
	for addr, want := range map[string]string{
		"10.1.2.3:4000": "10.1.2.3", "[2001:db8:1:2:3:4:5:6]:4000": "2001:db8:1:2::", "[::ffff:10.1.2.3]:1": "::ffff:10.1.2.3", "pipe": "pipe",
	} {
		if got := network(addr); got != want {
			t.Errorf("network(%s) = %s, want %s", addr, got, want)
		}
	}
}

// An open deployment is open to its own machine, and not to pages that a browser there shows.
func TestOpen(t *testing.T) {
	open := func(c *Config) { c.Open, c.Tokens = true, nil }
	s := serve(t, founded(t), open)
	mode := asking{method: "PUT", path: "/v1/mode", body: `{"mode":"off"}`, token: "-"}
	if a := s.ask(mode, nil); a.StatusCode != http.StatusOK {
		t.Errorf("status %d, want 200", a.StatusCode)
	}
	for name, header := range map[string]map[string]string{
		"a page of another site": {"Sec-Fetch-Site": "cross-site"},
		"an old browser's":       {"Origin": "https://evil.example"},
	} {
		mode.header = header
		if p := s.refused(mode, 403, KindForbidden); !strings.Contains(p.Detail, "another site") {
			t.Errorf("%s: %+v", name, p)
		}
	}
	for _, c := range []struct {
		host, from string
		ok         bool
	}{
		{"127.0.0.1:7103", "127.0.0.1:4000", true},
		{"localhost", "[::1]:4000", true},
		{"[::1]:7103", "[::1]:4000", true},
		{"evil.example:7103", "127.0.0.1:4000", false}, // its name leads to loopback
		{"127.0.0.1.evil.example", "127.0.0.1:4000", false},
		{"127.0.0.1:7103", "10.1.2.3:4000", false},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/mode", http.NoBody)
		r.Host, r.RemoteAddr = c.host, c.from
		who, err := (&entry{open: true}).admit(r, nil, time.Now())
		if got := err == nil && who.role == Operator; got != c.ok {
			t.Errorf("asked as %s from %s: %+v, %v, want to be let in: %v", c.host, c.from, who, err, c.ok)
		}
	}
	closed := serve(t, founded(t), nil)
	closed.refused(asking{method: "GET", path: "/v1/status", token: "-"}, 401, KindUnauthorized)
}

// A member is whoever has a certificate of one of them; others of the authority are nobody.
func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	keepers := authority(t, dir, "us-west-1", "us-west-2", "us-gone-1")
	report := func(of string, _ []byte) error {
		if of != "us-west-2" {
			t.Errorf("a report of %q, want it of whose certificate was shown", of)
		}
		return nil
	}
	h, err := New(founded(t), founded(t), configOf(func(c *Config) { c.Open, c.Report = true, report }))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.TLS = keepers["us-west-1"].API()
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	for _, c := range []struct {
		who, method, path string
		status            int
	}{
		{"us-west-2", "GET", "/v1/status", 200},
		{"us-west-2", "GET", "/v1/topology", 200},
		{"us-west-2", "GET", "/v1/feed", 200},
		{"us-west-2", "POST", "/v1/feed/report", 200},
		{"us-west-2", "PUT", "/v1/mode", 403},
		{"us-gone-1", "POST", "/v1/feed/report", 401},
		{"", "POST", "/v1/feed/report", 401},
		{"us-gone-1", "GET", "/v1/status", 401},
		{"", "GET", "/v1/status", 401}, // though it is open: that is without TLS alone
		{"", "GET", "/v1/health", 200},
	} {
		conf := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
		if c.who != "" {
			conf = keepers[c.who].Client("us-west-1", "127.0.0.1")
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}}
		r, err := http.NewRequestWithContext(t.Context(), c.method, s.URL+c.path, strings.NewReader(`{"mode":"off"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		a, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = a.Body.Close()
		if a.StatusCode != c.status || a.Header.Get("Strict-Transport-Security") == "" {
			t.Errorf("%s %s of %q: status %d, want %d", c.method, c.path, c.who, a.StatusCode, c.status)
		}
	}
}

// authority makes certificates of members by one authority, and returns their keepers.
func authority(t *testing.T, dir string, names ...string) map[string]*pki.Keeper {
	t.Helper()
	var members []pki.Member
	for _, name := range names {
		members = append(members, pki.Member{Region: name, Hosts: []string{"127.0.0.1"}})
	}
	if _, err := pki.Init(dir, members, false, time.Now()); err != nil {
		t.Fatal(err)
	}
	out := map[string]*pki.Keeper{}
	for _, name := range names {
		k, err := pki.Keep(pki.Files{
			CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, name+".pem"), Key: filepath.Join(dir, name+".key"),
		}, name, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = k
	}
	return out
}

// The log has who changed what, and no token.
func TestLogHasNoSecrets(t *testing.T) {
	var mu sync.Mutex
	var log strings.Builder
	s := serve(t, founded(t), func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(locked{&mu, &log}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	s.ask(asking{method: "PUT", path: "/v1/mode", body: `{"mode":"off"}`}, nil)
	s.ask(asking{method: "PUT", path: "/v1/mode", body: `{"mode":"off"}`, token: "wrong-0123456789abcdef-wrong"}, nil)
	mu.Lock()
	defer mu.Unlock()
	if text := log.String(); !strings.Contains(text, "who=oncall") || !strings.Contains(text, "/v1/mode") || strings.Contains(text, "0123456789abcdef") {
		t.Errorf("the log says %q", text)
	}
}

type locked struct {
	mu *sync.Mutex
	to *strings.Builder
}

func (l locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(b)
}

func TestHeaders(t *testing.T) {
	s := serve(t, founded(t), nil)
	for _, path := range []string{"/v1/health", "/v1/nothing"} {
		h := s.ask(asking{method: "GET", path: path, token: "-"}, nil).Header
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Strict-Transport-Security": "",
		} {
			if h.Get(name) != want {
				t.Errorf("%s: %s is %q, want %q", path, name, h.Get(name), want)
			}
		}
	}
}
