package node

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/roam-sessions/roam/internal/dns"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/topology"
)

// A zone answers for the deployment's zone, and keeps foreign servers equal to the writer.
// What it was last told stands when the control plane is gone.
type zone struct {
	server     *dns.Server // nil: this node answers nobody
	deployment topology.Deployment
	views      *views
	publishers []*dns.Publisher
	targets    map[string]string // by Region: where the writer's name is to lead
}

// newZone begins to answer, with what is known when somebody is told. Where the file
// wants nothing of this node it returns nil.
func newZone(ctx context.Context, d topology.Deployment, self topology.Region, v *views, c Config) (*zone, error) {
	z := d.Control.DNS
	if z == nil || self.Node.DNS == "" && len(z.Publish) == 0 {
		return nil, nil
	}
	n := &zone{deployment: d, views: v, targets: map[string]string{}}
	for _, r := range d.Regions {
		n.targets[r.Name] = r.Name + "." + z.Zone + "."
	}
	for _, p := range z.Publish {
		key, err := keyOf(p.Key, c.Getenv)
		if err != nil {
			return nil, err
		}
		publisher, err := dns.NewPublisher(p.Server, dotted(p.Zone), dotted(p.Name), dns.PublisherConfig{Log: c.Log, Key: key, TTL: p.TTL})
		if err != nil {
			return nil, fmt.Errorf("publish %s: %w", p.Name, err)
		}
		n.publishers = append(n.publishers, publisher)
	}
	if self.Node.DNS == "" {
		return n, nil
	}
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

// run keeps what is answered and published up to date, until ctx ends.
func (n *zone) run(ctx context.Context, log func(string, ...any)) {
	var publishing sync.WaitGroup
	defer publishing.Wait()
	for _, p := range n.publishers {
		changed := make(chan struct{}, 1)
		publishing.Go(func() { n.views.notify(ctx, changed) })
		publishing.Go(func() { p.Keep(ctx, n.published, changed) })
	}
	for {
		state, changed := n.views.agreed()
		if n.server != nil && state.Setup.Version > 0 {
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
	if n.server == nil {
		return
	}
	const grace = time.Second
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	_ = n.server.Shutdown(ending) // what is left is cut off
}

// published returns where the writer is.
func (n *zone) published() (dns.Publication, bool) {
	state, _ := n.views.agreed()
	if state.Lease.Epoch == 0 {
		return dns.Publication{}, false
	}
	return dns.Publication{Epoch: state.Lease.Epoch, Target: n.targets[state.Lease.Holder]}, true
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
