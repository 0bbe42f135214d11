package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	wire "github.com/miekg/dns"

	"github.com/roam-sessions/roam/internal/pause"
)

// PublisherConfig is what is optional about a Publisher. Its zero value is good where the
// server trusts our address.
type PublisherConfig struct {
	// Log is told what nobody asked for. Default: discarded.
	Log *slog.Logger
	// Key signs what is asked, and what is answered. Nil: nothing does, and whoever can
	// speak for the server's address is believed.
	Key *Key
	// TTL is how long resolvers may keep the name; whole seconds up to a day. Default 10 s.
	TTL time.Duration
	// Timeout is how long the server may take for each answer; there are up to five of
	// them in a try. Default 2 s.
	Timeout time.Duration
	// Tries is how often something is tried; at most 100. Default 6.
	Tries int
	// BackoffMin and BackoffMax bound the wait between two tries. It doubles; half of it
	// is jitter. Default 200 ms and 5 s.
	BackoffMin, BackoffMax time.Duration
	// Every is how often Keep looks whether the name is still right. Default 1 min.
	Every time.Duration
	// Tell is told what came of each try of Keep's; nil: nobody is. It must not block.
	Tell func(Report)
}

// A Report is what came of one try to keep something equal to the writer.
type Report struct {
	Publication
	// Err is nil if it is so now, as whoever keeps it was seen to answer.
	Err error
	// Again: it is tried again in a moment, and not only when Keep looks next.
	Again bool
}

// errNoTarget says that there is nothing to publish. It is no use to try again.
var errNoTarget = errors.New("it leads to no name")

// A Publisher keeps one name at one server of somebody else equal to the writer, by RFC 2136.
// The server is the zone's primary. Several Publishers may keep the same name: the epoch of
// what they publish is written beside it, and what is older does not replace what is newer.
// A Publisher may be used by many goroutines.
type Publisher struct {
	server, zone, name string
	config             PublisherConfig
	ttl                uint32
	ask                exchange
	busy               chan struct{} // has a token while something is published
	last               Publication   // that was seen to be published; guarded by busy
	stats              publisherStats
}

// PublisherStats are what a Publisher has done, for metrics.
type PublisherStats struct {
	Published uint64 // changes that were made, and seen to be
	Same      uint64 // times that nothing was to be done
	Stale     uint64 // times that something newer was known
	Failed    uint64 // times that all tries failed
	Tries     uint64
}

type publisherStats struct{ published, same, stale, failed, tries atomic.Uint64 }

// Stats returns what the Publisher has done. Its figures are not of one moment.
func (p *Publisher) Stats() PublisherStats {
	s := &p.stats
	return PublisherStats{
		Published: s.published.Load(), Same: s.same.Load(), Stale: s.stale.Load(), Failed: s.failed.Load(), Tries: s.tries.Load(),
	}
}

// NewPublisher keeps a name of a zone at a server, host:port. Zone and name are absolute. It
// asks nobody yet.
func NewPublisher(server, zone, name string, c PublisherConfig) (*Publisher, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.TTL = cmp.Or(c.TTL, 10*time.Second)
	c.Timeout = cmp.Or(c.Timeout, 2*time.Second)
	c.Tries = cmp.Or(c.Tries, 6)
	c.BackoffMin = cmp.Or(c.BackoffMin, 200*time.Millisecond)
	c.BackoffMax = cmp.Or(c.BackoffMax, 5*time.Second)
	c.Every = cmp.Or(c.Every, time.Minute)
	p := &Publisher{server: server, config: c, busy: make(chan struct{}, 1)}
	var faults [6]error
	p.zone, faults[0] = parseName(zone)
	p.name, faults[1] = parseName(name)
	if faults[0] == nil && faults[1] == nil && (p.name == p.zone || !within(p.name, p.zone)) {
		faults[1] = fmt.Errorf("%s is no name below %s", p.name, p.zone)
	}
	if len(markOf+p.name) > maxName+1 {
		faults[1] = fmt.Errorf("%s is too long to have a mark", p.name)
	}
	p.ttl, faults[2] = seconds(c.TTL, maxTTL)
	if c.Tries < 1 || c.Tries > 100 || min(c.Timeout, c.BackoffMin, c.Every) <= 0 || c.BackoffMax < c.BackoffMin || c.BackoffMax > time.Hour {
		faults[3] = errors.New("tries are from 1 to 100, times above zero, and BackoffMax from BackoffMin to an hour")
	}
	var keys keyring
	keys, faults[4] = newKeyring(c.Key)
	_, _, faults[5] = net.SplitHostPort(server)
	if err := errors.Join(faults[:]...); err != nil {
		return nil, fmt.Errorf("publish %s at %s: %w", name, server, err)
	}
	call := caller{network: "tcp", addr: server, keys: keys, timeout: c.Timeout}
	if c.Key != nil {
		call.key = wire.CanonicalName(c.Key.Name)
	}
	p.ask = call.exchange
	return p, nil
}

// Publish makes the name lead to a target, and returns when the server was seen to answer so.
// It does nothing if that is so already. It fails with ErrStale if something newer was
// published, by whomever; with ErrOccupied or ErrRefused if somebody has to look at the
// server; or with what the last of all tries failed with, or ctx. Then the name may have been
// changed or not, and Publish may be called again.
func (p *Publisher) Publish(ctx context.Context, w Publication) error {
	return p.publish(ctx, func() (Publication, bool) { return w, true }, nil, func(Report) {})
}

// Keep publishes what latest returns, whenever changed says so and every so often, until ctx
// ends. Latest says false if nothing is known. What becomes newer while the server can't be
// reached takes the place of what is being tried.
func (p *Publisher) Keep(ctx context.Context, latest func() (Publication, bool), changed <-chan struct{}) {
	tick := time.NewTicker(p.config.Every)
	defer tick.Stop()
	tell := p.config.Tell
	if tell == nil {
		tell = func(Report) {}
	}
	for {
		if err := p.publish(ctx, latest, changed, tell); err != nil && ctx.Err() == nil {
			p.config.Log.Warn("the writer's name is not published", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick.C:
		}
	}
}

func (p *Publisher) publish(ctx context.Context, latest func() (Publication, bool), changed <-chan struct{}, tell func(Report)) error {
	select {
	case p.busy <- struct{}{}:
		defer func() { <-p.busy }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	var err error
	for try := 1; try <= p.config.Tries; try++ {
		w, ok := latest()
		if !ok {
			return nil
		}
		p.stats.tries.Add(1)
		if err = p.once(ctx, w); err == nil {
			tell(Report{Publication: w})
			return nil
		}
		err = fmt.Errorf("publish %s of epoch %d at %s: %w", p.name, w.Epoch, p.server, err)
		final := errors.Is(err, ErrStale) || errors.Is(err, ErrRefused) || errors.Is(err, errNoTarget) || ctx.Err() != nil
		tell(Report{Publication: w, Err: err, Again: !final && try < p.config.Tries})
		switch {
		case errors.Is(err, ErrStale):
			p.stats.stale.Add(1)
			return err
		case final:
			p.stats.failed.Add(1)
			return err
		case try == p.config.Tries:
			continue // nothing is to be waited for
		}
		if p.wait(ctx, try, changed) {
			try = 0 // something else is tried
		}
	}
	p.stats.failed.Add(1)
	return err
}

// wait waits before another try. It reports true if it was told of a change.
func (p *Publisher) wait(ctx context.Context, try int, changed <-chan struct{}) bool {
	d := pause.Doubled(p.config.BackoffMin, p.config.BackoffMax, try)
	least := p.config.BackoffMin / 2 // however often something changes
	return pause.For(ctx, least) && pause.Or(ctx, d/2+pause.Upto(d/2)-least, changed)
}

// once looks what there is, changes it if it has to be, and looks again.
func (p *Publisher) once(ctx context.Context, w Publication) error {
	target, err := parseName(w.Target)
	if err != nil {
		return fmt.Errorf("%w: target %q: %w", errNoTarget, w.Target, err)
	}
	w.Target = target
	if w.Epoch < p.last.Epoch {
		return fmt.Errorf("%w: epoch %d was published here", ErrStale, p.last.Epoch)
	}
	m, err := p.look(ctx, w)
	if err != nil {
		return err
	}
	if m == nil {
		p.last = w
		p.stats.same.Add(1)
		return nil
	}
	r, err := p.ask(ctx, m)
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	if err := judge(r.Rcode); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	switch m, err = p.look(ctx, w); {
	case err != nil:
		return fmt.Errorf("verify: %w", err)
	case m != nil:
		return errUnverified
	}
	p.last = w
	p.stats.published.Add(1)
	p.config.Log.Info("the writer's name is published", "name", p.name, "target", w.Target, "epoch", w.Epoch)
	return nil
}

// look asks the server what it has and returns what is to be changed; nil: nothing.
func (p *Publisher) look(ctx context.Context, w Publication) (*wire.Msg, error) {
	h, err := p.held(ctx)
	if err != nil {
		return nil, err
	}
	return h.change(p.zone, p.name, w, p.ttl)
}

// Marked asks the server where the name leads, and what its mark says, if there is one. It
// changes nothing, and fails as Publish does when it looks.
func (p *Publisher) Marked(ctx context.Context) (target string, w Publication, marked bool, err error) {
	h, err := p.held(ctx)
	if err == nil && h.alias != nil {
		target = h.alias.Target
	}
	return target, h.last, h.mark != nil, err
}

// held asks the server what it has of the name and its mark.
func (p *Publisher) held(ctx context.Context) (h holding, err error) {
	for _, q := range []struct {
		name   string
		rrtype uint16
	}{{p.name, wire.TypeCNAME}, {markOf + p.name, wire.TypeTXT}} {
		m := new(wire.Msg)
		m.SetQuestion(q.name, q.rrtype)
		m.RecursionDesired = false
		r, err := p.ask(ctx, m)
		if err == nil {
			err = h.hear(q.name, q.rrtype, r)
		}
		if err != nil {
			return h, fmt.Errorf("look for %s: %w", q.name, err)
		}
	}
	return h, nil
}
