package node

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"

	"github.com/roam-sessions/roam/internal/pki"
)

// Why a try made no link, or a link did not last: few words, since they are labels.
const (
	reasonRefused  = "refused"  // nobody listens there
	reasonTimeout  = "timeout"  // no answer within the deadline
	reasonName     = "name"     // the host's name leads nowhere
	reasonIdentity = "identity" // one of the two ends does not take the other's certificate
	reasonExpired  = "expired"  // the peer's certificate has ended
	reasonEnded    = "ended"    // the other end hung up, or the network did
)

func reasons() []string {
	return []string{reasonRefused, reasonTimeout, reasonName, reasonIdentity, reasonExpired, reasonEnded}
}

// reasonOf returns which of them an error is.
func reasonOf(err error) string {
	var (
		name    *net.DNSError
		unknown *tls.CertificateVerificationError
		alert   tls.AlertError
		late    net.Error
	)
	switch {
	case errors.Is(err, errExpired):
		return reasonExpired
	case errors.Is(err, pki.ErrIdentity), errors.As(err, &unknown), errors.As(err, &alert):
		return reasonIdentity
	case errors.As(err, &name):
		return reasonName
	case errors.As(err, &late) && late.Timeout():
		return reasonTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return reasonRefused
	}
	return reasonEnded
}
