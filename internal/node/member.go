package node

import "github.com/roam-sessions/roam/internal/control"

// Member returns this node's member of the control plane; nil if there is none, or not
// yet, and why, if it can't take part.
func (n *Node) Member() (*control.Member, error) { return n.seat.seated() }
