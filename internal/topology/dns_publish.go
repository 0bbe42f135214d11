package topology

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// mark stands before a name for that of package dns's mark.
const mark = "_roam."

// Forms of AWS's names. What they lead to is asked there.
var (
	zoneIDForm      = regexp.MustCompile(`^[A-Z0-9]{1,32}$`)
	awsRegionForm   = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`)
	healthCheckForm = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)
	controlForm     = regexp.MustCompile(`^arn:aws[a-z-]*:route53-recovery-control::[0-9]{12}:controlpanel/[0-9a-zA-Z]{1,64}/routingcontrol/[0-9a-zA-Z]{1,64}$`)
	namespaceForm   = regexp.MustCompile(`^[A-Za-z0-9._/#-]{1,255}$`)
	globalForm      = regexp.MustCompile(`^[A-Za-z0-9._/#-]{1,255}$`)
)

// clusterEndpoints is how many endpoints a cluster of ARC has. Any two may be down.
const clusterEndpoints = 5

// publish reads one thing that is kept equal to the writer.
func (c cursor) publish(d *Deployment, seen unique) Publish {
	kind := c.find("kind")
	word := RFC2136
	if kind.there() {
		word = kind.oneOf(RFC2136, Route53, ARC)
	}
	if word != RFC2136 && word != "" && d.Topology == ActiveActive {
		c.fault("take it away, or write topology: "+ActivePassive, "follows who holds the lease, and in %s nobody does", ActiveActive)
	}
	switch word {
	case Route53:
		return c.hosted(d, seen)
	case ARC:
		return c.switches(d, seen)
	case RFC2136:
		return c.updated(seen)
	}
	return Publish{}
}

// updated reads a name at somebody else's server.
func (c cursor) updated(seen unique) Publish {
	f := c.fields("kind", "server", "zone", "name", "key_name", "algorithm", "secret_file", "secret_env", "ttl")
	out := Publish{Kind: RFC2136, TTL: f["ttl"].ttl(), Key: key(f)}
	if f["server"].want("write server: 10.0.0.53:53, the primary of the zone") != "" {
		out.Server = f["server"].address()
	}
	if f["zone"].want("write zone: corp.example") != "" {
		out.Zone = f["zone"].domain()
	}
	if f["name"].want("write name: write.corp.example") != "" {
		out.Name = f["name"].domain()
	}
	switch {
	case out.Zone == "" || out.Name == "":
	case out.Name == out.Zone || !within(out.Name, out.Zone):
		f["name"].fault("want a name that ends with ."+printable(out.Zone), "%q is not below the zone", printable(out.Name))
	case f["name"].marked(out.Name) && out.Server != "":
		seen.once(f["name"], "publish ", out.Server+" "+out.Name, fmt.Sprintf("%q at that server", printable(out.Name)), "publish each name once")
	}
	return out
}

// marked reports whether a name leaves room for its mark's.
func (c cursor) marked(name string) bool {
	if len(mark+name) > maxDomain {
		c.fault("make it shorter", "is %d characters long, and at most %d may be", len(name), maxDomain-len(mark))
		return false
	}
	return true
}

// hosted reads a name at Route 53.
func (c cursor) hosted(d *Deployment, seen unique) Publish {
	f := c.fields("kind", "zone_id", "name", "variant", "pair", "ttl", "region", "endpoint")
	h := &Hosted{
		Region:   f["region"].form(awsRegionForm, "write it as AWS does, such as us-east-1", "Region of AWS"),
		Endpoint: f["endpoint"].web(),
	}
	out := Publish{Kind: Route53, TTL: f["ttl"].ttl(), Hosted: h}
	if f["zone_id"].want("write zone_id: Z0123456789ABCDEFGHIJ, as Route 53 calls the zone") != "" {
		h.ZoneID = f["zone_id"].form(zoneIDForm, "write the ID alone, such as Z0123456789ABCDEFGHIJ", "ID of a zone")
	}
	if f["name"].want("write name: write.session.internal") != "" {
		out.Name = f["name"].domain()
	}
	switch {
	case out.Name == "":
	case !strings.Contains(out.Name, "."):
		f["name"].fault("write it whole, such as write.session.internal", "%q is no name of a zone", printable(out.Name))
	case f["name"].marked(out.Name) && h.ZoneID != "":
		seen.once(f["name"], "publish ", h.ZoneID+" "+out.Name, fmt.Sprintf("%q in that zone", printable(out.Name)), "publish each name once")
	}
	failover := f["variant"].oneOf("record", "failover") == "failover"
	switch {
	case failover:
		h.Pair = f["pair"].pair(d)
		return out
	case f["pair"].there():
		f["pair"].fault("write variant: failover, or take it away", "is of failover records")
	}
	for _, r := range d.Regions {
		if r.Target() == "" {
			c.fault("write endpoint: {target: and the name of its engine} in that Region",
				"%s has no target, and a name at Route 53 leads to one", printable(r.Name))
		}
	}
	return out
}

// pair reads the two that failover records lead to.
func (c cursor) pair(d *Deployment) (out []Side) {
	items := c.items(2)
	if len(items) != 2 {
		c.fault("write pair: [{region: and a name, health_check: and an ID}, …] of two", "failover records are two")
		return nil
	}
	seen := unique{}
	for _, item := range items {
		s := item.side(d)
		for _, r := range s.Regions {
			seen.once(item, "Region ", r, fmt.Sprintf("Region %q", printable(r)), "name it in one of the two")
		}
		if s.Target != "" {
			seen.once(item, "target ", s.Target, fmt.Sprintf("target %q", printable(s.Target)), "let the two lead to different places")
		}
		if s.HealthCheck != "" {
			seen.once(item, "check ", s.HealthCheck, "that health check", "give each its own: it says whether that Region is the primary")
		}
		if s.Name != "" {
			seen.once(item, "name ", s.Name, fmt.Sprintf("name %q", printable(s.Name)), "give it another name")
		}
		out = append(out, s)
	}
	return out
}

// side reads one of two: a Region, or several behind a name of their own.
func (c cursor) side(d *Deployment) (s Side) {
	f := c.fields("region", "name", "regions", "target", "health_check")
	if f["health_check"].want("write health_check: and its ID, that says whether this Region is the primary") != "" {
		s.HealthCheck = f["health_check"].form(healthCheckForm, "write the ID alone, as Route 53 has it", "ID of a health check")
	}
	if f["region"].there() {
		for _, other := range []string{"name", "regions", "target"} {
			if f[other].there() {
				f[other].fault("keep one of them", "a Region has its own name and target")
			}
		}
		name := f["region"].member("Regions", d.Names())
		r, ok := d.Region(name)
		if !ok {
			return s
		}
		s.Name, s.Regions = name, []string{name}
		if s.Target = r.Target(); s.Target == "" {
			f["region"].fault("write endpoint: {target: and the name of its engine} in that Region", "%s has no target, and a name at Route 53 leads to one", printable(name))
		}
		return s
	}
	const mend = "write region: and one, or name:, regions: and target: of several that have a name of their own"
	if !f["regions"].there() {
		c.fault(mend, "is of no Region")
		return s
	}
	if f["name"].want(mend) != "" {
		s.Name = f["name"].name("name")
	}
	if f["target"].want(mend) != "" {
		s.Target = f["target"].host()
	}
	for _, r := range f["regions"].items(maxRegions) {
		if name := r.member("Regions", d.Names()); name != "" {
			s.Regions = append(s.Regions, name)
		}
	}
	return s
}

// switches reads the routing controls of ARC.
func (c cursor) switches(d *Deployment, seen unique) Publish {
	f := c.fields("kind", "controls", "endpoints")
	s := &Switches{Controls: map[string]string{}}
	if len(d.Regions) == 1 {
		c.fault("take it away", "there is one Region, and none to turn to")
	}
	if !f["controls"].there() {
		f["controls"].fault("write controls: {"+strings.Join(d.Names(), ": …, ")+": …} with the ARN of each Region's", "is missing")
	}
	of := f["controls"].fields(d.Names()...)
	for _, name := range slices.Sorted(maps.Keys(of)) {
		at := of[name]
		if f["controls"].there() && at.want("write "+printable(name)+": and the ARN of its routing control") == "" {
			continue
		}
		arn := at.form(controlForm, "write it whole: arn:aws:route53-recovery-control::ACCOUNT:controlpanel/ID/routingcontrol/ID", "routing control")
		if arn != "" {
			seen.once(at, "control ", arn, "that routing control", "give each Region its own")
			s.Controls[name] = arn
		}
	}
	items := f["endpoints"].items(clusterEndpoints)
	if len(items) != clusterEndpoints {
		f["endpoints"].fault("write all five, as DescribeCluster tells them: any of them may be down", "%d endpoints", len(items))
	}
	where := unique{}
	for _, item := range items {
		g := item.fields("region", "url")
		var e ClusterEndpoint
		if g["region"].want("write region: and the one that the endpoint is in") != "" {
			e.Region = g["region"].form(awsRegionForm, "write it as AWS does, such as us-east-1", "Region of AWS")
		}
		if g["url"].want("write url: https://….route53-recovery-cluster.us-east-1.amazonaws.com/v1") != "" {
			e.URL = g["url"].web()
		}
		if e.Region != "" {
			where.once(g["region"], "endpoint ", e.Region, fmt.Sprintf("Region %q", e.Region), "the five are in five Regions")
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return Publish{Kind: ARC, Switches: s}
}

// metric reads what CloudWatch is told.
func (c cursor) metric(d *Deployment) *Metric {
	f := c.fields("namespace", "global", "endpoint", "aws_regions")
	m := &Metric{
		Namespace: f["namespace"].form(namespaceForm, "write letters, digits and . - _ / #", "namespace of metrics"),
		Global:    f["global"].form(globalForm, "write letters, digits and . - _ / #", "value of a dimension"),
		Endpoint:  f["endpoint"].web(), AWS: map[string]string{},
	}
	if strings.HasPrefix(m.Namespace, "AWS/") {
		f["namespace"].fault("write another one, such as SessionStore", "%q is AWS's own", printable(m.Namespace))
	}
	of := f["aws_regions"].fields(d.Names()...)
	for _, name := range slices.Sorted(maps.Keys(of)) {
		at := of[name]
		if at.there() {
			m.AWS[name] = at.form(awsRegionForm, "write it as AWS does, such as us-west-1", "Region of AWS")
		} else if !awsRegionForm.MatchString(name) && m.Endpoint == "" {
			c.fault("write aws_regions: {"+printable(name)+": us-west-1}, where its CloudWatch is", "%q is no Region of AWS", printable(name))
		}
	}
	if d.Topology == ActiveActive {
		c.fault("take it away, or write topology: "+ActivePassive, "tells who holds the lease, and in %s nobody does", ActiveActive)
	}
	return m
}

// form is text of a form; empty if there is none.
func (c cursor) form(form *regexp.Regexp, mend, what string) string {
	s := c.text()
	if s == "" || form.MatchString(s) {
		return s
	}
	c.fault(mend, "%q is no %s", printable(s), what)
	return ""
}

// web is where a service of AWS answers; empty if AWS's own does. What goes there is signed
// and not secret; yet what comes back is believed, so beyond this machine it has TLS.
func (c cursor) web() string {
	s := c.text()
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	switch {
	case strings.Contains(s, "@"): // what stands before it may be a password
		c.fault("write https://, a host and a path; credentials are found as AWS's SDK does", "has an @")
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http":
		c.fault("write https://, a host and a path", "%q is no such URL", printable(s))
	case u.Scheme == "http" && !loopback(hostPort(u)):
		c.fault("write https://", "%q is not on this machine, and there is no TLS", printable(s))
	default:
		return s
	}
	return ""
}

func hostPort(u *url.URL) string {
	if u.Port() == "" {
		return u.Host + ":80"
	}
	return u.Host
}

// covers reports Regions for which a pair has no place: while one of them is the writer, its
// name leads elsewhere, unless it is one that another pair leads to.
func (p *parser) covers(c cursor, d *Deployment) {
	inner := map[string]bool{}
	for _, q := range d.Control.DNS.Publish {
		if q.Hosted == nil {
			continue
		}
		for _, side := range q.Hosted.Pair {
			inner[side.Target] = true
		}
	}
	list := c.find("publish")
	for i, q := range d.Control.DNS.Publish {
		if q.Hosted == nil || len(q.Hosted.Pair) != 2 || inner[q.Name] {
			continue
		}
		targets := d.Targets(q)
		for _, r := range d.Regions {
			if _, ok := targets[r.Name]; !ok && q.Name != "" {
				list.item(i).find("pair").fault("put it behind one of the two: {name: rest, regions: […], target: and a name with a pair of its own}",
					"%s is in neither: while it is the writer the name leads elsewhere", printable(r.Name))
			}
		}
	}
}
