package check

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/roam-sessions/roam/internal/topology"
)

// networkPart is what rows call where addresses lead to.
const networkPart = "network"

// A lookup is where a host leads to, seen from here.
type lookup struct {
	addrs []netip.Addr
	err   error // it was not found out
}

// A use is an address that the file gives, and what is there.
type use struct{ what, addr string }

// String returns both, for a row.
func (u use) String() string { return u.what + " " + u.addr }

// usesOf returns the addresses that the file gives a Region, each host once. What a node
// only listens at is not among them, nor where a name of the Region leads users to.
func usesOf(r topology.Region) []use {
	var all []use
	add := func(what string, addrs ...string) {
		for _, addr := range addrs {
			all = append(all, use{what, addr})
		}
	}
	for _, at := range []struct {
		what string
		*topology.Engine
	}{{engineOf, &r.Engine}, {sideOf, r.Side}} {
		if at.Engine != nil && at.Valkey != nil {
			add(at.what, at.Valkey.Addrs...)
			add("replica", at.Valkey.Replicas...)
		}
		if at.Engine != nil && at.Postgres != nil {
			add(at.what, slices.DeleteFunc(slices.Clone(at.Postgres.Hosts), func(addr string) bool { return strings.HasPrefix(addr, "/") })...)
		}
	}
	add("replicate", r.Replicate)
	add("node", r.Node.Advertise)
	add("control", r.Node.ControlAdvertise)
	add("api", r.Node.APIAdvertise)
	seen := map[string]bool{"": true} // what the file does not say has no host
	return slices.DeleteFunc(all, func(u use) bool {
		host := topology.Host(u.addr)
		twice := seen[host]
		seen[host] = true
		return twice
	})
}

// hostsOf returns all hosts of the Regions and of the members, each once.
func hostsOf(d topology.Deployment) (out []string) {
	for _, r := range d.Regions {
		for _, u := range usesOf(r) {
			out = append(out, topology.Host(u.addr))
		}
	}
	for _, m := range d.Voters() {
		out = append(out, topology.Host(m.Control), topology.Host(m.API))
	}
	slices.Sort(out)
	return slices.Compact(slices.DeleteFunc(out, func(host string) bool { return host == "" }))
}

// anywhere reports whether an address is one that every machine has.
func anywhere(addr netip.Addr) bool { return addr.IsLoopback() || addr.IsUnspecified() }

// within returns the network of a Region that an address is in.
func within(r topology.Region, addr netip.Addr) (netip.Prefix, bool) {
	i := slices.IndexFunc(r.Networks, func(n netip.Prefix) bool { return n.Contains(addr) })
	if i < 0 {
		return netip.Prefix{}, false
	}
	return r.Networks[i], true
}

// judgeNetworks judges where the addresses of Regions lead to, by host.
func judgeNetworks(d topology.Deployment, leads map[string]lookup) (out []Row) {
	told := slices.ContainsFunc(d.Regions, func(r topology.Region) bool { return len(r.Networks) > 0 })
	strays := map[netip.Addr]bool{} // a row says already where these are
	for _, r := range d.Regions {
		bad := false
		inside := 0
		for _, u := range usesOf(r) {
			at := leads[topology.Host(u.addr)]
			row := Row{State: Good}
			switch {
			case at.err != nil && told:
				row = Row{State: Unknown, Seen: fmt.Sprintf("%v: where it leads to was not found out: %v", u, at.err), Mend: "look at the name, or run it where it is known"}
			case at.err == nil:
				row = judgeUse(d, r, u, at.addrs, strays)
			}
			if row.State != Good {
				bad = true
				row.Region, row.Part = r.Name, networkPart
				out = append(out, row)
			}
			if slices.ContainsFunc(at.addrs, func(a netip.Addr) bool { _, is := within(r, a); return is }) {
				inside++
			}
		}
		if !bad && inside > 0 {
			out = append(out, Row{State: Good, Region: r.Name, Part: networkPart, Seen: fmt.Sprintf("%d of %d addresses lead into its networks, and none elsewhere", inside, len(usesOf(r)))})
		}
	}
	return append(out, judgeMachines(d, leads, strays)...)
}

// judgeUse judges where one address leads to, the worst alone.
func judgeUse(d topology.Deployment, r topology.Region, u use, addrs []netip.Addr, strays map[netip.Addr]bool) Row {
	worst := Row{State: Good}
	for _, addr := range addrs {
		for _, other := range d.Regions {
			if n, is := within(other, addr); is && other.Name != r.Name {
				strays[addr] = true
				worst = Row{
					State: Fault, Seen: fmt.Sprintf("%v: %v is in %v, a network of %s", u, addr, n, other.Name),
					Mend: "look where the name leads to, and at network: in the file",
				}
			}
		}
		_, own := within(r, addr)
		if len(r.Networks) > 0 && !own && !anywhere(addr) && worst.State == Good {
			worst = Row{
				State: Warning, Seen: fmt.Sprintf("%v: %v is in none of its networks", u, addr),
				Mend: "look where the name leads to, or name that network too, as network: in the file",
			}
		}
	}
	return worst
}

// judgeMachines: no two Regions are at one address, however each calls it.
func judgeMachines(d topology.Deployment, leads map[string]lookup, strays map[netip.Addr]bool) (out []Row) {
	type owner struct {
		region string
		use
	}
	owners := map[netip.Addr]owner{}
	told := map[string]bool{}
	for _, r := range d.Regions {
		for _, u := range usesOf(r) {
			for _, addr := range leads[topology.Host(u.addr)].addrs {
				before, taken := owners[addr]
				if !taken {
					owners[addr] = owner{r.Name, u}
				}
				pair := before.region + " " + r.Name
				if !taken || before.region == r.Name || anywhere(addr) || strays[addr] || told[pair] {
					continue
				}
				told[pair] = true
				out = append(out, Row{
					State: Warning, Region: r.Name, Part: networkPart,
					Seen: fmt.Sprintf("%v leads to %v, and so does %v of %s: one machine, or one address seen from here, for two Regions", u, addr, before.use, before.region),
					Mend: "give each Region machines of its own",
				})
			}
		}
	}
	return out
}

// list returns names as people say them.
func list(names []string) string {
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return strings.Join(names, "")
}
