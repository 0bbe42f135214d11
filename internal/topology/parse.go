package topology

import (
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/yamlfile"
)

const (
	// maxRegions: each Region pushes to all others, so links grow by the square.
	maxRegions = 7
	// version is what the file says of itself. Others are refused.
	version = 1
	// defaultName is of a deployment that the file gives none.
	defaultName = "roam"
	// authority is the name that no Region can have: see package pki.
	authority = "ca"
)

// A parser gathers faults.
type parser struct{ faults Faults }

// Add adds a fault. Beyond maxFaults nothing is added.
func (p *parser) Add(f Fault) {
	if len(p.faults) < maxFaults {
		p.faults = append(p.faults, f)
	}
}

// Parse reads a file that describes a deployment. It fails with Faults: all that
// is wrong, as far as it can be told, up to a hundred. Aliases and anchors of YAML
// are refused, and files above 1 MiB.
func Parse(file []byte) (Deployment, error) {
	p := &parser{}
	root := p.root(file)
	if root == nil {
		return Deployment{}, p.faults
	}
	d := p.deployment(cursor{p: p, node: root})
	if len(p.faults) > 0 {
		return Deployment{}, p.faults.Sorted()
	}
	d.Text = string(file)
	return d, nil
}

// root returns the one document of a file; nil if there is none to look at.
func (p *parser) root(file []byte) *yaml.Node {
	in, top := yamlfile.Parse(file, `"roam config example" prints one to begin with`)
	p.faults = append(p.faults, in.Faults()...)
	return top.Node
}

func (p *parser) deployment(c cursor) Deployment {
	f := c.fields("version", "name", "topology", "primary", "regions", "links", "policies", "control")
	if f["version"].want("write version: 1"); f["version"].there() {
		f["version"].number(version, version)
	}
	d := Deployment{Name: defaultName}
	if f["name"].there() {
		d.Name = f["name"].name("deployment")
	}
	if f["topology"].want("write topology: "+ActiveActive) != "" {
		d.Topology = f["topology"].oneOf(ActiveActive, ActivePassive)
	}
	if f["primary"].there() {
		d.Primary = f["primary"].text()
	}
	if !f["regions"].there() {
		f["regions"].fault("name at least one", "is missing")
	}
	regions := f["regions"].items(maxRegions)
	if f["regions"].there() && f["regions"].node.Kind == yaml.SequenceNode && len(regions) == 0 {
		f["regions"].fault("name at least one", "has no Region")
	}
	for _, r := range regions {
		d.Regions = append(d.Regions, p.region(r))
	}
	d.Links = p.links(f["links"])
	d.Policies = p.policies(f["policies"], &d)
	if f["control"].there() {
		d.Control = p.control(f["control"], &d)
	}
	p.judge(f, regions, &d)
	return d
}

func (p *parser) region(c cursor) Region {
	f := c.fields("name", "id", "engine", "side", "node", "replicate", "endpoint", "network", "elasticache")
	r := Region{Name: f["name"].memberName("Region", "us-west-1")}
	if f["id"].want("write id: and a number from 1 to 15 that no Region ever had") != "" {
		r.ID = crdt.Region(f["id"].number(1, int(crdt.MaxRegion))) //nolint:gosec // within bounds
	}
	if f["engine"].there() {
		r.Engine = p.engine(f["engine"])
	} else {
		f["engine"].fault("write engine: and below it "+anEngine, "is missing")
	}
	if f["side"].there() {
		side := p.engine(f["side"])
		r.Side = &side
	}
	r.Node = p.node(f["node"])
	r.Replicate = replicate(f["replicate"], r.Engine)
	r.Networks = networks(f["network"])
	if f["endpoint"].there() {
		r.Endpoint = f["endpoint"].endpoint()
	}
	if f["elasticache"].there() {
		r.Group = p.group(f["elasticache"], r.Name)
	}
	return r
}

// memberName is the name of who has a certificate.
func (c cursor) memberName(what, such string) string {
	if !c.there() {
		c.fault("write name: and a word such as "+such, "is missing")
		return ""
	}
	name := c.name(what)
	if name == authority {
		c.fault("use another name", "%q is what the files of the links' authority are called", name)
	}
	return name
}

// name is a word by isName. What is none is returned all the same: it may be there twice.
func (c cursor) name(what string) string {
	s := c.text()
	if s != "" && !isName(s) {
		c.fault("use a to z, 0 to 9 and dashes within, at most 63", "%q is no name of a %s", printable(s), what)
	}
	return s
}

// isName reports whether s can be a Region's name: it goes into paths, names of
// certificates and labels.
func isName(s string) bool {
	const longest = 63 // as a label of DNS
	for i := range len(s) {
		letter := 'a' <= s[i] && s[i] <= 'z' || '0' <= s[i] && s[i] <= '9'
		within := s[i] == '-' && i > 0 && i < len(s)-1
		if !letter && !within {
			return false
		}
	}
	return s != "" && len(s) <= longest
}

func (p *parser) node(c cursor) Node {
	const defaultHTTP = "127.0.0.1:7101"
	f := c.fields("links", "advertise", "http", "control", "control_advertise", "api", "api_advertise", "dns")
	n := Node{HTTP: defaultHTTP, DNS: f["dns"].address()}
	n.Links, n.Advertise = advertised(f["links"], f["advertise"])
	n.Control, n.ControlAdvertise = advertised(f["control"], f["control_advertise"])
	n.API, n.APIAdvertise = advertised(f["api"], f["api_advertise"])
	if f["http"].there() {
		n.HTTP = f["http"].address()
	}
	return n
}

// advertised returns where somebody listens, and where peers reach it: there as well, if
// the file does not say it.
func advertised(listen, advertise cursor) (at, by string) {
	at = listen.address()
	by = at
	if advertise.there() {
		if by = advertise.address(); wildcard(by) {
			advertise.fault("name the host that peers reach it by", "%q is everywhere", by)
		}
	} else if wildcard(at) {
		listen.fault(fmt.Sprintf("name the host that peers reach it by, with %s:", last(advertise.path)), "%q listens everywhere", at)
	}
	return at, by
}

func (p *parser) links(c cursor) Links {
	f := c.fields("tls")
	if !f["tls"].there() {
		return Links{}
	}
	t := f["tls"].fields("ca", "cert", "key")
	return Links{TLS: &TLS{
		CA:   t["ca"].want(`write ca: pki/ca.pem; "roam pki init" makes it`),
		Cert: t["cert"].want(`write cert: "pki/{region}.pem"`),
		Key:  t["key"].want(`write key: "pki/{region}.key"`),
	}}
}
