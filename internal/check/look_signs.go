package check

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/roam-sessions/roam/internal/dns"
	"github.com/roam-sessions/roam/internal/dns/cloud"
	"github.com/roam-sessions/roam/internal/dns/route53"
	"github.com/roam-sessions/roam/internal/topology"
)

// signPatience bounds the looking at one thing that says where the writer is: where nobody
// answers, what the rest found is to be told all the same.
const signPatience = 6 * time.Second

// signpost asks one thing what it says of the writer. It changes nothing there.
func (l *looker) signpost(ctx context.Context, p topology.Publish) {
	ctx, cancel := context.WithTimeout(ctx, signPatience)
	defer cancel()
	l.sign = &sign{publish: p}
	var aws cloud.Cloud
	defer aws.Close()
	switch p.Kind {
	case topology.Route53:
		l.sign.err = l.sign.atRoute53(ctx, &aws)
	case topology.ARC:
		l.sign.err = l.sign.atARC(ctx, &aws)
	default:
		l.sign.err = l.sign.atServer(ctx, l.o.Getenv)
	}
}

func (s *sign) atRoute53(ctx context.Context, aws *cloud.Cloud) error {
	p, err := aws.Record(ctx, s.publish, route53.Config{Timeout: signPatience / 2})
	if err != nil {
		return err
	}
	is, w, marked, err := p.Marked(ctx)
	if err != nil {
		return err
	}
	s.asked, s.marked, s.epoch = true, marked, w.Epoch
	for _, r := range is {
		if r.Role != route53.Secondary { // the primary one, or the only one
			s.target = r.Target
		}
		s.records = append(s.records, record{set: r.Set, target: r.Target, health: r.Health})
	}
	return nil
}

func (s *sign) atARC(ctx context.Context, aws *cloud.Cloud) error {
	cluster, _, _, err := aws.Cluster(ctx, s.publish, "")
	if err != nil {
		return err
	}
	var all []string
	for _, arn := range s.publish.Switches.Controls {
		all = append(all, arn)
	}
	states, err := cluster.States(ctx, all)
	if err != nil {
		return err
	}
	s.asked, s.on = true, map[string]bool{}
	for region, arn := range s.publish.Switches.Controls {
		s.on[region] = states[arn]
	}
	return nil
}

func (s *sign) atServer(ctx context.Context, getenv func(string) string) error {
	key, err := keyOf(s.publish.Key, getenv)
	if err != nil {
		return err
	}
	p, err := dns.NewPublisher(s.publish.Server, s.publish.Zone, s.publish.Name, dns.PublisherConfig{Key: key, TTL: s.publish.TTL})
	if err != nil {
		return err
	}
	target, w, marked, err := p.Marked(ctx)
	if err != nil {
		return err
	}
	s.asked, s.marked, s.epoch, s.target = true, marked, w.Epoch, target
	return nil
}

// keyOf reads the secret of a key; nil: there is none.
func keyOf(k *topology.Key, getenv func(string) string) (*dns.Key, error) {
	if k == nil {
		return nil, nil
	}
	var text string
	if k.Secret.File == "" {
		text = getenv(k.Secret.Env)
	} else {
		b, err := os.ReadFile(k.Secret.File)
		if err != nil {
			return nil, fmt.Errorf("secret of the key %s: %w", k.Name, err)
		}
		text = string(b)
	}
	secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("secret of the key %s: %w", k.Name, err)
	}
	return &dns.Key{Name: k.Name, Algorithm: k.Algorithm, Secret: secret}, nil
}
