package route53

import (
	"fmt"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/roam-sessions/roam/internal/dns"
)

// A holding is what Route 53 has of our name and its mark.
type holding struct {
	records []Record
	mark    *types.ResourceRecordSet // as it is, to be deleted so; nil: none
	last    dns.Publication          // what the mark says
}

// hearName takes in what was listed from our name on. It fails with dns.ErrOccupied if others
// use the name for something that no form of ours can take the place of.
func (h *holding) hearName(name string, out *sdk.ListResourceRecordSetsOutput) error {
	ours := 0
	for i := range out.ResourceRecordSets {
		set := &out.ResourceRecordSets[i]
		if !sameName(text(set.Name), name) {
			return nil // the list goes on with other names
		}
		r, err := record(set)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", dns.ErrOccupied, name, err)
		}
		ours++
		h.records = append(h.records, r)
	}
	if out.IsTruncated && ours > 0 && sameName(text(out.NextRecordName), name) {
		return fmt.Errorf("%w: %s has more than %d records", dns.ErrOccupied, name, ours)
	}
	return nil
}

// hearMark takes in what was listed from our mark's name on.
func (h *holding) hearMark(name string, out *sdk.ListResourceRecordSetsOutput) error {
	for i := range out.ResourceRecordSets {
		set := &out.ResourceRecordSets[i]
		if !sameName(text(set.Name), name) {
			return nil
		}
		if h.mark != nil || set.Type != types.RRTypeTxt || len(set.ResourceRecords) != 1 || special(set) || text(set.SetIdentifier) != "" {
			return fmt.Errorf("%w: %s has what is no mark of ours", dns.ErrOccupied, name)
		}
		var err error
		if h.last, err = ParseMark(text(set.ResourceRecords[0].Value)); err != nil {
			return err
		}
		h.mark = set
	}
	return nil
}

// record reads a record set that a form of ours may have, or take the place of.
func record(set *types.ResourceRecordSet) (Record, error) {
	switch {
	case set.Type != types.RRTypeCname:
		return Record{}, fmt.Errorf("it has a record of type %s", set.Type)
	case special(set) || len(set.ResourceRecords) != 1 || set.TTL == nil:
		return Record{}, fmt.Errorf("its record %q routes by other rules", text(set.SetIdentifier))
	}
	return Record{
		Target: bare(text(set.ResourceRecords[0].Value)), TTL: *set.TTL,
		Set: text(set.SetIdentifier), Role: Role(set.Failover), Health: text(set.HealthCheckId),
	}, nil
}

// special reports whether a set has what neither a simple nor a failover record has.
func special(set *types.ResourceRecordSet) bool {
	return set.AliasTarget != nil || set.CidrRoutingConfig != nil || set.GeoLocation != nil || set.GeoProximityLocation != nil ||
		set.MultiValueAnswer != nil || set.Region != "" || set.TrafficPolicyInstanceId != nil || set.Weight != nil ||
		(text(set.SetIdentifier) == "") != (set.Failover == "")
}

// judge compares what there is with a publication. It fails with dns.ErrStale if the mark
// knows better.
func (h *holding) judge(want dns.Publication) error {
	switch {
	case h.mark == nil || h.last.Epoch < want.Epoch:
	case h.last.Epoch > want.Epoch:
		return fmt.Errorf("%w: epoch %d was published, and not %d", dns.ErrStale, h.last.Epoch, want.Epoch)
	case h.last.Target != want.Target:
		return fmt.Errorf("%w: epoch %d was published with %s, and not %s", dns.ErrStale, want.Epoch, h.last.Target, want.Target)
	}
	return nil
}

// marking returns the changes by which the mark comes to be that of a publication. They fail,
// and the whole batch with them, if the mark is not as it was held to be any more: so a batch
// that comes late never undoes what came before it.
func (h *holding) marking(name string, want dns.Publication, ttl int64) []types.Change {
	var out []types.Change
	if h.mark != nil {
		out = append(out, types.Change{Action: types.ChangeActionDelete, ResourceRecordSet: h.mark})
	}
	value, mark := markText(want), markOf+name
	return append(out, types.Change{Action: types.ChangeActionCreate, ResourceRecordSet: &types.ResourceRecordSet{
		Name: &mark, Type: types.RRTypeTxt, TTL: &ttl, ResourceRecords: []types.ResourceRecord{{Value: &value}},
	}})
}

// batch writes changes at a name as Route 53 takes them.
func batch(name string, changes []Change) []types.Change {
	out := make([]types.Change, len(changes))
	for i, c := range changes {
		r := c.Record
		set := &types.ResourceRecordSet{
			Name: &name, Type: types.RRTypeCname, TTL: &r.TTL, ResourceRecords: []types.ResourceRecord{{Value: &r.Target}},
		}
		if r.Set != "" {
			set.SetIdentifier, set.Failover = &r.Set, types.ResourceRecordSetFailover(r.Role)
		}
		if r.Health != "" {
			set.HealthCheckId = &r.Health
		}
		out[i] = types.Change{Action: types.ChangeAction(c.Action), ResourceRecordSet: set}
	}
	return out
}

func sameName(a, b string) bool { return strings.EqualFold(bare(a), bare(b)) }

func text(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}
