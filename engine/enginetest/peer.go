package enginetest

import (
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// A peer is another Region as a sink hears of it: records and logs made by
// package crdt alone.
type peer struct {
	w       *world
	actor   crdt.Actor
	skew    time.Duration // of its clock
	records map[crdt.Key]crdt.Record
	logs    map[uint16][]crdt.Fragment // what the actor wrote
	fork    uint64                     // number of the last entry before those
}

func (w *world) peer(r crdt.Region) *peer {
	return &peer{
		w: w, actor: crdt.NewActor(r, w.rng.Uint32()),
		records: map[crdt.Key]crdt.Record{}, logs: map[uint16][]crdt.Fragment{},
	}
}

// successor returns the peer's next primary, which has only the first n entries
// of one partition's log.
func (p *peer) successor(part uint16, n int) *peer {
	s := p.w.peer(p.actor.Region())
	for _, f := range p.logs[part][:n] {
		k := f.Effect.Key
		s.records[k], _ = crdt.Merge(s.at(k), f)
	}
	s.fork = p.fork + uint64(n) //nolint:gosec // a length
	return s
}

func (p *peer) at(k crdt.Key) crdt.Record {
	if r, ok := p.records[k]; ok {
		return r
	}
	return crdt.Record{Key: k}
}

func (p *peer) apply(k crdt.Key, op crdt.Op) {
	p.w.Helper()
	r, f, err := crdt.Apply(p.at(k), op, crdt.Origin{Actor: p.actor, Now: p.w.now().Add(p.skew)})
	if err != nil || f.Dot.IsZero() {
		p.w.Fatalf("crdt.Apply(%+v, %+v) = %+v, %v, want a fragment", p.at(k), op, f, err)
	}
	p.records[k] = r
	p.logs[k.Partition()] = append(p.logs[k.Partition()], f)
}

// batch returns the entries of the actor from the first to the last, counted
// from 1 where it began; last 0 means all.
func (p *peer) batch(part uint16, first, last int) engine.Batch {
	log := p.logs[part]
	if last == 0 {
		last = len(log)
	}
	return engine.Batch{
		Partition: part, Actor: p.actor, Fork: p.fork,
		First: p.fork + uint64(first), //nolint:gosec // small
		Frags: log[first-1 : last],
	}
}

// position returns where the actor's n-th entry is.
func (p *peer) position(n int) engine.Position {
	return engine.Position{Actor: p.actor, N: p.fork + uint64(n)} //nolint:gosec // small
}
