package node

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/roam-sessions/roam/internal/dns"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/topology"
)

// A zone answers for the deployment's zone. What it was last told stands when the control
// plane is gone.
type zone struct {
	server     *dns.Server
	deployment topology.Deployment
	views      *views
}

// newZone begins to answer, with what is known when somebody is told. Where this node
// answers nobody it returns nil.
func newZone(ctx context.Context, d topology.Deployment, self topology.Region, v *views, c Config) (*zone, error) {
	z := d.Control.DNS
	if z == nil || self.Node.DNS == "" {
		return nil, nil
	}
	n := &zone{deployment: d, views: v}
	config := dns.Config{Log: c.Log, Listen: []string{self.Node.DNS}, Rate: z.Rate}
	for _, s := range z.Secondaries {
		key, err := keyOf(s.Key, c.Getenv)
		if err != nil {
			return nil, err
		}
		config.Secondaries = append(config.Secondaries, dns.Secondary{Addr: s.Addr, Key: key})
	}
	var err error
	if n.server, err = dns.Start(ctx, dotted(z.Zone), config); err != nil {
		return nil, fmt.Errorf("answer for names: %w", err)
	}
	return n, nil
}

func dotted(name string) string { return strings.TrimSuffix(name, ".") + "." }

// keyOf reads the secret of a key; nil: there is none.
func keyOf(k *topology.Key, getenv func(string) string) (*dns.Key, error) {
	if k == nil {
		return nil, nil
	}
	text, err := secretOf(k.Secret, getenv)
	if err != nil {
		return nil, fmt.Errorf("secret of the key %s: %w", k.Name, err)
	}
	secret, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(secret) == 0 {
		return nil, fmt.Errorf("secret of the key %s: %w", k.Name, errors.New("it is no base64, or not there"))
	}
	return &dns.Key{Name: dotted(k.Name), Algorithm: k.Algorithm, Secret: secret}, nil
}

// run keeps what is answered up to date, until ctx ends.
func (n *zone) run(ctx context.Context, log func(string, ...any)) {
	for {
		state, changed := n.views.agreed()
		if state.Setup.Version > 0 {
			if err := n.server.Update(dnsView(n.deployment, state)); err != nil && !errors.Is(err, dns.ErrStale) {
				log("names can't be brought up to date", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			n.close(ctx)
			return
		case <-changed:
		}
	}
}

func (n *zone) close(ctx context.Context) {
	const grace = time.Second
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	_ = n.server.Shutdown(ending) // what is left is cut off
}

// dnsView returns what the zone is made of.
func dnsView(d topology.Deployment, s ledger.State) dns.View {
	z, away := d.Control.DNS, s.Away()
	v := dns.View{Epoch: s.Lease.Epoch, Writer: s.Lease.Holder}
	for _, r := range d.Regions {
		if r.Endpoint == nil {
			continue
		}
		health := dns.Healthy
		if slices.Contains(away, r.Name) {
			health = dns.Unhealthy
		}
		v.Regions = append(v.Regions, dns.Region{Name: r.Name, Endpoint: placeOf(r.Endpoint.Place), Port: r.Endpoint.Port, Health: health})
	}
	leg := func(l topology.Leg) dns.Leg { return dns.Leg{Region: l.Region, Endpoint: placeOf(l.Place)} }
	for _, f := range z.Failovers {
		v.Failovers = append(v.Failovers, dns.Failover{Name: f.Name, Primary: leg(f.Primary), Secondary: leg(f.Secondary), TTL: f.TTL})
	}
	for _, name := range z.Names {
		out := dns.Name{Name: name.Name, Endpoint: placeOf(name.Place), TTL: name.TTL}
		for _, svc := range name.Services {
			out.Services = append(out.Services, dns.Service(svc))
		}
		v.Names = append(v.Names, out)
	}
	for _, ns := range z.Nameservers {
		v.Nameservers = append(v.Nameservers, dns.Nameserver(ns))
	}
	return v
}

func placeOf(p topology.Place) dns.Endpoint { return dns.Endpoint(p) }
