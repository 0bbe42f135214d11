package route53

import (
	"context"
	"fmt"
	"time"

	"github.com/roam-sessions/roam/internal/dns"
)

// Publish makes the name lead to a target, and returns when all servers of Route 53 answer so
// and it is listed so. It does nothing if that is so already. It fails with dns.ErrStale if
// something newer was published, by whomever; with dns.ErrOccupied or dns.ErrRefused if
// somebody has to look at the zone; with ErrPending; or with what the last of all tries failed
// with, or ctx. After the last three the name may have been changed or not, and Publish may be
// called again.
func (p *Publisher) Publish(ctx context.Context, w dns.Publication) error {
	return p.publish(ctx, func() (dns.Publication, bool) { return w, true }, nil, nil)
}

// Keep publishes what latest returns, whenever changed says so and every so often, until ctx
// ends. Latest says false if nothing is known. What becomes newer while Route 53 can't be
// reached takes the place of what is being tried.
func (p *Publisher) Keep(ctx context.Context, latest func() (dns.Publication, bool), changed <-chan struct{}) {
	tick := time.NewTicker(p.config.Every)
	defer tick.Stop()
	for {
		if err := p.publish(ctx, latest, changed, p.config.Tell); err != nil && ctx.Err() == nil {
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

func (p *Publisher) publish(ctx context.Context, latest func() (dns.Publication, bool), changed <-chan struct{}, tell func(dns.Report)) error {
	return p.turn(ctx, func() (job, bool) {
		w, ok := latest()
		target, err := canonical(w.Target)
		if err != nil {
			target = w.Target // look refuses it, and says so
		}
		j := job{target: target, marked: true, epoch: w.Epoch, newer: func() bool {
			now, ok := latest()
			return !ok || now != w
		}}
		if p.config.Guard != nil {
			j.guard = func(ctx context.Context) error { return p.config.Guard(ctx, w) }
		}
		if tell != nil {
			j.tell = func(err error, again bool) { tell(dns.Report{Publication: w, Err: err, Again: again}) }
		}
		return j, ok
	}, changed, new(Outcome))
}

// Marked looks at the name and returns where it leads by its mark, and whether there is one,
// beside its records. It changes nothing, fails as Settle does when it looks, and tries nothing
// again.
func (p *Publisher) Marked(ctx context.Context) (is []Record, w dns.Publication, marked bool, err error) {
	h, err := p.held(ctx)
	if err != nil {
		return nil, w, false, fmt.Errorf("look at %s at Route 53: %w", p.name, err)
	}
	return h.records, h.last, h.mark != nil, nil
}
