package awslambda

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/roam-sessions/roam/internal/dns"
	"github.com/roam-sessions/roam/internal/dns/arc"
	"github.com/roam-sessions/roam/internal/dns/route53"
)

// A driver moves one thing that says where writes go.
type driver interface {
	// name begins the names of its metrics.
	name() string
	// settled reports whether it says what a decision does.
	settled(ctx context.Context, d Decision) (bool, error)
	// move makes it say so, and reports whether anything was changed.
	move(ctx context.Context, d Decision, guard func(context.Context) error) (bool, error)
}

// errForeign says that something leads to where nobody of the Global Datastore is.
var errForeign = fmt.Errorf("%w: it leads to no member of the Global Datastore", dns.ErrOccupied)

// record drives a record of Route 53.
type record struct {
	publisher *route53.Publisher
	adopt     bool
}

func (*record) name() string { return "Dns" }

func (r *record) settled(ctx context.Context, d Decision) (bool, error) {
	is, err := r.publisher.Look(ctx)
	return len(is) == 1 && is[0].Set == "" && strings.EqualFold(strings.TrimSuffix(is[0].Target, "."), d.Endpoint), err
}

func (r *record) move(ctx context.Context, d Decision, guard func(context.Context) error) (bool, error) {
	o, err := r.publisher.Settle(ctx, d.Endpoint, func(ctx context.Context) error {
		is, err := r.publisher.Look(ctx)
		if err != nil {
			return err
		}
		for _, is := range is {
			if !r.adopt && !d.Alone && !leadsTo(is.Target, d.Members) {
				return fmt.Errorf("%s: %w", is.Target, errForeign)
			}
		}
		return guard(ctx)
	})
	return o.Changed, err
}

// control drives the routing controls of ARC.
type control struct {
	cluster *arc.Cluster
	on      string
	off     []string
	adopt   bool
}

func (*control) name() string { return "Control" }

func (c *control) settled(ctx context.Context, _ Decision) (bool, error) {
	states, err := c.cluster.States(ctx, append([]string{c.on}, c.off...))
	for arn, on := range states {
		if on != (arn == c.on) {
			return false, err
		}
	}
	return err == nil, err
}

// move leaves the controls alone while there are more of them than members: then one that is
// on may be of a group that was taken out of the Global Datastore.
func (c *control) move(ctx context.Context, d Decision, guard func(context.Context) error) (bool, error) {
	return c.cluster.Turn(ctx, c.on, c.off, func(ctx context.Context) error {
		states, err := c.cluster.States(ctx, c.off)
		if err != nil {
			return err
		}
		on := slices.ContainsFunc(c.off, func(arn string) bool { return states[arn] })
		if on && !c.adopt && !d.Alone && len(d.Members) < 1+len(c.off) {
			return fmt.Errorf("another control is on, and %d of %d Regions are members: %w", len(d.Members), 1+len(c.off), errForeign)
		}
		return guard(ctx)
	})
}
