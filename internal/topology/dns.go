package topology

import (
	"net/netip"
	"slices"
	"time"
)

// DNS says which names nodes answer for. The zone that it describes is one that package
// dns takes, whoever the writer is and however the Regions are.
type DNS struct {
	Zone        string // absolute, in lower case, without its last dot, as all names here
	Nameservers []Nameserver
	Failovers   []Failover
	Names       []Name
	Secondaries []Secondary
	Publish     []Publish
	Rate        int // requests a second of one network; zero: package dns's default
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

// A Publish keeps a name at somebody else's server equal to the writer.
type Publish struct {
	Server string // host:port of the zone's primary server
	Zone   string
	Name   string        // absolute, below Zone
	Key    *Key          // nil: the server trusts our address
	TTL    time.Duration // zero: package dns's default
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
