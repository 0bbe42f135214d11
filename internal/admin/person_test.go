package admin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/pki"
)

// issue makes a person's certificate by the authority of a folder.
func issue(t *testing.T, dir, name, role string) pki.Result {
	t.Helper()
	r, err := pki.Issue(pki.Order{Dir: dir, Person: pki.Person{Name: name, Role: role}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// shows returns what believes the authority of a folder, and shows a certificate if one is named.
func shows(t *testing.T, dir, cert, key string) *tls.Config {
	t.Helper()
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS13}
	c.RootCAs.AppendCertsFromPEM(ca)
	if cert != "" {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(cert, key)
			return &pair, err
		}
	}
	return c
}

// secure serves an API as the first member of two does, with certificates in a folder.
func secure(t *testing.T, dir string, m *member) *httptest.Server {
	t.Helper()
	keepers := authority(t, dir, "us-west-1", "us-west-2", "us-gone-1")
	h, err := New(m, m, configOf(func(c *Config) { c.Hooks = nil }))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.TLS = keepers["us-west-1"].API()
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// knock asks with a certificate, and a token if one is named, and returns the status; 0: the
// handshake failed.
func knock(t *testing.T, config *tls.Config, method, url, token string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(`{"mode":"off"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	a, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}).Do(r)
	if err != nil {
		return 0
	}
	_ = a.Body.Close()
	return a.StatusCode
}

// Each route is open to those kinds of certificates that its role names, and to no others;
// the feed to no person's.
func TestRoutesByCertificate(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	m := founded(t)
	m.failedOver(t, 1)
	s := secure(t, dir, m)
	authority(t, elsewhere, "us-west-2")
	file := func(folder, name string) pki.Result {
		return pki.Result{Cert: filepath.Join(folder, name+".pem"), Key: filepath.Join(folder, name+".key")}
	}
	kinds := map[string]struct {
		shown pki.Result
		may   []need // beside nothing
		feed  bool
		shut  bool // the handshake fails
	}{
		"a viewer":                        {issue(t, dir, "alice", pki.Viewer), []need{toLook}, false, false},
		"a viewer with a member's name":   {issue(t, dir, "us-west-2", pki.Viewer), []need{toLook}, false, false},
		"an operator":                     {issue(t, dir, "bob", pki.Operator), []need{toLook, toRead, toAct}, false, false},
		"a member":                        {file(dir, "us-west-2"), []need{toLook, toRead}, true, false},
		"a member no longer":              {file(dir, "us-gone-1"), nil, false, false},
		"the authority":                   {file(dir, "ca"), nil, false, false},
		"an operator by another":          {issue(t, elsewhere, "bob", pki.Operator), nil, false, true},
		"a member by another":             {file(elsewhere, "us-west-2"), nil, false, true},
		"somebody who shows none":         {pki.Result{}, nil, false, false},
		"an operator whose has ended now": {ended(t, dir), nil, false, true},
	}
	for name, k := range kinds {
		config := shows(t, dir, k.shown.Cert, k.shown.Key)
		for _, r := range (&api{}).routes() {
			path := strings.NewReplacer("{epoch}", "7", "{region}", "nowhere", "{name}", "nobody").Replace(r.path)
			if r.path == "/v1/events/stream" {
				path += "?after=x" // refused, and not for who asks
			}
			may := r.needs == nothing || slices.Contains(k.may, r.needs) && (k.feed || !strings.HasPrefix(r.path, feedPath))
			got := knock(t, config, r.method, s.URL+path, "")
			refused := got == 401 || got == 403 || got == 429
			if refused == may && !k.shut || (got == 0) != k.shut {
				t.Errorf("%s %s of %s: status %d, want to be let in: %t", r.method, r.path, name, got, may && !k.shut)
			}
		}
	}
}

// ended makes an operator's certificate that was good until yesterday.
func ended(t *testing.T, dir string) pki.Result {
	t.Helper()
	r, err := pki.Issue(pki.Order{Dir: dir, Days: 1, Person: pki.Person{Name: "old", Role: pki.Operator}}, time.Now().AddDate(0, 0, -2))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A token counts alone, whoever's certificate is shown beside it.
func TestTokenGoesFirst(t *testing.T) {
	dir := t.TempDir()
	s := secure(t, dir, founded(t))
	viewer, operator := issue(t, dir, "alice", pki.Viewer), issue(t, dir, "bob", pki.Operator)
	for _, c := range []struct {
		shown  pki.Result
		token  string
		status int
	}{
		{operator, "", 200},
		{operator, viewerToken, 403},
		{operator, "unknown-0123456789abcdef", 401},
		{viewer, "", 403},
		{viewer, operatorToken, 200},
	} {
		if got := knock(t, shows(t, dir, c.shown.Cert, c.shown.Key), "PUT", s.URL+"/v1/mode", c.token); got != c.status {
			t.Errorf("with the certificate %s and token %q: status %d, want %d", c.shown.Cert, c.token, got, c.status)
		}
	}
}

// Events name whoever's certificate it was, as they do the owner of a token.
func TestEventsNameThePerson(t *testing.T) {
	dir := t.TempDir()
	m := founded(t)
	s := secure(t, dir, m)
	bob := issue(t, dir, "bob", pki.Operator)
	c, err := NewClient(ClientConfig{URLs: []string{s.URL}, TLS: shows(t, dir, bob.Cert, bob.Key)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.SetMode(t.Context(), Mode{Mode: "off", By: "from her desk"}); err != nil {
		t.Fatal(err)
	}
	state, _ := m.State()
	if last := state.Events[len(state.Events)-1]; !strings.Contains(last.Text, "bob (from her desk)") {
		t.Errorf("the event says %q, want that it was bob", last.Text)
	}
	alice := issue(t, dir, "alice", pki.Viewer)
	if c, err = NewClient(ClientConfig{URLs: []string{s.URL}, TLS: shows(t, dir, alice.Cert, alice.Key)}); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.SetMode(t.Context(), Mode{Mode: "off"})
	p, ok := errors.AsType[*Problem](err)
	if !ok || p.Kind != KindForbidden || p.Detail != "alice is a viewer" || !strings.Contains(p.Next, "certificate of an operator") {
		t.Errorf("SetMode of a viewer = %v, want forbidden, and what would do", err)
	}
}

// Who is refused shakes hands anew when she asks again: she may have a better certificate.
func TestRefusalsEndTheConnection(t *testing.T) {
	dir := t.TempDir()
	s := secure(t, dir, founded(t))
	alice := issue(t, dir, "alice", pki.Viewer)
	transport := &http.Transport{TLSClientConfig: shows(t, dir, alice.Cert, alice.Key)}
	defer transport.CloseIdleConnections()
	for _, c := range []struct {
		path   string
		status int
		last   bool
	}{{"/v1/status", 200, false}, {"/v1/topology", 403, true}, {"/v1/receipts", 200, false}} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+c.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		a, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = a.Body.Close()
		if a.StatusCode != c.status || a.Close != c.last {
			t.Errorf("%s: status %d, and the connection ends: %t; want %d, %t", c.path, a.StatusCode, a.Close, c.status, c.last)
		}
	}
}

// A connection outlives a certificate, and is worth nothing then.
func TestCertificateEndsOnItsConnection(t *testing.T) {
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	leaf := func(uri string) *tls.ConnectionState {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, uri, http.NoBody)
		c := &x509.Certificate{NotAfter: at, URIs: []*url.URL{r.URL}}
		ca := &x509.Certificate{NotAfter: at.AddDate(1, 0, 0)}
		return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c, ca}, VerifiedChains: [][]*x509.Certificate{{c, ca}}}
	}
	for _, c := range []struct {
		uri   string
		after time.Duration
		ok    bool
	}{
		{"roam://person/operator/bob", -time.Second, true},
		{"roam://person/operator/bob", 0, false},
		{"roam://person/operator/bob", time.Hour, false},
		{"roam://region/bob", -time.Second, false},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/status", http.NoBody)
		r.TLS = leaf(c.uri)
		who, err := (&entry{}).admit(r, nil, at.Add(c.after))
		if (err == nil) != c.ok || c.ok && (who.name != "bob" || who.role != Operator || !who.until.Equal(at)) {
			t.Errorf("%s, %v after its end: %+v, %v; want to be let in: %t", c.uri, c.after, who, err, c.ok)
		}
	}
	stream, look := route{serve: http.NotFoundHandler()}, route{}
	for _, c := range []struct {
		who  identity
		to   route
		left time.Duration
		last bool
	}{
		{identity{until: at}, look, 2 * time.Minute, false},
		{identity{until: at}, look, 50 * time.Second, true},
		{identity{until: at}, stream, 2 * time.Minute, true},
		{identity{}, stream, 0, false},
	} {
		if got := c.who.ending(c.to, at.Add(-c.left)); got != c.last {
			t.Errorf("%v before the end of %+v: the last answer of a connection: %t, want %t", c.left, c.who, got, c.last)
		}
	}
}

// A pipes is a listener whose connections are in this process.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7103} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case p.conns <- b:
		return a, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// piped serves an API at a listener, and returns a client that shows a certificate.
func piped(t *testing.T, m *member, keeper *pki.Keeper, shown *tls.Config) (c *Client, stop func()) {
	t.Helper()
	h, err := New(m, m, configOf(nil))
	if err != nil {
		t.Fatal(err)
	}
	l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go func() { _ = s.Serve(tls.NewListener(l, keeper.API())) }() // until it is closed
	c, err = NewClient(ClientConfig{URLs: []string{"https://127.0.0.1:7103"}, TLS: shown, Dial: l.dial})
	if err != nil {
		t.Fatal(err)
	}
	return c, func() { c.Close(); _ = s.Close() }
}

// Whoever follows events goes on when her certificate is renewed in time, by connections of
// her new one, and hears nothing more when it is not. What asks now and then goes on too.
func TestRenewalWhileFollowing(t *testing.T) {
	for _, renewed := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			keeper, m := authority(t, dir, "us-west-1")["us-west-1"], founded(t)
			order := pki.Order{Dir: dir, Days: 1, Person: pki.Person{Name: "alice", Role: pki.Viewer}}
			r, err := pki.Issue(order, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			c, stop := piped(t, m, keeper, shows(t, dir, r.Cert, r.Key))
			defer stop()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var heard atomic.Int64
			followed := make(chan error, 1)
			go func() {
				followed <- c.Follow(ctx, 2, func(Heard) error { heard.Add(1); return nil })
			}()
			happens := func() int64 {
				m.propose(t, ledger.Command{Steer: &ledger.Steer{Mode: "off"}})
				m.propose(t, ledger.Command{Steer: &ledger.Steer{Mode: "advise"}})
				time.Sleep(time.Minute)
				return heard.Load()
			}
			first := happens()
			time.Sleep(23 * time.Hour)
			if _, err := c.Status(ctx); err != nil {
				t.Errorf("Status while it is good = %v", err)
			}
			order.Renew = true
			if renewed {
				if _, err := pki.Issue(order, time.Now()); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(2 * time.Hour)
			more := happens() - first
			_, err = c.Status(ctx)
			if first == 0 || (err == nil) != renewed || (more > 0) != renewed {
				t.Errorf("renewed %t: Status = %v, and %d events after %d; want it to go on: %t", renewed, err, more, first, renewed)
			}
			cancel()
			if err := <-followed; !errors.Is(err, context.Canceled) {
				t.Errorf("Follow = %v, want canceled", err)
			}
		})
	}
}
