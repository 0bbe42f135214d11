package topology

import (
	"cmp"
	"fmt"
	"slices"
)

const (
	// writerName leads to the Region that takes writes, and writerService to its port:
	// those are package dns's.
	writerName    = "write"
	writerService = "_roam._tcp." + writerName
	// maxChain is how many names one may stand for another in turn.
	maxChain = 8
)

// A named is one name of the zone: where it stands, and where it may lead to.
type named struct {
	at      cursor
	aliases []string // it may stand for each of these
	addrs   bool     // it has addresses, whatever happens
	absent  bool     // it may not be there at all
}

// A namespace is all names of a zone, in full.
type namespace struct {
	zone  string
	names map[string]*named
}

// names reports what is wrong between the names of a zone: what is there twice, and what
// leads nowhere, whoever the writer is and however the Regions are.
func (p *parser) names(c cursor, regions []cursor, d *Deployment) {
	n := d.Control.DNS
	p.answered(c, regions, d)
	if n.Zone == "" {
		return
	}
	s := namespace{n.Zone, map[string]*named{}}
	list := c.find("nameservers")
	for i, server := range n.Nameservers {
		at := list.item(i).find("name")
		inside := within(server.Name, n.Zone)
		switch {
		case server.Name == "":
		case inside && len(server.Addrs) == 0:
			at.fault("write addrs: beside it", "%q is in the zone, and has no addresses", printable(server.Name))
		case !inside && len(server.Addrs) > 0:
			at.fault("take addrs: away: others know them", "%q is not in the zone, and has addresses", printable(server.Name))
		case inside:
			s.own(at, server.Name, Place{Addrs: server.Addrs})
		default:
			s.own(at, server.Name, Place{}) // it is named once, too
		}
	}
	s.regions(c, regions, d)
	list = c.find("failovers")
	for i, f := range n.Failovers {
		places := []Place{d.place(f.Primary, s), d.place(f.Secondary, s)}
		s.claim(list.item(i).find("name"), f.Name, places...)
	}
	list = c.find("names")
	for i, name := range n.Names {
		s.claim(list.item(i).find("name"), name.Name, name.Place)
	}
	s.chains()
	for i, r := range d.Regions { // the writer's port is at what its name stands for
		if r.Endpoint != nil && r.Endpoint.Port != 0 {
			s.host(regions[i].find("endpoint", "target"), r.Endpoint.Target)
		}
	}
	for i, name := range n.Names {
		for j, service := range name.Services {
			s.host(list.item(i).find("services").item(j).find("target"), service.Target)
		}
	}
}

// item returns the one of a number in a sequence.
func (c cursor) item(i int) cursor {
	return cursor{p: c.p, node: c.node.Content[i], near: c.near, path: fmt.Sprintf("%s[%d]", c.path, i)}
}

// answered reports a zone for which nobody answers.
func (p *parser) answered(c cursor, regions []cursor, d *Deployment) {
	some := slices.ContainsFunc(d.Control.DNS.Publish, func(p Publish) bool { return p.Kind == RFC2136 })
	for i, r := range d.Regions {
		some = some || r.Node.DNS != ""
		if r.Endpoint == nil {
			regions[i].find("endpoint").fault("write endpoint: {addrs: [10.0.0.1]} or {target: and a name}", "is missing, and the zone has a name for each Region")
		}
	}
	if at := c.find("nameservers"); !at.there() || len(d.Control.DNS.Nameservers) == 0 {
		at.fault("name one at least, such as {name: ns1.session.internal, addrs: [10.0.0.1]}", "there is no nameserver")
	}
	if !some {
		c.fault(`write node: {dns: "host:53"} in the Regions whose nodes are to answer`, "no Region's node answers for names")
	}
}

// regions claims the names of the Regions, and those that lead to the writer.
func (s namespace) regions(c cursor, regions []cursor, d *Deployment) {
	var writers []Place
	for i, r := range d.Regions {
		if r.Endpoint == nil || !isName(r.Name) {
			continue
		}
		s.claim(regions[i].find("name"), r.Name, r.Endpoint.Place)
		writers = append(writers, d.place(Leg{Region: r.Name}, s))
	}
	at := c.find("zone")
	s.claim(at, writerName, writers...)
	s.claim(at, writerService)
	s.names[writerService+"."+s.zone].absent = true // without a writer, or if that has no port
}

// place returns where a leg leads to: for a Region to what its name stands for, or to its
// name.
func (d *Deployment) place(l Leg, s namespace) Place {
	r, ok := d.Region(l.Region)
	if !ok || r.Endpoint == nil {
		return l.Place
	}
	return Place{Target: cmp.Or(r.Endpoint.Target, r.Name+"."+s.zone)}
}

// claim says where a name of the zone may lead to.
func (s namespace) claim(at cursor, name string, places ...Place) {
	switch name {
	case "":
		return
	case "@":
		name = s.zone
	default:
		name += "." + s.zone
	}
	if err := checkDomain(name); err != nil {
		at.fault("make it shorter", "%q is no name: %v", printable(name), err)
		return
	}
	s.own(at, name, places...)
}

// own says it of a name in full.
func (s namespace) own(at cursor, name string, places ...Place) {
	if before, ok := s.names[name]; ok {
		at.fault("give it another name", "%q is in the zone already, at %s", printable(name), before.at.path)
		return
	}
	n := &named{at: at, addrs: len(places) > 0}
	for _, p := range places {
		if p.Target != "" {
			n.aliases = append(n.aliases, p.Target)
		}
		n.addrs = n.addrs && len(p.Addrs) > 0
	}
	if name == s.zone && len(n.aliases) > 0 {
		at.fault("let it lead to addresses", "the zone itself can stand for no other name")
		n.aliases = nil
	}
	s.names[name] = n
}

// chains reports names that stand for one that is not there, or for too many in turn.
func (s namespace) chains() {
	var all []string
	for name := range s.names {
		all = append(all, name)
	}
	slices.Sort(all)
	for _, name := range all {
		n := s.names[name]
		for _, to := range n.aliases {
			if within(to, s.zone) && !s.exists(to) {
				n.at.fault("name another target, or write it under names:", "leads to %q, which is not in the zone", printable(to))
			}
		}
		if s.deep(name, 0) {
			n.at.fault("let it lead to where the chain ends", "stands for more than %d names in turn, or for itself", maxChain)
		}
	}
}

// deep reports whether a name may stand for too many others in turn.
func (s namespace) deep(name string, steps int) bool {
	n, ok := s.names[name]
	if !ok {
		return false
	}
	return len(n.aliases) > 0 && (steps == maxChain || slices.ContainsFunc(n.aliases, func(to string) bool { return s.deep(to, steps+1) }))
}

// exists reports whether a name is there, or one below it, whatever happens. The zone is:
// the writer's name is below it.
func (s namespace) exists(name string) bool {
	for other, n := range s.names {
		if within(other, name) && !n.absent {
			return true
		}
	}
	return false
}

// host reports a target that must have addresses and, in the zone, may have none: clients
// follow no alias from there (RFC 2782).
func (s namespace) host(at cursor, target string) {
	if target == "" || !within(target, s.zone) {
		return
	}
	if n, ok := s.names[target]; !ok || !n.addrs {
		at.fault("name one that has addresses of its own", "%q is in the zone, and may have no addresses", printable(target))
	}
}
