package scope

import (
	"fmt"
	"slices"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
)

type deliverKey struct {
	to  coreID
	log logID
}

// A delivery is all that runs of a log can make of a core.
type delivery struct {
	// next are the states it may be in afterwards, none twice, itself left out;
	// by[i] is the run that leads to next[i].
	next []coreID
	by   []engine.Batch
	// gaps has a bit for each record that some run lacks an earlier write of.
	gaps uint8
	hole bool // some run began beyond what had come before
}

// deliver returns what the core to may be after any one run of the log of from.
func (s *space) deliver(to, from coreID) delivery {
	key := deliverKey{to, s.states[from].log}
	if d, ok := s.delivered[key]; ok {
		return d
	}
	var d delivery
	for _, b := range s.logs[key.log] {
		c := s.states[to].core.Clone()
		got := s.ingest(c, b)
		s.checkTaken(s.states[to].core, c, b)
		for i, k := range s.keys {
			for _, gap := range got.Gaps {
				if gap == k {
					d.gaps |= 1 << i
				}
			}
		}
		d.hole = d.hole || got.Hole
		if after := s.after(to, c); after != to && !slices.Contains(d.next, after) {
			d.next, d.by = append(d.next, after), append(d.by, b)
		}
	}
	s.delivered[key] = d
	return d
}

// ingest takes in a batch that a log wrote, which no core may refuse.
func (s *space) ingest(c *memory.Core, b engine.Batch) engine.Ingested {
	got, err := c.Ingest(epoch, b.Actor.Region(), b)
	if err != nil && s.wrong == "" {
		s.wrong = fmt.Sprintf("a batch that a log wrote was refused: %v", err)
	}
	return got
}

type joinKey struct {
	to     coreID
	record recordID
}

// pull joins what from has of record i into to.
func (s *space) pull(to, from coreID, i int) coreID {
	key := joinKey{to, s.states[from].ids[i]}
	after, ok := s.joined[key]
	if !ok {
		c := s.states[to].core.Clone()
		c.Join(epoch, s.recs[key.record])
		after = s.after(to, c)
		s.joined[key] = after
	}
	return after
}

// resync gives to the state of from's whole partition and lets it go on at the end
// of from's log.
func (s *space) resync(to, from coreID) coreID {
	for i := range records {
		to = s.pull(to, from, i)
	}
	log := s.logs[s.states[from].log]
	if len(log) == 0 {
		return to
	}
	b := log[len(log)-1] // the newest entry, for its actor and fork
	c := s.states[to].core.Clone()
	s.ingest(c, engine.Batch{
		Partition: b.Partition, Actor: b.Actor, Fork: b.Fork, First: b.Last().N + 1, Rebase: true,
	})
	return s.after(to, c)
}

// promote returns the state of a copy that takes over.
func (s *space) promote(id coreID) coreID {
	after, ok := s.promoted[id]
	if !ok {
		c := s.states[id].core.Clone()
		c.Promote(crdt.NewActor(c.Actor().Region(), second))
		after = s.intern(c)
		s.promoted[id] = after
	}
	return after
}

// forget returns the state of a core whose clock ran ahead, so that it dropped
// what it took for idle: gaps are where it hears of that again. Tombstones and
// revocations stay. Sessions that the core wrote to stay too: an origin that drops
// its own chain is a known edge of docs/invariants.md, and no small one.
func (s *space) forget(id coreID) coreID {
	after, ok := s.forgotten[id]
	if !ok && s.wrote(id) {
		s.forgotten[id] = id
		return id
	}
	if !ok {
		c := s.states[id].core.Clone()
		c.Sweep(epoch.Add(fast), s.partition(), wholeLog)
		after = s.intern(c)
		s.forgotten[id] = after
	}
	return after
}

// wrote reports whether the core id logged a write to a session.
func (s *space) wrote(id coreID) bool {
	for _, b := range s.logs[s.states[id].log] {
		for _, f := range b.Frags {
			if f.Effect.Key.Kind() == crdt.KindSession {
				return true
			}
		}
	}
	return false
}

// A calmKey is two cores as they are when nothing more is done.
type calmKey [regions]coreID

// calm is what becomes of two cores whose links are mended.
type calm struct {
	// pushed is what they are after each took in the other's log.
	pushed [regions]coreID
	// alike is what they are after they exchanged all records, too.
	alike [regions]coreID
}

// settle lets two cores take in each other's log as production does, pulling
// where there is a gap, and then exchange all records.
func (s *space) settle(cores calmKey) calm {
	if c, ok := s.calm[cores]; ok {
		return c
	}
	var out calm
	for r, to := range cores {
		out.pushed[r] = s.catchUp(to, cores[1-r])
	}
	for r := range cores {
		out.alike[r] = out.pushed[r]
		for i := range records {
			out.alike[r] = s.pull(out.alike[r], out.pushed[1-r], i)
		}
	}
	s.calm[cores] = out
	return out
}

// catchUp takes in all that to lacks of from's log.
func (s *space) catchUp(to, from coreID) coreID {
	source := s.states[from].core
	c := s.states[to].core.Clone()
	region := source.Actor().Region()
	for range 4 * wholeLog {
		b, _ := source.Log(s.partition(), c.Position(region, s.partition()), wholeLog, 1<<30)
		if len(b.Frags) == 0 {
			return s.after(to, c)
		}
		for _, k := range s.ingest(c, b).Gaps {
			c.Join(epoch, source.Read(epoch, k))
		}
	}
	s.fail("the log of Region %d is never all taken in", region)
	return to
}
