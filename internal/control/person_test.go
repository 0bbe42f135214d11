package control

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/pki"
)

// What members ask each other is for members, though a person's certificate comes through
// the same listener and names her as one of them is called.
func TestPeopleAreNoMembers(t *testing.T) {
	dir := t.TempDir()
	hosts := []string{"127.0.0.1"}
	if _, err := pki.Init(dir, []pki.Member{{Region: "west", Hosts: hosts}, {Region: "east", Hosts: hosts}}, false, time.Now()); err != nil {
		t.Fatal(err)
	}
	at := func(name string) (cert, key string) {
		return filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	}
	m := quiet(t)
	cert, key := at("west")
	var err error
	if m.config.Keeper, err = pki.Keep(pki.Files{CA: filepath.Join(dir, "ca.pem"), Cert: cert, Key: key}, "west", slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cert, role string
		want       int
	}{
		{"east", "", http.StatusOK},
		{"west", "", http.StatusForbidden},
		{"people/east", pki.Operator, http.StatusForbidden},
		{"people/east", pki.Viewer, http.StatusForbidden},
	} {
		if c.role != "" {
			o := pki.Order{Dir: dir, Person: pki.Person{Name: "east", Role: c.role}, Renew: true}
			if _, err := pki.Issue(o, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		path, _ := at(c.cert)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		chain := []*x509.Certificate{leaf}
		for _, path := range []string{consentPath, vouchPath, joinedPath, reportPath} {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(`{"from":"east","epoch":1}`))
			r.TLS = &tls.ConnectionState{PeerCertificates: chain, VerifiedChains: [][]*x509.Certificate{chain}}
			m.rpc().ServeHTTP(w, r)
			if w.Code != c.want {
				t.Errorf("%s by %s %s: status %d, want %d", path, c.role, c.cert, w.Code, c.want)
			}
		}
	}
}
