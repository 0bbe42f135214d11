package topology

import (
	"fmt"
	"net/netip"
	"strings"
)

// maxNetworks is far above the networks that one Region's servers are in.
const maxNetworks = 16

// networks reads the networks of a Region. What is none is kept as nothing, so that
// each has its place in the file.
func networks(c cursor) (out []netip.Prefix) {
	before := len(c.p.faults)
	for _, item := range c.items(maxNetworks) {
		out = append(out, item.network())
	}
	if c.there() && len(out) == 0 && len(c.p.faults) == before {
		c.fault("write network: [10.1.0.0/16], or take the key away", "has no network")
	}
	return out
}

// network is an address and how many of its bits are those of a network; nothing if
// there is none.
func (c cursor) network() netip.Prefix {
	s := c.text()
	if s == "" {
		return netip.Prefix{}
	}
	p, err := netip.ParsePrefix(s)
	mend := "write an address and the bits of the network, such as 10.1.0.0/16 or 2001:db8:1::/48"
	switch {
	case err != nil && !strings.Contains(s, "/"):
		c.fault(mend, "%q does not say how many bits the network has", printable(s))
	case err != nil || p.Addr().Is4In6():
		c.fault(mend, "%q is no network", printable(s))
	case p != p.Masked():
		c.fault("write "+p.Masked().String(), "%q is an address within a network: bits beyond the first %d are set", printable(s), p.Bits())
	default:
		return p
	}
	return netip.Prefix{}
}

// apart reports networks of which two Regions have a part.
func (p *parser) apart(regions []cursor, d *Deployment) {
	at := func(region, n int) cursor {
		list := regions[region].find("network")
		return cursor{p: p, node: list.node.Content[n], near: list.node, path: fmt.Sprintf("%s[%d]", list.path, n)}
	}
	for i, r := range d.Regions {
		for n, mine := range r.Networks {
			for j, other := range d.Regions[:i] {
				for m, theirs := range other.Networks {
					if mine.IsValid() && theirs.IsValid() && mine.Overlaps(theirs) {
						before := at(j, m)
						at(i, n).fault("give each Region networks of its own", "%s overlaps %s: before, at %s in line %d",
							mine, theirs, before.path, before.node.Line)
					}
				}
			}
		}
	}
}
