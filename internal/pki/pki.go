package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// ExpirySoon is how long before its end a certificate is warned of: time to renew it
// without haste.
const ExpirySoon = 30 * 24 * time.Hour

const (
	scheme = "roam"
	// uriHost is what the authority's constraints are about: it can vouch for
	// URIs of Regions and of people, and for no others.
	uriHost = "region"
)

var (
	// ErrIdentity says that the other end is not who it should be: its
	// certificate is of another Region, or of none.
	ErrIdentity = errors.New("certificate is not of that Region")
	// ErrFiles says that files are missing, broken or do not belong together.
	ErrFiles = errors.New("files of the authority")
)

// uri returns what names a Region in a certificate.
func uri(region string) *url.URL {
	return &url.URL{Scheme: scheme, Host: uriHost, Path: "/" + region}
}

// Region returns which Region a certificate is of. It fails with ErrIdentity if
// that is not one and only one.
func Region(c *x509.Certificate) (string, error) {
	if len(c.URIs) != 1 {
		return "", fmt.Errorf("%w: it has %d URIs, want 1", ErrIdentity, len(c.URIs))
	}
	name, ok := strings.CutPrefix(c.URIs[0].String(), scheme+"://"+uriHost+"/")
	if !ok || name == "" || strings.ContainsAny(name, "/?#%@:") {
		return "", fmt.Errorf("%w: it names no Region", ErrIdentity)
	}
	return name, nil
}

// Peer returns which Region is at the other end of a connection, of which the
// handshake is done and the chain was verified. It fails with ErrIdentity.
func Peer(state tls.ConnectionState) (string, error) {
	if len(state.VerifiedChains) == 0 || len(state.PeerCertificates) == 0 {
		return "", fmt.Errorf("%w: the other end has proved nothing", ErrIdentity)
	}
	return Region(state.PeerCertificates[0])
}

// Until returns when the other end of a connection, of which the handshake is done,
// proves nothing any more: the first of its certificates ends then, or its authority's.
// It is the beginning of time if nothing was proved.
func Until(state tls.ConnectionState) (until time.Time) {
	for _, chain := range state.VerifiedChains {
		ends := chain[0].NotAfter
		for _, c := range chain[1:] {
			if c.NotAfter.Before(ends) {
				ends = c.NotAfter
			}
		}
		if ends.After(until) {
			until = ends // one chain that holds is enough
		}
	}
	return until
}
