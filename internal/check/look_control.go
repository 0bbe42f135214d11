package check

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"time"

	"github.com/roam-sessions/roam/internal/admin"
	"github.com/roam-sessions/roam/internal/pki"
	"github.com/roam-sessions/roam/internal/topology"
)

const (
	// memberPatience bounds what one member is asked: what is black as night leaves some of
	// the whole for how far replicas are behind.
	memberPatience = 3 * time.Second
	// lookupPatience bounds the looking up of one name.
	lookupPatience = 2 * time.Second
)

// member asks a member what it knows.
func (l *looker) member(ctx context.Context, m topology.Member) {
	l.word.member = m
	if l.far(m) {
		l.add(Row{State: Unknown, Part: controlPart, Seen: "its admin API is at " + m.API + " of its own machine", Mend: "run it there, with --region"})
		return
	}
	client, err := l.client(m)
	if err != nil {
		l.add(Row{State: Unknown, Part: controlPart, Seen: fmt.Sprintf("%s: it was not asked: %v", m.API, err), Mend: "run it where the files are"})
		return
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, memberPatience)
	defer cancel()
	s, err := client.Status(ctx)
	if err != nil {
		l.add(refused(m, err))
		return
	}
	l.word.status = &s
	if file, version, err := client.Topology(ctx); err == nil { // else it is judged that nobody showed it
		l.word.file, l.word.version = string(file), version
	}
}

// far reports whether a member's API is on the loopback of a machine that is not this
// one, as far as can be told.
func (l *looker) far(m topology.Member) bool {
	if !onLoopback(m.API) || m.Name == l.o.Here {
		return false
	}
	for _, other := range l.d.Voters() {
		if other.Name != m.Name && other.API == m.API {
			return true
		}
	}
	return !onLoopback(m.Control)
}

// client returns what asks one member: with the certificate of the Region that this
// machine is in, else with what else there is to show.
func (l *looker) client(m topology.Member) (*admin.Client, error) {
	c := admin.ClientConfig{URLs: []string{"http://" + m.API}}
	if len(l.d.Control.Tokens) > 0 { // else none is known there, and one that is shown is refused
		c.Token = l.o.Token
	}
	files := l.d.Links.TLS
	if files == nil {
		return admin.NewClient(c)
	}
	c.URLs[0] = "https://" + m.API
	host := topology.Host(m.API)
	if l.o.Here != "" {
		keeper, err := pki.Keep(pki.Files(files.For(l.o.Here)), l.o.Here, slog.New(slog.DiscardHandler))
		if err == nil {
			c.Token, c.TLS = "", keeper.Client(m.Name, host)
			return admin.NewClient(c)
		}
		if c.Token == "" && l.o.TLS == nil {
			return nil, err
		}
	}
	if c.TLS = l.o.TLS.Clone(); c.TLS == nil {
		var err error
		if c.TLS, err = believing(files.For(m.Name).CA); err != nil {
			return nil, err
		}
	}
	c.TLS.ServerName = host
	c.TLS.VerifyConnection = func(s tls.ConnectionState) error { // before anything is shown
		if name, err := pki.Peer(s); err != nil || name != m.Name {
			return cmp.Or(err, fmt.Errorf("%w: it is of %q, want %q", pki.ErrIdentity, name, m.Name))
		}
		return nil
	}
	return admin.NewClient(c)
}

// believing returns whom to believe: an authority of which there is a file.
func believing(path string) (*tls.Config, error) {
	ca, err := os.ReadFile(path) //nolint:gosec // the deployment names it
	if err != nil {
		return nil, fmt.Errorf("the deployment's authority: %w", err)
	}
	out := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: x509.NewCertPool()}
	if !out.RootCAs.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return out, nil
}

// refused says why a member told nothing.
func refused(m topology.Member, err error) Row {
	p, told := errors.AsType[*admin.Problem](err)
	switch {
	case told && (p.Kind == admin.KindUnauthorized || p.Kind == admin.KindForbidden || p.Kind == admin.KindTooMany):
		return Row{
			State: Unknown, Part: controlPart, Seen: m.API + ": it answers, and tells nothing: " + p.Detail,
			Mend: "run it with --region where that Region's certificate is, or with $ROAM_TOKEN or $ROAM_CERT",
		}
	case told:
		return Row{State: Fault, Part: controlPart, Seen: m.API + ": " + p.Detail, Mend: cmp.Or(p.Next, "look at its log")}
	}
	if u, ok := errors.AsType[*url.Error](err); ok { // once, without all tries
		err = u.Err
	}
	return Row{State: Fault, Part: controlPart, Seen: m.API + ": " + err.Error(), Mend: "look whether it runs, and whether this machine may reach it"}
}

// hosts looks all hosts up that the file names.
func (l *looker) hosts(ctx context.Context) {
	type look struct {
		host  string
		found lookup
	}
	var looks []look
	for _, host := range hostsOf(l.d) {
		looks = append(looks, look{host: host})
	}
	ask := l.o.LookUp
	if ask == nil {
		ask = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	all(looks, nil, func(one *look) {
		if addr, err := netip.ParseAddr(one.host); err == nil {
			one.found.addrs = []netip.Addr{addr.Unmap().WithZone("")}
			return
		}
		ctx, cancel := context.WithTimeout(ctx, lookupPatience)
		defer cancel()
		one.found.addrs, one.found.err = ask(ctx, one.host)
		for i, addr := range one.found.addrs {
			one.found.addrs[i] = addr.Unmap().WithZone("")
		}
	})
	l.leads = map[string]lookup{}
	for _, one := range looks {
		l.leads[one.host] = one.found
	}
}
