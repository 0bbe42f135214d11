package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

const (
	caYears = 10
	// leafMonths is a year, and a month to notice that it is over.
	leafMonths = 13
	// backdate forgives clocks that are behind.
	backdate = time.Hour

	caName  = "ca"
	certExt = ".pem"
	keyExt  = ".key"
)

// A Member is a Region, or a witness, that is to have a certificate. No two have one name,
// so certificates of witnesses name them as those of Regions do.
type Member struct {
	Region string
	Hosts  []string // names and IP addresses by which its node is reached
}

// What became of a file.
const (
	Made    = "made"
	Kept    = "kept" // it was there
	Renewed = "renewed"
)

// A Result is what became of a certificate and its key.
type Result struct {
	Name    string    `json:"name"`           // of the Region, witness or person, or "ca"
	Role    string    `json:"role,omitempty"` // of a person
	Cert    string    `json:"cert"`           // path
	Key     string    `json:"key"`            // path
	What    string    `json:"what"`           // Made, Kept or Renewed
	Expires time.Time `json:"expires"`
}

// isName is what may be in the name of a file.
var isName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// An authority signs.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Init makes an authority in a folder, and a certificate for each Member, all valid
// from now. What is there is kept, so that Members can be added; with renew the
// Members' certificates and keys are replaced, and the authority is still kept. It
// fails with ErrFiles, having made what comes before, if half of something is
// there, or the authority's key has been taken elsewhere and is needed.
func Init(dir string, members []Member, renew bool, now time.Time) ([]Result, error) {
	for _, m := range members {
		if !isName.MatchString(m.Region) || m.Region == caName {
			return nil, fmt.Errorf("%w: %q can't be a Region's name", ErrFiles, m.Region)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the authority's folder: %w", err)
	}
	ca, first, err := openAuthority(dir, renew, now)
	if err != nil {
		return nil, err
	}
	out := []Result{first}
	for _, m := range members {
		r, err := ca.member(dir, m, renew, now)
		if err != nil {
			return out, err
		}
		out = append(out, r)
	}
	return out, nil
}

func result(dir, name string) Result {
	return Result{Name: name, Cert: filepath.Join(dir, name+certExt), Key: filepath.Join(dir, name+keyExt)}
}

func openAuthority(dir string, renew bool, now time.Time) (authority, Result, error) {
	r := result(dir, caName)
	cert, certErr := readCert(r.Cert)
	_, keyErr := os.Stat(r.Key)
	switch {
	case errors.Is(certErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist) && !renew:
		return makeAuthority(r, now)
	case certErr != nil:
		return authority{}, r, fmt.Errorf("%w: %w: bring it back from where it is kept", ErrFiles, certErr)
	}
	r.What, r.Expires = Kept, cert.NotAfter
	key, err := readKey(r.Key)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return authority{}, r, err
	}
	if key != nil && !key.PublicKey.Equal(cert.PublicKey) {
		return authority{}, r, fmt.Errorf("%w: %s is not the key of %s", ErrFiles, r.Key, r.Cert)
	}
	return authority{cert, key}, r, nil
}

func makeAuthority(r Result, now time.Time) (authority, Result, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, r, fmt.Errorf("make the authority's key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Roam authority " + now.UTC().Format("2006-01-02")},
		NotBefore: now.Add(-backdate), NotAfter: now.AddDate(caYears, 0, 0),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, // it makes no further authorities
		KeyUsage:    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		// Hosts are not constrained: a Region that is added may be anywhere.
		PermittedDNSDomainsCritical: true, PermittedURIDomains: []string{uriHost, personHost},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return authority{}, r, fmt.Errorf("make the authority: %w", err)
	}
	if template, err = x509.ParseCertificate(der); err != nil {
		return authority{}, r, fmt.Errorf("make the authority: %w", err)
	}
	r.What, r.Expires = Made, template.NotAfter
	return authority{template, key}, r, write(r, der, key, create)
}

// place looks at what is where a certificate is to be, and returns what is to become of
// it, the one that is there, and how files are put. Half of one is not mended, unless it
// is renewed.
func place(dir, name string, renew bool) (r Result, old *x509.Certificate, put putting, err error) {
	r = result(dir, name)
	old, certErr := readCert(r.Cert)
	_, keyErr := os.Stat(r.Key)
	gone := errors.Is(certErr, fs.ErrNotExist)
	put = create
	r.What = Made
	switch {
	case renew && (certErr == nil || !gone):
		put, r.What = replace, Renewed
	case gone && errors.Is(keyErr, fs.ErrNotExist):
	case certErr != nil || keyErr != nil:
		return r, nil, nil, fmt.Errorf("%w: of %s and %s one is missing or broken: bring it back, or renew", ErrFiles, r.Cert, r.Key)
	default:
		r.What, r.Expires = Kept, old.NotAfter
	}
	if renew && keyErr == nil {
		put = replace
	}
	return r, old, put, nil
}

// member makes, keeps or renews one Region's certificate.
func (a authority) member(dir string, m Member, renew bool, now time.Time) (Result, error) {
	r, old, put, err := place(dir, m.Region, renew)
	if err != nil {
		return r, err
	}
	if old != nil {
		if is, err := Region(old); err != nil || is != m.Region {
			return r, fmt.Errorf("%w: %s is there, and not of the Region %q", ErrFiles, r.Cert, m.Region)
		}
	}
	if r.What == Kept {
		return r, nil
	}
	if err := a.needed(dir, m.Region); err != nil {
		return r, err
	}
	if len(m.Hosts) == 0 && old != nil { // as it was
		m.Hosts = append(m.Hosts, old.DNSNames...)
		for _, ip := range old.IPAddresses {
			m.Hosts = append(m.Hosts, ip.String())
		}
	}
	r.Expires = a.until(now.AddDate(0, leafMonths, 0))
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "Roam node of " + m.Region},
		NotBefore: now.Add(-backdate), NotAfter: r.Expires,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{uri(m.Region)},
	}
	for _, host := range m.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, key, err := a.sign(m.Region, template)
	if err != nil {
		return r, err
	}
	return r, write(r, der, key, put)
}

// needed fails if the authority's key is not there to sign with.
func (a authority) needed(dir, name string) error {
	if a.key == nil {
		return fmt.Errorf("%w: the authority's key is not in %s, and the certificate of %s needs it: bring it back for now", ErrFiles, dir, name)
	}
	return nil
}

// until returns when a certificate ends that is to end at some time: not after the
// authority does.
func (a authority) until(wish time.Time) time.Time {
	if wish.After(a.cert.NotAfter) {
		return a.cert.NotAfter
	}
	return wish
}

// sign makes a key and a certificate for it. What all certificates have in common is not
// in the template.
func (a authority) sign(name string, template *x509.Certificate) ([]byte, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make the key of %s: %w", name, err)
	}
	template.SerialNumber, template.BasicConstraintsValid, template.KeyUsage = serial(), true, x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("make the certificate of %s: %w", name, err)
	}
	return der, key, nil
}

func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	b[0] = b[0]&0x7f | 1   // positive, and of one length
	return new(big.Int).SetBytes(b[:])
}
