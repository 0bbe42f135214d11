package valkey

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
)

// errAlias: an address leads to a server whose certificates nobody said to believe.
var errAlias = errors.New("it is no alias of a name that Config.Targets allows")

// ElastiCacheNames returns what names of Amazon ElastiCache's endpoints end with, for
// Config.Targets. Whoever knows the names of her endpoints does better to list those.
func ElastiCacheNames() []string { return []string{".cache.amazonaws.com", ".cache.amazonaws.com.cn"} }

// dial connects to what an address stands for now, and wants a certificate of that name: the
// name that people write, as write.session.internal, has none, and which server it leads to
// changes with the primary. The connection goes to the name that is verified, not to what the
// alias leads to a moment later.
func (c Config) dial(ctx context.Context, addr string, d *net.Dialer, t *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	name, err := c.ServerName(ctx, host)
	if err != nil {
		return nil, err
	}
	config := t.Clone()
	config.ServerName = name
	secure := tls.Dialer{NetDialer: d, Config: config}
	return secure.DialContext(ctx, "tcp", net.JoinHostPort(name, port))
}

// ServerName returns the name of which a server at a host is to have a certificate: with
// Targets what an alias stands for now. It fails if that is none of them, or can't be found
// out.
func (c Config) ServerName(ctx context.Context, host string) (string, error) {
	switch {
	case c.TLS != nil && c.TLS.ServerName != "":
		return c.TLS.ServerName, nil
	case len(c.Targets) == 0 || net.ParseIP(host) != nil || c.allows(host):
		return host, nil
	}
	r := c.Resolver
	if r == nil {
		r = net.DefaultResolver
	}
	name, err := r.LookupCNAME(ctx, host)
	if err != nil {
		return "", err
	}
	if name = strings.TrimSuffix(name, "."); !c.allows(name) {
		return "", fmt.Errorf("%s leads to %s: %w", host, name, errAlias)
	}
	return name, nil
}

// allows reports whether servers of a name are to be believed.
func (c Config) allows(name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	for _, t := range c.Targets {
		t = strings.ToLower(strings.TrimSuffix(t, "."))
		below := strings.HasPrefix(t, ".")
		if !below && name == t || below && strings.HasSuffix(name, t) && len(name) > len(t) {
			return true
		}
	}
	return false
}
