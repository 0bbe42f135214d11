package topology

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// DNS says which names nodes answer for, and what else says where the writer is. The zone
// that it describes is one that package dns takes, whoever the writer is and however the
// Regions are.
type DNS struct {
	// Zone is absolute, in lower case, without its last dot, as all names here. Empty: nodes
	// answer for none, and all that is kept is AWS's.
	Zone        string
	Nameservers []Nameserver
	Failovers   []Failover
	Names       []Name
	Secondaries []Secondary
	Publish     []Publish
	Metric      *Metric // nil: nobody tells CloudWatch which Region is the primary
	Rate        int     // requests a second of one network; zero: package dns's default
}

// A Place is where a name leads to: addresses, or another name.
type Place struct {
	Addrs  []netip.Addr
	Target string // absolute
}

// An Endpoint is where users of a Region are led to.
type Endpoint struct {
	Place
	Port uint16 // zero: it has none to be told of
}

// A Nameserver answers for the zone.
type Nameserver struct {
	Name  string       // absolute
	Addrs []netip.Addr // if it is in the zone, and else none
}

// A Failover is a name that leads to its primary, or else to its secondary.
type Failover struct {
	Name               string // relative to the zone; @: the zone itself
	Primary, Secondary Leg
	TTL                time.Duration // zero: package dns's default
}

// A Leg is a Region, or else a place that nobody checks.
type Leg struct {
	Region string
	Place
}

// A Name is whatever else is in the zone.
type Name struct {
	Name string // relative to the zone; @: the zone itself
	Place
	Services []Service
	TTL      time.Duration // zero: package dns's default
}

// A Service is what an SRV record says.
type Service struct {
	Priority, Weight, Port uint16
	Target                 string // absolute
}

// A Key signs messages between servers.
type Key struct {
	Name      string // absolute
	Algorithm string // hmac-sha256, hmac-sha384 or hmac-sha512
	Secret    Source // at least 16 bytes, in base64
}

// A Secondary keeps a copy of the zone.
type Secondary struct {
	Addr netip.AddrPort
	Key  *Key // nil: its address is all that it proves
}

// The kinds of what says outside of Roam where the writer is.
const (
	RFC2136 = "rfc2136" // a name at a server that takes updates
	Route53 = "route53" // a name in a zone of Route 53
	ARC     = "arc"     // routing controls of Application Recovery Controller
)

// A Publish is one thing outside of Roam that is kept equal to the writer.
type Publish struct {
	Kind string        // RFC2136, Route53 or ARC
	Name string        // absolute; of routing controls empty
	TTL  time.Duration // zero: the default of who keeps it

	// Of RFC2136:
	Server string // host:port of the zone's primary server
	Zone   string // of which Name is below
	Key    *Key   // nil: the server trusts our address

	Hosted   *Hosted   // of Route53
	Switches *Switches // of ARC
}

// Label is what a Publish is called where people read of it: kind and name.
func (p Publish) Label() string {
	switch p.Kind {
	case Route53:
		return p.Name + " at Route 53"
	case ARC:
		return "routing controls"
	}
	return p.Name + " at " + p.Server
}

// A Hosted is where a name at Route 53 is, and what it is.
type Hosted struct {
	ZoneID   string
	Region   string // for which requests are signed; empty: us-east-1, where its control plane is
	Endpoint string // empty: AWS's
	// Pair are the two that failover records lead to. Nil: the name is a simple record.
	Pair []Side
}

// A Side is one of two failover records.
type Side struct {
	Name        string   // tells it from the other one
	Regions     []string // while one of them is the writer, this record is to be the answer
	Target      string   // absolute
	HealthCheck string   // its ID
}

// Targets returns where a name of Route 53 is to lead while each Region is the writer. One
// that is missing leaves the name as it is.
func (d Deployment) Targets(p Publish) map[string]string {
	out := map[string]string{}
	if p.Hosted == nil {
		return out
	}
	for _, side := range p.Hosted.Pair {
		for _, r := range side.Regions {
			out[r] = side.Target
		}
	}
	for _, r := range d.Regions {
		if p.Hosted.Pair == nil {
			out[r.Name] = r.Target()
		}
	}
	return out
}

// Target returns where a name at Route 53 leads to while a Region is the writer: to the target
// of its endpoint or, where it has no endpoint, to the host of its engine. Empty: that has no
// name.
func (r Region) Target() string {
	switch {
	case r.Endpoint != nil:
		return r.Endpoint.Target
	case r.Engine.Valkey == nil || len(r.Engine.Valkey.Addrs) == 0:
		return ""
	}
	host := strings.ToLower(strings.TrimSuffix(Host(r.Engine.Valkey.Addrs[0]), "."))
	if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(host, ".") || checkDomain(host) != nil {
		return ""
	}
	return host
}

// Switches are the routing controls of all Regions, and who knows of them.
type Switches struct {
	Controls  map[string]string // ARNs, by Region
	Endpoints []ClusterEndpoint // five
}

// A ClusterEndpoint is one of ARC's cluster.
type ClusterEndpoint struct{ Region, URL string }

// A Metric is what each Region's node tells CloudWatch: whether its Region is the primary.
type Metric struct {
	Namespace string            // empty: SessionStore
	Global    string            // the dimension that tells deployments apart; empty: the deployment's name
	Endpoint  string            // empty: AWS's
	AWS       map[string]string // Regions of AWS, by Region, where that is another name
}

// AWSRegion returns where CloudWatch is told of a Region.
func (m Metric) AWSRegion(region string) string {
	if name, ok := m.AWS[region]; ok {
		return name
	}
	return region
}

// under returns d with each of its paths changed.
func (d DNS) under(at func(path *string)) *DNS {
	key := func(k *Key) *Key {
		if k == nil {
			return nil
		}
		changed := *k
		at(&changed.Secret.File)
		return &changed
	}
	d.Secondaries, d.Publish = slices.Clone(d.Secondaries), slices.Clone(d.Publish)
	for i := range d.Secondaries {
		d.Secondaries[i].Key = key(d.Secondaries[i].Key)
	}
	for i := range d.Publish {
		d.Publish[i].Key = key(d.Publish[i].Key)
	}
	return &d
}
