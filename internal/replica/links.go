package replica

import (
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// applyTime is what a write takes to get here beyond the time on the wire:
// gathering, merging and a busy moment at either end.
const applyTime = 5 * time.Millisecond

// Lag returns how late writes of a Region usually get here: half the round trip
// of its link and a few milliseconds. Zero: not measured yet.
func (r *Replica) Lag(origin crdt.Region) time.Duration {
	var rtt time.Duration
	if p := r.out[origin]; p != nil { // the map does not change after New
		r.update(func() { rtt = p.RTT })
	}
	if rtt == 0 {
		return 0
	}
	return rtt/2 + applyTime
}

// Everywhere reports whether the engines of all peers hold a write of the Region
// here. Of other Regions' writes only they know.
func (r *Replica) Everywhere(d crdt.Dot) bool {
	return d.Actor.Region() == r.here && r.Stable().Has(d)
}
