package replica

import (
	"slices"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// stableMargin is how far the clock that stamps writes may be behind the one
// that reads heads: an engine on another host, kept in time by NTP.
const stableMargin = 2 * time.Second

// A Ledger knows what every peer holds of the log here. It is pure and for one
// goroutine.
type Ledger struct {
	peers []*ledgerPeer
	head  engine.Positions // the last one read
	// wait is a head that not all peers hold yet; everything written by waitAt is
	// in it.
	wait   engine.Positions
	waitAt crdt.Time
	stable crdt.Vector
}

type ledgerPeer struct {
	region crdt.Region
	known  bool // has said once how far it is
	acked  engine.Positions
}

// NewLedger returns a Ledger for all peers that are configured: one that was
// never connected holds the log back as any other.
func NewLedger(peers []crdt.Region) *Ledger {
	l := &Ledger{}
	for _, r := range peers {
		l.peers = append(l.peers, &ledgerPeer{region: r})
	}
	return l
}

// Acked takes in how far a peer holds the log.
func (l *Ledger) Acked(peer crdt.Region, at engine.Positions) {
	for _, p := range l.peers {
		if p.region == peer {
			p.known, p.acked = true, at
		}
	}
	l.settle()
}

// Head takes in the head of the log, read at or after at.
func (l *Ledger) Head(at crdt.Time, head engine.Positions) {
	l.head = head
	if l.waitAt == 0 {
		l.wait, l.waitAt = head, at
	}
	l.settle()
}

// settle moves the stable vector if all peers hold the head that is waited for.
func (l *Ledger) settle() {
	if l.waitAt == 0 {
		return
	}
	for _, p := range l.peers {
		if !p.known || !coversAll(&p.acked, &l.wait) {
			return
		}
	}
	upto := l.waitAt.Add(-stableMargin).Stamp()
	if upto > 0 {
		upto-- // stamps of that very millisecond may still be minted
	}
	for _, h := range l.wait {
		if h.Actor != 0 && upto > 0 {
			l.stable = l.stable.With(crdt.Dot{Actor: h.Actor, Stamp: upto})
		}
	}
	l.waitAt = 0
}

// Release returns how far every peer holds the log. A partition in which a peer
// is at another actor's entries than the head is left out, as zero: which of two
// actors' numbers comes first is known to the log only. Its log waits until the
// present actor's first entry is acknowledged.
func (l *Ledger) Release() engine.Positions {
	if len(l.peers) == 0 {
		return engine.Positions{}
	}
	out := l.head
	for _, p := range l.peers {
		for i, at := range p.acked {
			if at.Actor != l.head[i].Actor {
				out[i] = engine.Position{}
			} else if at.N < out[i].N {
				out[i] = at
			}
		}
	}
	return out
}

// Stable returns, for each of the Region's own actors, a stamp up to which every
// write of that actor is held by the engines of all peers, so that a token need
// not carry them. It is right as long as the clock that stamps the writes is no
// more than 2 s behind the one that reads the heads and does not step back.
func (l *Ledger) Stable() crdt.Vector { return slices.Clone(l.stable) }

// Holders returns the peers known to hold the entry at of a partition.
func (l *Ledger) Holders(partition uint16, at engine.Position) []crdt.Region {
	var out []crdt.Region
	for _, p := range l.peers {
		if p.known && covers(p.acked[partition], at) {
			out = append(out, p.region)
		}
	}
	return out
}
