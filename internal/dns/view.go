package dns

import (
	"net/netip"
	"time"
)

// A View is what is known of a deployment, as far as names go. It is plain data.
//
// Names in it are relative to the zone's origin, "@" is the origin itself. Targets are
// absolute, whether they end with a dot or not.
type View struct {
	// Epoch is that of the lease. It grows with each writer.
	Epoch uint64
	// Writer is the name of the Region that takes writes. Empty: it is known that none
	// does. Who has merely lost sight of the writer gives the last one that was known.
	Writer string
	// Regions each have a name that leads to them, healthy or not.
	Regions []Region
	// Failovers are names that lead to the one or the other of two places.
	Failovers []Failover
	// Names are whatever else there is.
	Names []Name
	// Nameservers answer for the zone: this one and others. There is at least one.
	Nameservers []Nameserver
}

// An Endpoint is where a name leads to: addresses, or another name.
type Endpoint struct {
	Addrs  []netip.Addr
	Target string
}

// A Region is one Region's name.
type Region struct {
	Name string
	Endpoint
	// Port is that of its engine. Zero: it has no service record as the writer.
	Port uint16
	// Health is for the failovers that name the Region. Its own name leads to it in any
	// case.
	Health Health
}

// Health is what a check last said.
type Health uint8

// What a check may have said. What nobody checks counts as healthy.
const (
	Unchecked Health = iota
	Healthy
	Unhealthy
)

// A Failover is a name that leads to its primary leg unless that is unhealthy and the
// secondary is not: where both are unhealthy, to the primary. So the failover records of
// Route 53 do.
type Failover struct {
	Name               string
	Primary, Secondary Leg
	TTL                time.Duration // zero: ZoneConfig.FailoverTTL
}

// A Leg is one of the places a Failover leads to: a Region, with its endpoint and health, or
// else an endpoint and health of its own.
type Leg struct {
	Region string
	Endpoint
	Health Health
}

// leg returns the one that the name leads to.
func (f Failover) leg(primary, secondary Health) Leg {
	if primary == Unhealthy && secondary != Unhealthy {
		return f.Secondary
	}
	return f.Primary
}

// A Name is a name of any kind: with addresses, services or both, or with another name that
// it stands for.
type Name struct {
	Name string
	Endpoint
	Services []Service
	TTL      time.Duration // zero: ZoneConfig.TTL
}

// A Service is what an SRV record says, by RFC 2782.
type Service struct {
	Priority, Weight, Port uint16
	Target                 string
}

// A Nameserver is a server that answers for the zone. If its name is in the zone it has
// addresses, and the zone has them too; else it has none.
type Nameserver struct {
	// Name is absolute, unlike other names.
	Name  string
	Addrs []netip.Addr
}
