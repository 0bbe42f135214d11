package topology

import (
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// The two topologies, as they are called in the file.
const (
	ActiveActive  = "active-active"
	ActivePassive = "active-passive"
)

// regionMark stands in paths for the name of a Region or witness.
const regionMark = "{region}"

// A Deployment is what one file says of all Regions. It is plain data, and equal
// in every Region.
type Deployment struct {
	Name     string // what its members' log is called, and its events are from
	Topology string
	// Primary is the name of the Region that takes all writes; empty where all do.
	Primary  string
	Regions  []Region // in the order of the file
	Links    Links
	Policies Policies
	Control  *Control // nil: who the primary is stands in the file, and nobody watches
	// Text is the file that says so.
	Text string
}

// A Region is one Region of a Deployment.
type Region struct {
	Name   string
	ID     crdt.Region
	Engine Engine
	Side   *Engine // nil: there is none
	Node   Node
	// Replicate is host:port where the servers of other Regions reach this one's; empty
	// with an engine in memory.
	Replicate string
	Endpoint  *Endpoint // nil: no name leads to it
	Group     *Group    // nil: nobody manages its servers
	// Networks are those that its servers and its node are in; no other Region has a part
	// of one. Empty: nobody says.
	Networks []netip.Prefix
}

// A Node is one process of ours in a Region.
type Node struct {
	Links     string // host:port where it listens for peers
	Advertise string // host:port where peers reach it
	HTTP      string // host:port of health and metrics

	// With Control only:

	Control          string // host:port where it listens for members
	ControlAdvertise string // host:port where members reach it
	API              string // host:port of the admin API
	APIAdvertise     string // host:port where others reach that
	DNS              string // host:port where it answers for names; empty: it does not
}

// Links says how nodes prove to each other who they are.
type Links struct {
	TLS *TLS // nil: not at all, on loopback only
}

// TLS names files. Each path may hold {region}.
type TLS struct{ CA, Cert, Key string }

// Policies are the numbers that all Regions share. Zero means the default of the
// room that goes by it.
type Policies struct {
	Replication    Replication
	ReadAfterWrite string // token, primary, retry, accept; empty: token
	Timeouts       Timeouts
}

// Replication bounds each link, as replica.Config and replica.Limits say.
type Replication struct {
	Heartbeat, Silence time.Duration
	Window             int
	Redeliver          time.Duration
	Sweep              time.Duration
	ScanRate           int // records a second
}

// Timeouts are those of router.Config.
type Timeouts struct {
	Local, Remote           time.Duration
	ReadBudget, WriteBudget time.Duration
	MaxWait, StrictBound    time.Duration
	Backoff                 []time.Duration
}

// Region returns the Region of a name.
func (d Deployment) Region(name string) (Region, bool) {
	for _, r := range d.Regions {
		if r.Name == name {
			return r, true
		}
	}
	return Region{}, false
}

// Names returns the names of all Regions, in the order of the file.
func (d Deployment) Names() []string {
	var out []string
	for _, r := range d.Regions {
		out = append(out, r.Name)
	}
	return out
}

// Pushes reports whether nodes push logs to each other. The servers of an
// active-passive deployment on Valkey replicate by themselves, and so does what all
// Regions have one of.
func (d Deployment) Pushes() bool {
	return len(d.Regions) > 1 && !d.OneStore() && (d.Topology == ActiveActive || d.Regions[0].Engine.Memory != nil)
}

// TakesWrites reports whether the Region of a name does.
func (d Deployment) TakesWrites(name string) bool { return d.Primary == "" || d.Primary == name }

// For returns the paths as they are in the Region of a name.
func (t TLS) For(name string) TLS {
	in := func(path string) string { return strings.ReplaceAll(path, regionMark, name) }
	return TLS{CA: in(t.CA), Cert: in(t.Cert), Key: in(t.Key)}
}

// Under returns d with the paths that are relative seen from a folder: that of
// the file. The Regions of d are not changed.
func (d Deployment) Under(dir string) Deployment {
	at := func(path *string) {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
	}
	regions := make([]Region, 0, len(d.Regions))
	for _, r := range d.Regions {
		r.Engine = r.Engine.under(at)
		if r.Side != nil {
			side := r.Side.under(at)
			r.Side = &side
		}
		regions = append(regions, r)
	}
	d.Regions = regions
	if d.Links.TLS != nil {
		t := *d.Links.TLS
		at(&t.CA)
		at(&t.Cert)
		at(&t.Key)
		d.Links.TLS = &t
	}
	if d.Control != nil {
		d.Control = d.Control.under(at)
	}
	return d
}
