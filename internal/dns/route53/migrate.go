package route53

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/roam-sessions/roam/internal/dns"
)

// A Migration is the one batch by which a name comes to have the form that a Publisher keeps,
// and to lead where it did.
type Migration struct {
	Is      []Record // as it is
	Changes []Change // empty: it has that form already
	Target  string   // where it leads, and is to lead
	Marked  bool     // a control plane keeps it: its mark stays
	Epoch   uint64   // of the mark

	batch []types.Change
}

// Migration looks at the name and returns what would be done. Targets are where Regions are: a
// name that leads elsewhere is somebody else's. Toward is one of them; empty: where the mark
// says that the name leads, or else its simple record. It fails as Look does, and with
// dns.ErrOccupied if the name is not ours, or if it is not known where it is to lead.
func (p *Publisher) Migration(ctx context.Context, targets []string, toward string) (Migration, error) {
	h, err := p.held(ctx)
	if err == nil {
		var m Migration
		if m, err = p.migration(h, targets, toward); err == nil {
			return m, nil
		}
	}
	return Migration{}, fmt.Errorf("look at %s at Route 53: %w", p.name, err)
}

func (p *Publisher) migration(h holding, targets []string, toward string) (m Migration, err error) {
	known := map[string]bool{}
	for _, t := range targets {
		known[strings.ToLower(bare(t))] = true
	}
	for _, r := range h.records {
		if !known[strings.ToLower(r.Target)] {
			return m, fmt.Errorf("%w: it leads to %s, where no Region is", dns.ErrOccupied, r.Target)
		}
	}
	m = Migration{Is: h.records, Target: toward, Marked: h.mark != nil, Epoch: h.last.Epoch}
	switch {
	case m.Marked && toward != "" && !sameName(toward, h.last.Target):
		return m, fmt.Errorf("%w: a control plane keeps it, and has it lead to %s", dns.ErrOccupied, bare(h.last.Target))
	case m.Marked:
		m.Target = h.last.Target
	case toward == "" && len(h.records) == 1:
		m.Target = h.records[0].Target
	case toward == "":
		return m, fmt.Errorf("%w: it has %d records and no mark: say which Region is the primary", dns.ErrOccupied, len(h.records))
	}
	if m.Target, err = canonical(m.Target); err != nil {
		return m, err
	}
	want, err := p.want(m.Target)
	if err != nil {
		return m, err
	}
	m.Changes = Plan(h.records, want)
	if m.batch = batch(p.name, m.Changes); len(m.batch) > 0 && m.Marked {
		m.batch = append(h.marking(p.name, h.last, p.ttl), m.batch...)
	}
	return m, nil
}

// Migrate carries a Migration out, and returns when all servers of Route 53 answer so and it is
// listed so. It sends the batch that was looked at or none: if something has changed since, it
// fails, and one looks again. Polled, if set, is told of the change whenever Route 53 is asked
// how far that is. It fails as Settle does.
func (p *Publisher) Migrate(ctx context.Context, m Migration, polled func(change string)) (Outcome, error) {
	var o Outcome
	j := job{target: m.Target, marked: m.Marked, epoch: m.Epoch, polled: polled, shown: func(changes []types.Change) error {
		if !reflect.DeepEqual(changes, m.batch) {
			return errOther
		}
		return nil
	}}
	err := p.turn(ctx, func() (job, bool) { return j, true }, nil, &o)
	return o, err
}
