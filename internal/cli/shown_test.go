package cli

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/admin"
	"github.com/roam-sessions/roam/internal/pki"
)

// secured writes a deployment of one Region, with an authority in a folder beside it.
func (c *council) secured() (config string) {
	c.Helper()
	config = filepath.Join(c.dir, "roam.yaml")
	text := fmt.Sprintf(`version: 1
name: sessions
topology: active-active
links: {tls: {ca: pki/ca.pem, cert: "pki/{region}.pem", key: "pki/{region}.key"}}
regions: [{name: region-1, id: 1, engine: {memory: {}}, node: {links: %q, http: %q, control: %q, api: %q}}]
control: {dir: "data/{region}", tokens: [{name: dashboard, role: viewer, sha256_file: token.sha256}]}
`, c.ports[0], c.ports[1], c.ports[2], c.ports[3])
	token, hash := admin.NewToken()
	for name, text := range map[string]string{"roam.yaml": text, "token": token, "token.sha256": fmt.Sprintf("%x\n", hash)} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
			c.Fatal(err)
		}
	}
	c.asks(exitOK, "pki", "init", "--config", config, "--dir", filepath.Join(c.dir, "pki"))
	return config
}

// People ask by their certificates, named by flags or in the environment, and what is wrong
// with one is said with what to do about it.
func TestPeopleAsk(t *testing.T) {
	c := newCouncil(t)
	config := c.secured()
	authority, elsewhere := filepath.Join(c.dir, "pki"), filepath.Join(c.dir, "elsewhere")
	at := func(name string) string { return filepath.Join(authority, "people", name+".pem") }
	c.asks(exitOK, "pki", "issue", "alice", "--role", "viewer", "--dir", authority)
	c.asks(exitOK, "pki", "issue", "bob", "--role", "operator", "--dir", authority)
	c.asks(exitOK, "pki", "init", "--region", "region-1", "--dir", elsewhere)
	c.asks(exitOK, "pki", "issue", "alice", "--role", "operator", "--dir", elsewhere)
	if _, err := pki.Issue(pki.Order{Dir: authority, Days: 1, Person: pki.Person{Name: "old", Role: pki.Viewer}}, time.Now().AddDate(0, 0, -2)); err != nil {
		t.Fatal(err)
	}
	c.runs("region-1", "node", "--config", config, "--region", "region-1")
	soon(t, "the deployment is founded, and bob may say what he likes", func() bool {
		return Run(t.Context(), []string{"mode", "advise", "--cert", at("bob"), "--config", config}, io.Discard, io.Discard) == exitOK
	})
	stranger := filepath.Join(elsewhere, "people", "alice.pem")
	token := filepath.Join(c.dir, "token")
	for _, ask := range []struct {
		code int
		args string
		want []string
	}{
		{exitOK, "mode off --cert " + at("bob"), nil},
		{exitOK, "events --cert " + at("alice"), []string{"off, by bob"}},
		{exitOK, "status --as region-1", nil},
		{exitOK, "status --token-file " + token, nil},
		{exitOK, "status --cert " + at("bob") + " --key " + strings.TrimSuffix(at("bob"), "pem") + "key --ca " + authority + "/ca.pem", nil},
		{exitFailed, "mode off --cert " + at("alice"), []string{"alice is a viewer", "roam pki issue NAME --role operator"}},
		{exitFailed, "status", []string{"nobody asks", "--cert"}},
		{exitUsage, "status --cert " + at("old"), []string{"old.pem has ended at", "roam pki issue old --renew"}},
		{exitUsage, "status --cert " + stranger, []string{"is not by the authority of", "--ca"}},
		{exitFailed, "status --cert " + stranger + " --ca " + elsewhere + "/ca.pem", []string{"no member could be asked", "new authority", "--ca"}},
		{exitUsage, "status --cert " + authority + "/ca.pem", []string{"of no person and of no member", "roam pki issue NAME --role"}},
		{exitUsage, "status --cert " + at("nobody"), []string{"the certificate to show", "no such file"}},
		{exitUsage, "status --ca " + at("nobody"), []string{"the deployment's authority", "$ROAM_CA"}},
		{exitUsage, "status --cert " + at("bob") + " --token-file " + token, []string{"show one of them"}},
		{exitUsage, "status --key " + at("bob"), []string{"name that with --cert"}},
		{exitUsage, "status --cert x --config " + c.file("plain.yaml", "region-1"), []string{"take no certificates"}},
	} {
		args := strings.Fields(ask.args)
		if !strings.Contains(ask.args, "--config") {
			args = append(args, "--config", config)
		}
		text := c.asks(ask.code, args...)
		for _, want := range ask.want {
			if !strings.Contains(text, want) {
				t.Errorf("roam %s says %q, want %q", ask.args, text, want)
			}
		}
	}
	c.asksByEnvironment(config, at)
}

// asksByEnvironment shows what variables name: a token before a certificate, a flag before both.
func (c *council) asksByEnvironment(config string, at func(string) string) {
	c.Helper()
	ca, err := os.ReadFile(filepath.Join(c.dir, "pki", "ca.pem"))
	if err != nil {
		c.Fatal(err)
	}
	moved := filepath.Join(c.dir, "moved.pem")
	if err := os.WriteFile(moved, ca, 0o600); err != nil {
		c.Fatal(err)
	}
	key := strings.TrimSuffix(at("bob"), ".pem") + ".key"
	other := filepath.Join(c.dir, "other")
	if err := os.Rename(key, other); err != nil {
		c.Fatal(err)
	}
	c.Setenv(certVariable, at("bob"))
	c.asks(exitUsage, "mode", "advise", "--config", config) // its key is not beside it
	c.Setenv(keyVariable, other)
	c.Setenv(caVariable, moved)
	c.asks(exitOK, "mode", "advise", "--config", config)
	token, err := os.ReadFile(filepath.Join(c.dir, "token"))
	if err != nil {
		c.Fatal(err)
	}
	c.Setenv(tokenVariable, string(token))
	if text := c.asks(exitFailed, "mode", "off", "--config", config); !strings.Contains(text, "dashboard is a viewer") {
		c.Errorf("with a token and a certificate in the environment: %q", text)
	}
	c.asks(exitOK, "mode", "off", "--config", config, "--cert", at("bob"), "--key", other)
	if text := c.asks(exitFailed, "mode", "off", "--config", config, "--as", "region-1"); !strings.Contains(text, "region-1 is a member") {
		c.Errorf("as a member, with a token in the environment: %q", text)
	}
	c.Setenv(caVariable, at("nobody"))
	c.asks(exitUsage, "status", "--config", config)
	c.asks(exitOK, "status", "--config", config, "--ca", moved)
}

// A certificate is read again at each handshake: a renewal is shown at once, half of one
// not, and what has ended is not shown to anybody.
func TestWhatIsShownIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	if _, err := pki.Init(dir, nil, false, time.Now()); err != nil {
		t.Fatal(err)
	}
	order := pki.Order{Dir: dir, Person: pki.Person{Name: "alice", Role: pki.Viewer}}
	renew := func(made time.Time) {
		t.Helper()
		order.Renew = true
		if _, err := pki.Issue(order, made); err != nil {
			t.Fatal(err)
		}
	}
	renew(time.Now())
	s := showing{cert: filepath.Join(dir, "people", "alice.pem"), key: filepath.Join(dir, "people", "alice.key"), ca: filepath.Join(dir, "ca.pem")}
	config, err := s.tls(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	shown := func() string {
		t.Helper()
		pair, err := config.GetClientCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.SerialNumber.String()
	}
	first := shown()
	renew(time.Now())
	second := shown()
	if first == second {
		t.Error("after a renewal the old one is shown")
	}
	if err := os.WriteFile(s.key, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := shown(); got != first {
		t.Errorf("with half of a renewal: %s is shown, want %s as at the beginning", got, first)
	}
	renew(time.Now().AddDate(0, 0, -pki.PersonDays-1))
	_, err = config.GetClientCertificate(nil)
	if p, ok := errors.AsType[*admin.Problem](err); !ok || p.Kind != admin.KindUnauthorized || !strings.Contains(p.Detail, "roam pki issue alice --renew") {
		t.Errorf("when it has ended: %v, want a problem that says what to do", err)
	}
}

// Where a member hangs up on a certificate there is a hint, and where it is a network none.
func TestWhoHangsUp(t *testing.T) {
	alert := fmt.Errorf("ask: %w", &net.OpError{Op: "remote error", Err: tls.AlertError(45)})
	if err := explained(alert); !errors.Is(err, alert) || !strings.Contains(err.Error(), "look at its end, and at both clocks") {
		t.Errorf("of an alert: %v, want what to look at", err)
	}
	refused := fmt.Errorf("ask: %w", &net.OpError{Op: "dial", Err: errors.New("connection refused")})
	if err := explained(refused); err.Error() != refused.Error() {
		t.Errorf("of a network: %v, want %v", err, refused)
	}
}
