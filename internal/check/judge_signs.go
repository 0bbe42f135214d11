package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/roam-sessions/roam/internal/admin"
	"github.com/roam-sessions/roam/internal/topology"
)

// namesPart is what rows call what says outside of Roam where the writer is.
const namesPart = "names"

// A sign is what one such thing says.
type sign struct {
	publish topology.Publish
	asked   bool
	err     error // why it was not asked

	// Of a name:
	target  string // empty: it leads nowhere
	marked  bool
	epoch   uint64 // of the mark
	records []record
	// Of routing controls, by Region:
	on map[string]bool
}

// A record is one of a name at Route 53.
type record struct{ set, target, health string }

// judgeSigns judges whether what says outside of Roam where the writer is agrees with the
// lease, by what it says itself and by how nodes fare with it.
func judgeSigns(d topology.Deployment, w words, signs []sign) (out []Row) {
	if d.Control == nil || d.Control.DNS == nil || !d.Leases() {
		return nil
	}
	var lease admin.Lease
	if s := w.newest(); s != nil && s.Lease != nil {
		lease = *s.Lease
	}
	for _, s := range signs {
		row := s.judge(d, lease)
		out = append(out, row)
	}
	out = append(out, judgeFares(w, lease)...)
	for i := range out {
		out[i].Part = namesPart
	}
	return out
}

// judge judges what one says.
func (s sign) judge(d topology.Deployment, lease admin.Lease) Row {
	label := s.publish.Label()
	switch {
	case !s.asked:
		return Row{
			State: Unknown, Seen: fmt.Sprintf("%s: it was not asked from here: %v", label, s.err),
			Mend: "run it where a node runs, which may ask; what nodes say of it stands beside it",
		}
	case lease.Epoch == 0 || lease.Holder == "":
		return Row{State: Unknown, Seen: label + ": who holds the lease is not known", Mend: "mend what stands beside the members"}
	case s.publish.Kind == topology.ARC:
		return s.judgeControls(lease)
	}
	want := d.Targets(s.publish)[lease.Holder]
	if s.publish.Kind == topology.RFC2136 {
		want = lease.Holder + "." + d.Control.DNS.Zone
	}
	mend := "roam status tells how the node of " + lease.Holder + " fares with it"
	row := Row{State: Fault, Mend: mend}
	switch {
	case want == "":
		return Row{State: Good, Seen: fmt.Sprintf("%s: it has no place for %s, which holds the lease", label, lease.Holder)}
	case s.target == "":
		row.Seen = fmt.Sprintf("%s: it leads nowhere, and %s holds the lease of epoch %d", label, lease.Holder, lease.Epoch)
	case s.marked && s.epoch > lease.Epoch:
		row.Seen = fmt.Sprintf("%s: it is of epoch %d, and the lease is of %d", label, s.epoch, lease.Epoch)
		row.Mend = "if the deployment was set up from nothing, delete the text record _roam." + s.publish.Name + ", and start the nodes anew"
	case !sameHost(s.target, want) && s.publish.Hosted != nil && s.publish.Hosted.Pair != nil:
		row.State = Warning
		row.Seen = fmt.Sprintf("%s: its primary record leads to %s, and %s holds the lease of epoch %d: health checks alone lead there", label, bareHost(s.target), lease.Holder, lease.Epoch)
	case !sameHost(s.target, want):
		row.Seen = fmt.Sprintf("%s: it leads to %s, and %s holds the lease of epoch %d", label, bareHost(s.target), lease.Holder, lease.Epoch)
	case !s.marked:
		row.State, row.Seen = Warning, fmt.Sprintf("%s: it leads to %s, and no mark says of which epoch: Roam did not write it yet", label, bareHost(s.target))
	case s.epoch < lease.Epoch:
		row.State, row.Seen = Warning, fmt.Sprintf("%s: it leads to %s by epoch %d, and the lease is of %d", label, bareHost(s.target), s.epoch, lease.Epoch)
	default:
		return s.judgePair(Row{State: Good, Seen: fmt.Sprintf("%s: it leads to %s, as the lease of epoch %d says", label, bareHost(s.target), lease.Epoch)})
	}
	return row
}

// judgePair judges the other of two failover records, where all else is well.
func (s sign) judgePair(good Row) Row {
	if s.publish.Hosted == nil {
		return good
	}
	for _, side := range s.publish.Hosted.Pair {
		i := slices.IndexFunc(s.records, func(r record) bool { return r.set == side.Name })
		if i < 0 || !sameHost(s.records[i].target, side.Target) || s.records[i].health != side.HealthCheck {
			return Row{
				State: Warning, Seen: fmt.Sprintf("%s: its record of %s is not as roam.yaml has it", s.publish.Label(), side.Name),
				Mend: "roam aws records migrate --to failover makes it so",
			}
		}
	}
	return good
}

// judgeControls judges routing controls: the holder's is on, and all others are off.
func (s sign) judgeControls(lease admin.Lease) Row {
	var on []string
	for _, region := range slices.Sorted(maps.Keys(s.on)) {
		if s.on[region] {
			on = append(on, region)
		}
	}
	if len(on) == 1 && on[0] == lease.Holder {
		return Row{State: Good, Seen: fmt.Sprintf("%s: that of %s alone is on, as the lease of epoch %d says", s.publish.Label(), lease.Holder, lease.Epoch)}
	}
	said := "none is on"
	if len(on) > 0 {
		said = list(on) + " is on"
	}
	return Row{
		State: Fault, Seen: fmt.Sprintf("%s: %s, and %s holds the lease of epoch %d", s.publish.Label(), said, lease.Holder, lease.Epoch),
		Mend: "roam status tells how the node of " + lease.Holder + " fares with them; look at the safety rules",
	}
}

// judgeFares judges what nodes say of what they keep: of each thing what the node of the
// lease's holder says, and of the others where somebody has to look.
func judgeFares(w words, lease admin.Lease) (out []Row) {
	s := w.leading()
	if s == nil {
		return nil
	}
	for _, n := range s.Names {
		row := Row{Region: n.Region, Mend: n.Next}
		switch {
		case n.State == "refused":
			row.State, row.Seen = Fault, fmt.Sprintf("%s is refused: %s", n.Name, n.Why)
		case n.State == "pending" && n.Region == lease.Holder:
			row.State, row.Seen = Warning, fmt.Sprintf("%s is pending for %v: %s", n.Name, s.At.Sub(n.Since).Round(1e9), n.Why)
		default:
			continue
		}
		out = append(out, row)
	}
	return out
}

func bareHost(name string) string { return strings.TrimSuffix(name, ".") }

func sameHost(a, b string) bool { return strings.EqualFold(bareHost(a), bareHost(b)) }
