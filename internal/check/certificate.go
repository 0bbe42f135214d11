package check

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/pki"
)

// lookAtCertificates looks when the certificates end that servers show at the addresses
// of the file, and the one that they are shown. Who shows none that holds is no row here:
// that it can't be asked anything is said where it was asked.
func lookAtCertificates(ctx context.Context, part string, c valkey.Config, now time.Time) []Row {
	if c.TLS == nil {
		return nil
	}
	type look struct {
		addr  string
		until time.Time
		err   error
	}
	var looks []look
	for _, addr := range c.Addrs {
		looks = append(looks, look{addr: addr})
	}
	all(looks, nil, func(l *look) { l.until, l.err = certificateEnds(ctx, l.addr, c) })
	var out []Row
	for _, l := range looks {
		if l.err == nil {
			out = append(out, judgeExpiry(part, l.addr+": it has a certificate", "give it a new certificate", l.until, now))
		}
	}
	for _, own := range c.TLS.Certificates {
		if own.Leaf != nil {
			out = append(out, judgeExpiry(part, fmt.Sprintf("the certificate that %s is shown is good", c.Addrs[0]), "put a new one where tls.cert and tls.key say", own.Leaf.NotAfter, now))
		}
	}
	return out
}

// certificateEnds returns when the first certificate of a server's chain ends.
func certificateEnds(ctx context.Context, addr string, c valkey.Config) (time.Time, error) {
	host, _, _ := net.SplitHostPort(addr) // the file's reader has seen that it is one
	name, err := c.ServerName(ctx, host)
	if err != nil {
		return time.Time{}, err
	}
	config := c.TLS.Clone()
	config.ServerName = name
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return time.Time{}, err
	}
	defer func() { _ = conn.Close() }() // nothing was sent
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return time.Time{}, err
	}
	return pki.Until(secure.ConnectionState()), nil
}
