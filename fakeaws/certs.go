package fakeaws

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"sync"
	"time"
)

const (
	// validFor is how long certificates are good: longer than any Cloud lives.
	validFor = 90 * 24 * time.Hour
	// mostCerts bounds those that are kept; beyond it they are made anew each time.
	mostCerts = 200
	// certSuffix is what names end with that certificates are made for.
	certSuffix = ".cache.amazonaws.com"
)

// An authority makes certificates of ElastiCache's endpoints.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  []byte

	mu    sync.Mutex // guards what follows
	serve map[string]*tls.Certificate
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fakeaws"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(validFor),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{key: key, cert: cert, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), serve: map[string]*tls.Certificate{}}, nil
}

// forName returns a certificate of the name that a client asks for. As in AWS there is none
// of other names than ElastiCache's: an alias in a zone does not verify.
func (a *authority) forName(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(hello.ServerName)
	if !strings.HasSuffix(name, certSuffix) {
		name = "fakeaws" + certSuffix // the client will not like it, as in AWS
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.serve[name]; c != nil {
		return c, nil
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, errors.Join(errors.New("certificate of "+name), err)
	}
	out := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	if len(a.serve) < mostCerts {
		a.serve[name] = out
	}
	return out, nil
}
