package route53

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/roam-sessions/roam/internal/dns"
	"github.com/roam-sessions/roam/internal/pause"
)

// An Outcome is what came of keeping a name.
type Outcome struct {
	Changed bool     // a batch was taken
	Change  string   // the ID of the last one; empty: none was
	Was     []Record // what was found first

	unsure bool // a batch may have been taken, and its ID is not known
}

// A Guard is asked before each batch whether it may still be sent. It fails with ErrNotPrimary
// if not; what else it fails with may pass.
type Guard func(context.Context) error

// Settle makes the name lead to a target, and returns when all servers of Route 53 answer so
// and it is listed so. It changes nothing if it is so already. Guard is asked before each batch,
// however long was waited before it.
//
// Settle fails with dns.ErrOccupied if the name has a mark, that is if a control plane keeps it,
// or is used for something else; with dns.ErrRefused; with what guard says; with ErrPending; or
// with what the last of all tries failed with, or ctx. After the last three the name may have
// been changed or not, and Settle may be called again.
func (p *Publisher) Settle(ctx context.Context, target string, guard Guard) (Outcome, error) {
	var o Outcome
	err := p.turn(ctx, func() (job, bool) { return job{target: target, guard: guard}, true }, nil, &o)
	return o, err
}

// Look returns the records of the name, without changing anything. It fails as Settle does when
// it looks, and tries nothing again.
func (p *Publisher) Look(ctx context.Context) ([]Record, error) {
	var h holding
	out, err := p.list(ctx, p.name)
	if err == nil {
		err = h.hearName(p.name, out)
	}
	if err != nil {
		return nil, fmt.Errorf("look at %s at Route 53: %w", p.name, err)
	}
	return h.records, nil
}

// A job is what is to be published. Without a mark it has no epoch.
type job struct {
	target string
	guard  Guard
	tell   func(err error, again bool) // nil: nobody is told
	newer  func() bool                 // something else is to be published by now; nil: never
	shown  func([]types.Change) error  // may refuse a batch; nil: none is refused
	polled func(change string)         // Route 53 is asked about it; nil: nobody is told
	marked bool
	epoch  uint64
}

// turn tries what latest says until it is so.
func (p *Publisher) turn(ctx context.Context, latest func() (job, bool), changed <-chan struct{}, o *Outcome) error {
	select {
	case p.busy <- struct{}{}:
		defer func() { <-p.busy }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	var err error
	for try := 1; try <= p.config.Tries; try++ {
		j, ok := latest()
		if !ok {
			return nil
		}
		p.stats.tries.Add(1)
		if err = p.once(ctx, j, o, changed); errors.Is(err, errNewer) {
			try, *o = 0, Outcome{Was: o.Was} // what became of the old one is nothing to the new one
			continue
		}
		if err != nil {
			err = fmt.Errorf("publish %s at Route 53: %w", p.name, err)
		}
		if j.tell != nil {
			j.tell(err, err != nil && !final(ctx, err) && try < p.config.Tries)
		}
		switch {
		case err == nil:
			return nil
		case errors.Is(err, dns.ErrStale):
			p.stats.stale.Add(1)
			return err
		case final(ctx, err):
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

// once looks what there is, changes it if it has to be, waits until all servers know, and
// looks again.
func (p *Publisher) once(ctx context.Context, j job, o *Outcome, changed <-chan struct{}) error {
	if j.marked && j.epoch < p.last.Epoch {
		return fmt.Errorf("%w: epoch %d was published here", dns.ErrStale, p.last.Epoch)
	}
	// If nobody knows the ID of a change that made the name right, only one more change
	// tells when all servers have it.
	changes, h, err := p.look(ctx, j, o.unsure && !o.Changed)
	if err != nil {
		return err
	}
	if !o.Changed && !o.unsure {
		o.Was = h.records
	}
	if len(changes) == 0 {
		p.stats.same.Add(1)
		p.remember(j)
		return nil
	}
	if err := j.may(ctx, changes, o); err != nil {
		return err
	}
	id, err := p.send(ctx, changes)
	if err != nil {
		o.unsure = o.unsure || !errors.Is(err, errChanged) && !errors.Is(err, dns.ErrRefused)
		return fmt.Errorf("change: %w", err)
	}
	o.Changed, o.Change = true, id
	if err := p.sync(ctx, id, j, changed); err != nil {
		return err
	}
	if err := p.verify(ctx, j); err != nil {
		return err
	}
	p.remember(j)
	p.stats.published.Add(1)
	p.config.Log.Info("the writer's name is published", "name", p.name, "target", j.target, "epoch", j.epoch)
	return nil
}

// may asks whoever is to be asked whether a batch may be sent.
func (j job) may(ctx context.Context, changes []types.Change, o *Outcome) error {
	if j.guard != nil {
		if err := j.guard(ctx); err != nil {
			return err
		}
	}
	if j.shown != nil && !o.unsure {
		return j.shown(changes)
	}
	return nil
}

// verify looks whether it is listed so.
func (p *Publisher) verify(ctx context.Context, j job) error {
	switch changes, _, err := p.look(ctx, j, false); {
	case err != nil:
		return fmt.Errorf("verify: %w", err)
	case len(changes) > 0:
		return errUnverified
	}
	return nil
}

func (p *Publisher) remember(j job) {
	if j.marked {
		p.last = dns.Publication{Epoch: j.epoch, Target: j.target}
	}
}

// look asks what there is and returns what is to be changed; with again, something is in any case.
func (p *Publisher) look(ctx context.Context, j job, again bool) ([]types.Change, holding, error) {
	want, err := p.want(j.target)
	if err != nil {
		return nil, holding{}, err
	}
	h, err := p.held(ctx)
	if err != nil {
		return nil, h, fmt.Errorf("look: %w", err)
	}
	plan := Plan(h.records, want)
	if len(plan) == 0 && again {
		plan = each(Upsert, want)
	}
	changes := batch(p.name, plan)
	if !j.marked {
		if h.mark != nil {
			return nil, h, fmt.Errorf("%w: a control plane keeps it, by epoch %d", dns.ErrOccupied, h.last.Epoch)
		}
		return changes, h, nil
	}
	w := dns.Publication{Epoch: j.epoch, Target: j.target}
	if err := h.judge(w); err != nil {
		return nil, h, err
	}
	if len(changes) > 0 || h.mark == nil || h.last != w {
		changes = append(h.marking(p.name, w, p.ttl), changes...)
	}
	return changes, h, nil
}

// held asks what there is of our name and its mark.
func (p *Publisher) held(ctx context.Context) (h holding, err error) {
	out, err := p.list(ctx, p.name)
	if err == nil {
		err = h.hearName(p.name, out)
	}
	if err == nil {
		if out, err = p.list(ctx, markOf+p.name); err == nil {
			err = h.hearMark(markOf+p.name, out)
		}
	}
	return h, err
}

// mostListed bounds the records of one name that are looked at. A name of ours has two at the
// most; one with more is somebody else's, and left to them.
const mostListed = 10

func (p *Publisher) list(ctx context.Context, from string) (*sdk.ListResourceRecordSetsOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	most := int32(mostListed)
	out, err := p.client.ListResourceRecordSets(ctx, &sdk.ListResourceRecordSetsInput{HostedZoneId: &p.zone, StartRecordName: &from, MaxItems: &most})
	if err != nil {
		return nil, told(err)
	}
	return out, nil
}

func (p *Publisher) send(ctx context.Context, changes []types.Change) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	comment := "roam"
	out, err := p.client.ChangeResourceRecordSets(ctx, &sdk.ChangeResourceRecordSetsInput{
		HostedZoneId: &p.zone, ChangeBatch: &types.ChangeBatch{Changes: changes, Comment: &comment},
	})
	if err != nil {
		return "", told(err)
	}
	if out.ChangeInfo == nil || text(out.ChangeInfo.Id) == "" {
		return "", errors.New("the answer names no change")
	}
	return strings.TrimPrefix(text(out.ChangeInfo.Id), "/change/"), nil
}

// sync waits until all servers answer by a change. The SDK's waiter asks every 30 s, which is
// half of what it normally takes. Whatever goes wrong while asking is asked again: the change
// was taken. It ends with errNewer if something else is to be published by then: a failover is
// not to wait for what it makes void.
func (p *Publisher) sync(ctx context.Context, id string, j job, changed <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, p.config.SyncWithin)
	defer cancel()
	for {
		if j.polled != nil {
			j.polled(id)
		}
		out, err := p.change(ctx, id)
		if err == nil && out.ChangeInfo != nil && out.ChangeInfo.Status == types.ChangeStatusInsync {
			return nil
		}
		if errors.Is(err, dns.ErrRefused) {
			return fmt.Errorf("change %s: %w: %w", id, ErrPending, err)
		}
		if p.rests(ctx, j, changed) {
			return errNewer
		}
		if ctx.Err() != nil {
			return fmt.Errorf("change %s: %w", id, ErrPending)
		}
	}
}

// rests waits before Route 53 is asked again, and reports whether something else is to be
// published.
func (p *Publisher) rests(ctx context.Context, j job, changed <-chan struct{}) bool {
	timer := time.NewTimer(p.config.Poll/2 + pause.Upto(p.config.Poll))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return false
		case <-changed:
			if j.newer != nil && j.newer() {
				return true
			}
		}
	}
}

func (p *Publisher) change(ctx context.Context, id string) (*sdk.GetChangeOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	out, err := p.client.GetChange(ctx, &sdk.GetChangeInput{Id: &id})
	if err != nil {
		return nil, told(err)
	}
	return out, nil
}
