package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// personHost is the host of URIs that name people. Those of Regions have another, so that
// nobody's certificate can be read as one of the other kind.
const personHost = "person"

// The roles that a certificate may give to somebody.
const (
	Viewer   = "viewer"   // may look
	Operator = "operator" // may look, and change
)

// ErrPerson says that a certificate is of nobody: of a Region, of no one, or with a role
// that there is none of.
var ErrPerson = errors.New("certificate is of no person")

// A Person is whom a certificate names that is not of a Region, and what she may do.
type Person struct {
	Name string
	Role string // Viewer or Operator
}

// check fails if there is no such role, or the name can't be a file's.
func (p Person) check() error {
	switch {
	case !isName.MatchString(p.Name) || p.Name == caName:
		return fmt.Errorf("%w: %q can't be a name: want small letters, digits and dashes, 63 at most, and not that of the authority", ErrPerson, p.Name)
	case !slices.Contains([]string{Viewer, Operator}, p.Role):
		return fmt.Errorf("%w: %q is no role: want %s or %s", ErrPerson, p.Role, Viewer, Operator)
	}
	return nil
}

// uri returns what names somebody in a certificate, with her role.
func (p Person) uri() *url.URL {
	return &url.URL{Scheme: scheme, Host: personHost, Path: "/" + p.Role + "/" + p.Name}
}

// OfPerson returns whose a certificate is. It fails with ErrPerson if it names not one
// person and nothing else, with a role that there is.
func OfPerson(c *x509.Certificate) (Person, error) {
	if len(c.URIs) != 1 {
		return Person{}, fmt.Errorf("%w: it has %d URIs, want 1", ErrPerson, len(c.URIs))
	}
	rest, ok := strings.CutPrefix(c.URIs[0].String(), scheme+"://"+personHost+"/")
	role, name, both := strings.Cut(rest, "/")
	if !ok || !both {
		return Person{}, fmt.Errorf("%w: its URI names none", ErrPerson)
	}
	p := Person{Name: name, Role: role}
	if err := p.check(); err != nil {
		return Person{}, err
	}
	return p, nil
}

// PersonAt returns who is at the other end of a connection, of which the handshake is
// done and the chain was verified. It fails with ErrPerson.
func PersonAt(state tls.ConnectionState) (Person, error) {
	if len(state.VerifiedChains) == 0 || len(state.PeerCertificates) == 0 {
		return Person{}, fmt.Errorf("%w: the other end has proved nothing", ErrPerson)
	}
	return OfPerson(state.PeerCertificates[0])
}
