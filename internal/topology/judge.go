package topology

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// judge reports what is wrong between the parts of a deployment.
func (p *parser) judge(f map[string]cursor, regions []cursor, d *Deployment) {
	p.primary(f, d)
	seen := unique{}
	for i, c := range regions {
		r := d.Regions[i]
		seen.once(c.find("name"), "name ", r.Name, fmt.Sprintf("name %q", printable(r.Name)), "give each Region its own")
		if r.ID != 0 {
			seen.once(c.find("id"), "id ", strconv.Itoa(int(r.ID)), fmt.Sprintf("number %d", r.ID),
				"give each Region its own, and never one that another had")
		}
		seen.addresses(c, r)
		p.linked(c.find("node", "links"), r, d)
	}
	p.engines(regions, d)
	p.apart(regions, d)
	p.controlled(f["control"], regions, d, seen)
	p.grouped(f["control"], regions, d)
}

// unique is what may be there once, and the path where it was.
type unique map[string]string

func (u unique) once(at cursor, kind, value, what, mend string) {
	if value == "" {
		return
	}
	if before, twice := u[kind+value]; twice {
		at.fault(mend, "%s is used twice: before, at %s", what, before)
		return
	}
	u[kind+value] = at.path
}

// addresses looks at those of a Region. What is on loopback, or everywhere, is of
// the machine; so Regions whose nodes are on others may have the same.
func (u unique) addresses(c cursor, r Region) {
	u.listens(c.find("node"), r.Node, c.path, nil)
	machine := machineOf(r.Node, c.path)
	for n, e := range []*Engine{&r.Engine, r.Side} {
		key := []string{"engine", "side"}[n]
		if e != nil {
			u.servers(c.find(key), *e, machine)
		}
	}
	if at := c.find("replicate"); at.there() {
		u.address(at, "replicate ", r.Replicate, machine)
	}
}

// listens looks at the addresses of who is at a path. Keys are called otherwise where
// called says so, and are not looked at where it has others only.
func (u unique) listens(c cursor, n Node, path string, called map[string]string) {
	machine := machineOf(n, path)
	for _, l := range []struct{ key, kind, addr, not string }{
		{"links", "port ", n.Links, ""},
		{"http", "port ", n.HTTP, ""},
		{"control", "port ", n.Control, ""},
		{"api", "port ", n.API, ""},
		{"dns", "port ", n.DNS, ""},
		{"advertise", "advertise ", n.Advertise, n.Links},
		{"control_advertise", "advertise ", n.ControlAdvertise, n.Control},
		{"api_advertise", "advertise ", n.APIAdvertise, n.API},
	} {
		key, ok := called[l.key]
		if called == nil {
			key, ok = l.key, true
		}
		if ok && l.addr != l.not {
			u.address(c.find(key), l.kind, l.addr, machine)
		}
	}
}

// machineOf tells the machine of who listens from others; empty: this one.
func machineOf(n Node, path string) string {
	if loopback(cmp.Or(n.Advertise, n.ControlAdvertise)) {
		return ""
	}
	return path + " "
}

func (u unique) address(at cursor, kind, addr, machine string) {
	if loopback(addr) || wildcard(addr) {
		kind += machine
	}
	u.once(at, kind, addr, fmt.Sprintf("address %q", printable(addr)), "each Region, engine and listener has its own")
}

func (p *parser) primary(f map[string]cursor, d *Deployment) {
	switch {
	case d.Topology == ActiveActive && f["primary"].there():
		f["primary"].fault("take it away, or write topology: "+ActivePassive, "every Region takes writes in %s", ActiveActive)
	case d.Topology == ActivePassive && !f["primary"].there():
		f["primary"].fault("name the Region that takes all writes", "is missing")
	case d.Topology == ActivePassive && d.Primary != "":
		f["primary"].member("Regions", d.Names())
	}
}

// linked reports a Region whose node has no address for links that it needs, or
// one that others can listen at.
func (p *parser) linked(links cursor, r Region, d *Deployment) {
	if !links.there() {
		if len(d.Regions) > 1 && d.Pushes() {
			links.fault("write node: {links: \"host:7100\"} in this Region", "no address where its node listens for peers")
		}
		return
	}
	if d.OneStore() {
		links.fault("take it away", "nodes push nothing: %s replicates itself", d.Regions[0].Engine.Kind())
		return
	}
	p.guarded(links, d, r.Node.Links, r.Node.Advertise)
}

// find returns what stands below keys; what is missing is reported at what it
// should be in.
func (c cursor) find(keys ...string) cursor {
	for _, key := range keys {
		next := cursor{p: c.p, near: c.node, path: join(c.path, key)}
		if c.node == nil {
			next.near = c.near
		} else {
			for i := 0; i+1 < len(c.node.Content); i += 2 {
				if c.node.Content[i].Value == key {
					next.node = c.node.Content[i+1]
					break
				}
			}
		}
		c = next
	}
	return c
}

// address is a host and a port; empty if there is none.
func (c cursor) address() string { return c.addressLike("10.0.0.1:6379") }

// addressLike is an address such as an example. What has an @ may hold a password, and
// is not repeated.
func (c cursor) addressLike(example string) string {
	s := c.text()
	if s == "" {
		return ""
	}
	mend := "write host:port, such as " + example
	if strings.Contains(s, "@") {
		c.fault(mend+"; passwords go into password_file or password_env", "has an @")
		return ""
	}
	host, port := split(s)
	if !isPort(port) || strings.ContainsAny(host, "/ ") {
		c.fault(mend, "%q is no address", printable(s))
		return ""
	}
	return s
}

// isPort reports whether a word is one.
func isPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 1 && n <= 65535
}

// split returns the host and port of an address, both empty if it is none.
func split(addr string) (host, port string) {
	at := strings.LastIndexByte(addr, ':')
	if at < 0 {
		return "", ""
	}
	host, port = addr[:at], addr[at+1:]
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		if ip, err := netip.ParseAddr(inner); !ok || err != nil || !ip.Is6() {
			return "", ""
		}
		return inner, port
	}
	if strings.Contains(host, ":") {
		return "", "" // an IPv6 address stands in brackets
	}
	return host, port
}

// loopback reports whether an address can be reached from its machine only. A
// name but localhost may lead anywhere.
func loopback(addr string) bool {
	host, _ := split(addr)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// wildcard reports whether who listens at an address does so on all interfaces.
func wildcard(addr string) bool {
	host, port := split(addr)
	ip, err := netip.ParseAddr(host)
	return port != "" && host == "" || err == nil && ip.IsUnspecified()
}

// Host returns the host of an address as Parse accepts it.
func Host(addr string) string {
	host, _ := split(addr)
	return host
}
