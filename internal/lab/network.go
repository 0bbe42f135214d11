package lab

import (
	"context"
	"net"

	"github.com/roam-sessions/roam/internal/fault"
)

// A network is that of the Regions. What members of the control plane say to each other
// has connections of its own, which fare as calls do: late, lost, cut and dead with them.
type network struct {
	*fault.Net
	members *fault.Net
}

func newNetwork(seed uint64) *network {
	return &network{Net: fault.NewNet(seed), members: fault.NewNet(seed)}
}

// SetLink makes one direction behave as l says.
func (n *network) SetLink(from, to string, p fault.Plane, l fault.Link) {
	n.Net.SetLink(from, to, p, l)
	if p == fault.Calls {
		n.members.SetLink(from, to, fault.Replication, l) // a Net's streams
	}
}

// Kill ends a Region's processes, which others notice.
func (n *network) Kill(region string) {
	n.Net.Kill(region)
	n.members.Kill(region)
}

// Freeze makes a Region fall silent.
func (n *network) Freeze(region string) {
	n.Net.Freeze(region)
	n.members.Freeze(region)
}

// Revive undoes both.
func (n *network) Revive(region string) {
	n.Net.Revive(region)
	n.members.Revive(region)
}

// dialMember returns how the member of a Region reaches others: host is a Region.
func (n *network) dialMember(region string) func(ctx context.Context, _, addr string) (net.Conn, error) {
	return func(ctx context.Context, _, addr string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		return n.members.Dial(ctx, region, host, port)
	}
}
