package replica

import (
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// Peer is what is known of pushing to one peer.
type Peer struct {
	Region    crdt.Region
	Connected bool
	Offered   engine.Positions // how far the log has been sent, or is about to be
	Acked     engine.Positions // how far the peer's engine holds it
	Unacked   int              // bytes sent and not acknowledged
	// LagEntries counts what the peer is not known to hold of the log; entries of
	// two actors are not compared, so after a new actor's first write it counts
	// that actor's whole log until the first acknowledgement.
	LagEntries uint64
	// LagTime is how long the oldest entry sent has waited for its
	// acknowledgement: the round trip, on a healthy link.
	LagTime   time.Duration
	RTT       time.Duration // of the last heartbeat
	Counts    Counts        // since New
	LastError string        // why the last link ended; empty: none has

	past, link Counts // of links that are gone and of the one there is
}

// Source is what is known of one origin whose log is taken in.
type Source struct {
	Region    crdt.Region
	Connected bool
	At        engine.Positions // how far the engine here holds its log
	// HeardAt is the last moment, by the clock here, by which all that the origin
	// had written is held here. Zero: not since New.
	HeardAt crdt.Time
	// OriginTime is the same by the origin's clock.
	OriginTime crdt.Time
	Counts     Heard // since New
	LastError  string

	past, link Heard
}

// Status is a snapshot for the console and for metrics.
type Status struct {
	Peers   []Peer   // by Region number
	Sources []Source // by Region number
	// Refilling: the engine lost something, and some peer has not given all that it
	// has.
	Refilling bool
}

// Status returns how all links are.
func (r *Replica) Status() Status {
	var st Status
	r.update(func() {
		st.Refilling = r.refilling
		for n := crdt.Region(1); n <= crdt.MaxRegion; n++ {
			p, in := r.out[n], r.in[n]
			if p == nil {
				continue
			}
			peer, src := *p, in.status
			peer.Counts = p.past.plus(p.link)
			src.Counts = src.past.plus(src.link)
			for i, head := range r.ledger.head {
				if held := peer.Acked[i]; held.Actor == head.Actor {
					peer.LagEntries += head.N - min(head.N, held.N)
				} else {
					peer.LagEntries += head.N
				}
			}
			st.Peers, st.Sources = append(st.Peers, peer), append(st.Sources, src)
		}
	})
	return st
}

// Heard returns how old what has been heard of a Region's writes is: all that it
// had written that long ago is held by the engine here. It goes by the clock here
// alone. ok is false if nothing has been heard since New, or if it is no peer.
func (r *Replica) Heard(origin crdt.Region) (age time.Duration, ok bool) {
	var at crdt.Time
	if in := r.in[origin]; in != nil { // the map does not change after New
		r.update(func() { at = in.status.HeardAt })
	}
	if at == 0 {
		return 0, false
	}
	return max(0, r.now().Sub(at)), true
}

// Stable returns, for each actor of the Region here, a stamp up to which the
// engines of all peers hold every write of that actor, as Ledger.Stable says.
func (r *Replica) Stable() (v crdt.Vector) {
	r.update(func() { v = r.ledger.Stable() })
	return v
}

// Holders returns the peers known to hold an entry of the log here.
func (r *Replica) Holders(partition uint16, at engine.Position) (held []crdt.Region) {
	r.update(func() { held = r.ledger.Holders(partition, at) })
	return held
}

func (c Counts) plus(d Counts) Counts {
	return Counts{
		Entries: c.Entries + d.Entries, Redeliveries: c.Redeliveries + d.Redeliveries,
		Holes: c.Holes + d.Holes, Resyncs: c.Resyncs + d.Resyncs, States: c.States + d.States,
		Pulls: c.Pulls + d.Pulls, Compared: c.Compared + d.Compared,
		Diverged: c.Diverged + d.Diverged, Repaired: c.Repaired + d.Repaired,
	}
}

func (h Heard) plus(d Heard) Heard {
	return Heard{
		Batches: h.Batches + d.Batches,
		Entries: h.Entries + d.Entries, Pulls: h.Pulls + d.Pulls, Holes: h.Holes + d.Holes,
		Successions: h.Successions + d.Successions,
		Compared:    h.Compared + d.Compared, Differed: h.Differed + d.Differed,
	}
}
