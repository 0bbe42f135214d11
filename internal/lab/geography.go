package lab

import (
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// Regions of the demo, the nearest to its user first.
const (
	west1  = "us-west-1"
	west2  = "us-west-2"
	europe = "eu-west-1"
)

// A place is a Region of the demo and its number.
type place struct {
	name string
	id   crdt.Region
}

func places() []place { return []place{{west1, 1}, {west2, 2}, {europe, 3}} }

// distance returns how long a message takes between two Regions, one way. The
// two in the west are 22 ms of round trip apart, as public measurements have it;
// to Europe light alone takes 80 ms there and back, and fibre is no straight line.
func distance(a, b string) time.Duration {
	switch {
	case a == b:
		return 0
	case a != europe && b != europe:
		return 11 * time.Millisecond
	case a == west1 || b == west1:
		return 68 * time.Millisecond
	}
	return 62 * time.Millisecond
}
