package topology

import (
	"fmt"
	"strconv"
	"strings"
)

// controlled reports what is wrong between the section for the control plane and the
// rest, of which seen has the names, numbers and addresses.
func (p *parser) controlled(c cursor, regions []cursor, d *Deployment, seen unique) {
	if d.Control == nil {
		for _, r := range regions {
			for _, key := range []string{"control", "control_advertise", "api", "api_advertise", "dns"} {
				if at := r.find("node", key); at.there() {
					at.fault("add the section control: to the file, or take this away", "is of no use without a control plane")
				}
			}
		}
		return
	}
	for i, at := range regions {
		p.listening(at.find("node"), "node: {", d.Regions[i].Node, d)
		p.replicates(at.find("replicate"), d.Regions[i], d)
	}
	p.witnesses(c.find("witnesses"), d, seen)
	p.voters(c, d)
	switch at := c.find("lease"); {
	case d.Topology == ActivePassive && len(d.Regions) > 0 && d.Regions[0].Engine.Memory != nil:
		c.fault("write engine: valkey: in all Regions, or topology: "+ActiveActive, "the lease needs servers: it can't be granted to what is in the memory of a node")
	case at.there() && d.Topology == ActiveActive:
		at.fault("take it away", "every Region takes writes in %s: there is no lease", ActiveActive)
	}
	if d.Control.DNS != nil {
		p.covers(c.find("dns"), d)
		if zoned(c.find("dns"), d) {
			p.names(c.find("dns"), regions, d)
		}
		return
	}
	for _, r := range regions {
		if at := r.find("node", "dns"); at.there() {
			at.fault("add control: {dns: …} to the file, or take this away", "there are no names to answer for")
		}
	}
}

// listening reports a member that others can't reach, or who should not be able to.
func (p *parser) listening(c cursor, in string, n Node, d *Deployment) {
	closing := strings.Repeat("}", strings.Count(in, "{"))
	for _, l := range []struct{ key, at, by, example, what string }{
		{"control", n.Control, n.ControlAdvertise, "host:7102", "no address where it listens for members"},
		{"api", n.API, n.APIAdvertise, "host:7103", "no address of its admin API"},
	} {
		at := c.find(l.key)
		if !at.there() {
			at.fault(fmt.Sprintf("write %s%s: %q%s", in, l.key, l.example, closing), "%s", l.what)
			continue
		}
		p.guarded(at, d, l.at, l.by)
	}
}

// guarded reports the first address that others can listen at.
func (p *parser) guarded(at cursor, d *Deployment, addrs ...string) {
	if d.Links.TLS != nil || addrs[0] == "" {
		return
	}
	for _, addr := range addrs {
		if addr != "" && !loopback(addr) {
			at.fault(`add links: {tls: …} to the file; "roam pki init" makes the certificates`,
				"%q is not on loopback, and links have no TLS", printable(addr))
			return
		}
	}
}

// replicates reports a server that those of other Regions can't follow.
func (p *parser) replicates(at cursor, r Region, d *Deployment) {
	if d.Leases() && d.Control.Datastore == nil && len(d.Regions) > 1 && loopback(r.Replicate) && r.Node.ControlAdvertise != "" && !loopback(r.Node.ControlAdvertise) {
		at.fault(`write replicate: "host:6379" in this Region`, "%q is where other Regions' servers are to reach this one's, and it is on loopback", printable(r.Replicate))
	}
}

func (p *parser) witnesses(c cursor, d *Deployment, seen unique) {
	for i, w := range d.Control.Witnesses {
		at := cursor{p: p, node: c.node.Content[i], path: fmt.Sprintf("%s[%d]", c.path, i)}
		seen.once(at.find("name"), "name ", w.Name, fmt.Sprintf("name %q", printable(w.Name)), "give each Region and witness its own")
		if w.ID != 0 {
			seen.once(at.find("id"), "id ", strconv.FormatUint(w.ID, 10), fmt.Sprintf("number %d", w.ID),
				"give each witness its own, and never one that another had")
		}
		n := Node{Control: w.Control, ControlAdvertise: w.Advertise, API: w.API, APIAdvertise: w.APIAdvertise}
		p.listening(at, "", n, d)
		seen.listens(at, n, at.path, map[string]string{"control": "control", "control_advertise": "advertise", "api": "api", "api_advertise": "api_advertise"})
	}
}

// voters reports members that make no good majority, or share a folder.
func (p *parser) voters(c cursor, d *Deployment) {
	voters := d.Voters()
	local := 0
	for _, v := range voters {
		if loopback(v.Control) {
			local++
		}
	}
	if at := c.find("dir"); local > 1 && !strings.Contains(d.Control.Dir, regionMark) && d.Control.Dir != "" {
		at.fault("write dir: "+defaultDir, "members on one machine would have one folder")
	}
	n := len(voters)
	if n == 0 || n%2 == 1 {
		return
	}
	at := c.find("witnesses")
	if !at.there() {
		at = c
	}
	mend := "add a witness in a place of its own"
	switch have := len(d.Control.Witnesses); {
	case have == maxWitnesses:
		mend = "take a witness away"
	case have > 0:
		mend += ", or take one away"
	}
	at.fault(mend, "%d members vote, Regions and witnesses: they bear the loss of no more than %d would, and a cut into halves stops both", n, n-1)
}
