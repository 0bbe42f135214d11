package fault

import (
	"cmp"
	"slices"
	"time"
)

// A Snapshot is a Net at one moment, as plain data for the console.
type Snapshot struct {
	Hosts []Host    // sorted by name
	Links []Traffic // sorted by From, To and Plane
}

// A Host is how a host was.
type Host struct {
	Name   string
	Killed bool
	Frozen bool
}

// A Traffic is a link and what has passed over it since the Net was made.
type Traffic struct {
	From, To string
	Plane    Plane
	Link     Link
	// Bytes were sent in streams. Calls are not counted: they are never encoded.
	Bytes uint64
	// Messages were sent: requests and answers, pieces of streams, handshakes.
	Messages uint64
	// Lost were lost at random, or swallowed by a cut. Those of streams were
	// sent again; what a cut holds back of a stream is not lost.
	Lost uint64
	// InFlight were sent and have neither arrived nor been lost.
	InFlight int
}

// Snapshot returns hosts and links as they are, with their counters.
func (n *Net) Snapshot() Snapshot {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	s := Snapshot{Hosts: make([]Host, 0, len(n.hosts)), Links: make([]Traffic, 0, len(n.order))}
	for _, h := range n.hosts {
		s.Hosts = append(s.Hosts, Host{Name: h.name, Killed: h.state == killed, Frozen: h.state == frozen})
	}
	for _, l := range n.order {
		s.Links = append(s.Links, l.traffic(now))
	}
	slices.SortFunc(s.Hosts, func(a, b Host) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Links, func(a, b Traffic) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Plane, b.Plane))
	})
	return s
}

func (l *line) traffic(now time.Time) Traffic {
	t := Traffic{
		From: l.from.name, To: l.to.name, Plane: l.plane, Link: l.link,
		Bytes: l.bytes, Messages: l.messages, Lost: l.lost, InFlight: l.flying,
	}
	for _, p := range l.pipes {
		t.InFlight += p.underWay(now)
	}
	return t
}
