package cli

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/roam-sessions/roam/internal/admin"
	"github.com/roam-sessions/roam/internal/pki"
	"github.com/roam-sessions/roam/internal/topology"
)

// What is shown to the admin API, and whom to believe, if no flag says so.
const (
	certVariable = "ROAM_CERT"
	keyVariable  = "ROAM_KEY"
	caVariable   = "ROAM_CA"
)

// A showing is what somebody proves with who she is. Files may be empty.
type showing struct {
	token     string
	cert, key string
	ca        string
}

// showing returns what is to be shown. A flag goes before all that is in the environment,
// and there a token before a certificate, as it does where it is shown.
func (a *asking) showing(d topology.Deployment) (s showing, err error) {
	given := 0
	for _, flag := range []string{a.token, a.as, a.cert} {
		if flag != "" {
			given++
		}
	}
	switch {
	case given > 1:
		return s, usagef("--token-file, --cert and --as: show one of them")
	case a.cert != "":
		s.cert, s.key = a.cert, a.key
	case a.key != "":
		return s, usagef("--key is the key of a certificate: name that with --cert")
	case a.as != "" && d.Links.TLS != nil:
		files := d.Links.TLS.For(a.as)
		s.cert, s.key = files.Cert, files.Key
	case a.token != "":
		b, err := os.ReadFile(a.token)
		if err != nil {
			return s, usagef("read the token: %w", err)
		}
		s.token = strings.TrimSpace(string(b))
	default:
		if s.token = os.Getenv(tokenVariable); s.token == "" {
			s.cert, s.key = os.Getenv(certVariable), os.Getenv(keyVariable)
		}
	}
	if s.key == "" {
		s.key = strings.TrimSuffix(s.cert, ".pem") + ".key"
	}
	return s, a.believing(d, &s)
}

// believing says whose authority is believed. Without TLS nobody's is, and what is in the
// environment is for other deployments.
func (a *asking) believing(d topology.Deployment, s *showing) error {
	switch {
	case d.Links.TLS != nil:
		s.ca = cmp.Or(a.ca, os.Getenv(caVariable), d.Links.TLS.CA)
	case a.cert != "" || a.ca != "":
		return usagef("%s has no links.tls: its members take no certificates", a.config)
	}
	return nil
}

// tls returns whom to believe, and the certificate to show, if one is. It is read again at
// each handshake: whoever follows events for weeks renews hers meanwhile.
func (s showing) tls(now time.Time) (*tls.Config, error) {
	ca, err := os.ReadFile(s.ca)
	if err != nil {
		return nil, fmt.Errorf("the deployment's authority: %w\n%sname its file with --ca or $%s", err, arrow, caVariable)
	}
	out := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: x509.NewCertPool()}
	if !out.RootCAs.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s holds no certificate", s.ca)
	}
	if s.cert == "" {
		return out, nil
	}
	last, err := tls.LoadX509KeyPair(s.cert, s.key)
	if err != nil {
		return nil, fmt.Errorf("the certificate to show: %w", err)
	}
	if err := s.check(last.Leaf, out.RootCAs, now); err != nil {
		return nil, err
	}
	out.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(s.cert, s.key)
		if err != nil {
			pair = last // half of a renewal is there: the old one may do once more
		}
		// A member could only hang up on it, and would be asked again and again.
		if err := s.check(pair.Leaf, out.RootCAs, time.Now()); err != nil {
			return nil, &admin.Problem{Kind: admin.KindUnauthorized, Detail: err.Error()}
		}
		return &pair, nil
	}
	return out, nil
}

// check says what is wrong with a certificate before members do, who can't say it as well.
func (s showing) check(leaf *x509.Certificate, roots *x509.CertPool, now time.Time) error {
	p, err := pki.OfPerson(leaf)
	next := fmt.Sprintf("\n%smake another: roam pki issue %s --renew", arrow, p.Name)
	if err != nil {
		if _, err := pki.Region(leaf); err != nil {
			return fmt.Errorf("%s is of no person and of no member\n%smake one: roam pki issue NAME --role viewer|operator", s.cert, arrow)
		}
		next = "\n" + arrow + "make another: roam pki init --renew"
	}
	switch {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("%s has ended at %s%s", s.cert, leaf.NotAfter.UTC().Format(time.RFC3339), next)
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("%s begins at %s only\n%sset this machine's clock", s.cert, leaf.NotBefore.UTC().Format(time.RFC3339), arrow)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err != nil {
		return fmt.Errorf("%s is not by the authority of %s: %w\n%sname the authority of this deployment with --ca or $%s, or have it make a certificate: roam pki issue",
			s.cert, s.ca, err, arrow, caVariable)
	}
	return nil
}

// unproven says what to do where one end did not take the other's certificate.
func unproven(err error) error {
	var remote *net.OpError
	_, unknown := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case unknown:
		return fmt.Errorf("%w\n%sif the deployment has a new authority, name its file with --ca or $%s", err, arrow, caVariable)
	case errors.As(err, &remote) && remote.Op == "remote error": // an alert of TLS
		return fmt.Errorf("%w\n%sthe member does not take the certificate: look at its end, and at both clocks (roam pki show)", err, arrow)
	}
	return err
}
