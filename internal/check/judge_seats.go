package check

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/roam-sessions/roam/internal/topology"
)

// A seating is some members that may be lost together.
type seating struct {
	names     []string
	where     string
	sure      bool // the file says so; else it looks like it from here
	regions   int
	witnesses int
}

func (s *seating) add(m topology.Member) {
	s.names = append(s.names, m.Name)
	if m.Witness {
		s.witnesses++
		return
	}
	s.regions++
}

// seatings returns who is in one network of a Region, and who at one address.
func seatings(d topology.Deployment, leads map[string]lookup) (out []seating) {
	at := func(m topology.Member) []netip.Addr {
		return append(slices.Clone(leads[topology.Host(m.Control)].addrs), leads[topology.Host(m.API)].addrs...)
	}
	for _, r := range d.Regions {
		s := seating{where: "in the networks of " + r.Name, sure: true}
		for _, m := range d.Voters() {
			in := slices.ContainsFunc(at(m), func(a netip.Addr) bool { _, is := within(r, a); return is })
			if len(r.Networks) > 0 && (in || m.Name == r.Name) {
				s.add(m)
			}
		}
		out = append(out, s)
	}
	machines := map[netip.Addr]*seating{}
	for _, m := range d.Voters() {
		mine := at(m)
		slices.SortFunc(mine, netip.Addr.Compare)
		for _, addr := range slices.Compact(mine) {
			if anywhere(addr) {
				continue
			}
			if machines[addr] == nil {
				machines[addr] = &seating{where: fmt.Sprintf("at one address, %v", addr)}
			}
			machines[addr].add(m)
		}
	}
	for _, addr := range slices.SortedFunc(maps.Keys(machines), netip.Addr.Compare) {
		out = append(out, *machines[addr])
	}
	return out
}

// judgeSeats judges whether one loss takes more than one vote.
func judgeSeats(d topology.Deployment, leads map[string]lookup) (out []Row) {
	voters := d.Voters()
	majority := len(voters)/2 + 1
	if len(voters) > 1 && !slices.ContainsFunc(voters, func(m topology.Member) bool { return !onLoopback(m.Control) }) {
		return []Row{{State: Good, Seen: "all members are on one machine, as in a demo: its loss takes all votes"}}
	}
	told := map[string]bool{}
	for _, s := range seatings(d, leads) {
		names := list(s.names)
		row := Row{State: Warning, Seen: fmt.Sprintf("%s are %s", names, s.where), Mend: "put each in a place of its own"}
		switch {
		case len(s.names) < 2 || told[names]:
			continue
		case len(s.names) >= majority:
			row.Seen += ": what takes them takes the majority of the votes"
			if s.sure {
				row.State = Fault
			}
		case s.witnesses > 0 && s.regions > 0:
			row.Seen += ": what takes the Region takes the witness, too"
		default:
			continue
		}
		told[names] = true
		out = append(out, row)
	}
	return out
}

// onLoopback reports whether an address can be reached from its own machine alone.
func onLoopback(addr string) bool {
	host := topology.Host(addr)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
