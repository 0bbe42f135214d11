package route53

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/roam-sessions/roam/internal/dns"
)

// A Client asks Route 53. The SDK's does; it should not try again by itself, or what is tried
// here is tried that much more often.
type Client interface {
	// ListResourceRecordSets lists the records of a zone from a name on.
	ListResourceRecordSets(ctx context.Context, in *sdk.ListResourceRecordSetsInput, f ...func(*sdk.Options)) (*sdk.ListResourceRecordSetsOutput, error)
	// ChangeResourceRecordSets takes a batch whole or not at all.
	ChangeResourceRecordSets(ctx context.Context, in *sdk.ChangeResourceRecordSetsInput, f ...func(*sdk.Options)) (*sdk.ChangeResourceRecordSetsOutput, error)
	// GetChange says whether all servers answer by a batch.
	GetChange(ctx context.Context, in *sdk.GetChangeInput, f ...func(*sdk.Options)) (*sdk.GetChangeOutput, error)
}

// Config is what is optional about a Publisher. Its zero value is good.
type Config struct {
	// Log is told what nobody asked for. Default: discarded.
	Log *slog.Logger
	// TTL is how long resolvers may keep the name; whole seconds up to a day. Default 10 s.
	TTL time.Duration
	// Pair makes the name a pair of failover records, of which the one whose target is
	// published is the primary one. Zero: the name is a simple record.
	Pair [2]Member
	// Timeout is how long one answer may take. Default 5 s.
	Timeout time.Duration
	// Tries is how often something is tried; at most 100. Default 6.
	Tries int
	// BackoffMin and BackoffMax bound the wait between two tries. It doubles; half of it
	// is jitter. Default 500 ms and 10 s: a batch before ours takes its time.
	BackoffMin, BackoffMax time.Duration
	// Poll is how often Route 53 is asked whether all its servers know. Default 2 s.
	Poll time.Duration
	// SyncWithin is how long it may take until they do; normally under 60 s. Default 90 s.
	SyncWithin time.Duration
	// Every is how often Keep looks whether the name is still right. Default 1 min.
	Every time.Duration
	// Guard is asked before each batch of Publish and Keep whether it may still be sent. It
	// fails with ErrNotPrimary if not; what else it fails with may pass. Nil: nobody is asked.
	Guard func(context.Context, dns.Publication) error
	// Tell is told what came of each try of Keep's; nil: nobody is. It must not block.
	Tell func(dns.Report)
}

// A Publisher keeps one name of a zone. It may be used by many goroutines, which take turns.
type Publisher struct {
	client     Client
	zone, name string // the name is lower case, with a dot at its end
	config     Config
	ttl        int64
	busy       chan struct{} // has a token while something is published
	last       dns.Publication
	stats      stats
}

type stats struct{ published, same, stale, failed, tries atomic.Uint64 }

// Stats returns what the Publisher has done. Its figures are not of one moment.
func (p *Publisher) Stats() dns.PublisherStats {
	s := &p.stats
	return dns.PublisherStats{
		Published: s.published.Load(), Same: s.same.Load(), Stale: s.stale.Load(), Failed: s.failed.Load(), Tries: s.tries.Load(),
	}
}

// New keeps a name in the zone of an ID. It asks nobody yet.
func New(client Client, zone, name string, c Config) (*Publisher, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Tell == nil {
		c.Tell = func(dns.Report) {}
	}
	c.TTL = cmp.Or(c.TTL, 10*time.Second)
	c.Timeout = cmp.Or(c.Timeout, 5*time.Second)
	c.Tries = cmp.Or(c.Tries, 6)
	c.BackoffMin = cmp.Or(c.BackoffMin, 500*time.Millisecond)
	c.BackoffMax = cmp.Or(c.BackoffMax, 10*time.Second)
	c.Poll = cmp.Or(c.Poll, 2*time.Second)
	c.SyncWithin = cmp.Or(c.SyncWithin, 90*time.Second)
	c.Every = cmp.Or(c.Every, time.Minute)
	p := &Publisher{client: client, zone: strings.TrimPrefix(zone, "/hostedzone/"), config: c, ttl: int64(c.TTL / time.Second), busy: make(chan struct{}, 1)}
	var faults []error
	fault := func(bad bool, what string) {
		if bad {
			faults = append(faults, errors.New(what))
		}
	}
	var err error
	p.name, err = canonical(name)
	fault(err != nil || !strings.Contains(bare(p.name), "."), "it is no name of a zone")
	fault(len(markOf+p.name) > mostName, "it is too long to have a mark")
	fault(p.zone == "" || strings.ContainsAny(p.zone, "/?#. "), "the zone is named by its ID, as Z0123456789")
	fault(c.TTL%time.Second != 0 || c.TTL < 0 || c.TTL > 24*time.Hour, "the TTL is whole seconds up to a day")
	fault(c.Tries < 1 || c.Tries > 100 || min(c.Timeout, c.BackoffMin, c.Poll, c.SyncWithin, c.Every) <= 0 ||
		c.BackoffMax < c.BackoffMin || c.BackoffMax > time.Hour,
		"tries are from 1 to 100, times above zero, and BackoffMax from BackoffMin to an hour")
	fault(c.Pair != [2]Member{} && badPair(c.Pair), "the two of a pair need names and targets that differ")
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("publish %s at Route 53: %w", name, err)
	}
	return p, nil
}

// badPair reports whether records of two members could not be told apart, or lead nowhere.
func badPair(pair [2]Member) bool {
	first, err := canonical(pair[0].Target)
	second, err2 := canonical(pair[1].Target)
	return err != nil || err2 != nil || first == second || pair[0].Set == "" || pair[1].Set == "" || pair[0].Set == pair[1].Set
}

// want returns the records of a name that is to lead to a target.
func (p *Publisher) want(target string) ([]Record, error) {
	target, err := canonical(target)
	if err != nil {
		return nil, err
	}
	pair := p.config.Pair
	switch {
	case pair == [2]Member{}:
		return Simple(target, p.ttl), nil
	case sameName(pair[0].Target, target):
		return Pair(pair[0], pair[1], p.ttl), nil
	case sameName(pair[1].Target, target):
		return Pair(pair[1], pair[0], p.ttl), nil
	}
	return nil, fmt.Errorf("%w that is one of the pair: %s", errNoTarget, target)
}
