package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/elasticache"
	"github.com/roam-sessions/roam/internal/steered"
	"github.com/roam-sessions/roam/internal/topology"
)

// A datastore is a Global Datastore as the service that manages this Region's server.
type datastore struct {
	*elasticache.Datastore
	site  elasticache.Site
	named map[topology.Group]string // Regions, as we call them
}

// newDatastore returns the one that a deployment is on; nil: nodes manage its servers. It asks
// nothing yet.
func newDatastore(ctx context.Context, d topology.Deployment, here topology.Region, c Config) (*datastore, error) {
	if d.Control.Datastore == nil {
		return nil, nil
	}
	out := &datastore{
		site:  elasticache.Site{Global: d.Control.Datastore.ID, Group: here.Group.ID, Region: here.Group.AWS},
		named: map[topology.Group]string{},
	}
	for _, r := range d.Regions {
		out.named[*r.Group] = r.Name
	}
	var err error
	if out.Datastore, err = elasticache.Open(ctx, out.site, c.Log); err != nil {
		return nil, err
	}
	return out, nil
}

// State returns what ElastiCache says of this Region's group.
func (d *datastore) State(primary bool) steered.Managed {
	s := d.Datastore.State(primary)
	m := steered.Managed{Fit: s.Failure == nil && s.View.Promotable(d.site), Text: s.View.String(), Alone: s.View.Found && s.View.Global == ""}
	if s.Seen.IsZero() {
		m.Text = "ElastiCache has not answered yet"
	}
	if s.Failure != nil {
		m.Text += "; " + s.Failure.Error()
	}
	if p, ok := s.View.PrimaryOf(); ok {
		m.Primary = d.named[topology.Group{ID: p.Group, AWS: p.Region}]
	}
	return m
}

// Promote asks for this Region's group to become the primary, or to be on its own.
func (d *datastore) Promote(detach bool) error {
	err := d.Datastore.Promote(detach)
	if errors.Is(err, elasticache.ErrUnderWay) {
		return fmt.Errorf("%w: %w", control.ErrUnderWay, err)
	}
	return err
}
