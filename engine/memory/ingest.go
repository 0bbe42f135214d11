package memory

import (
	"slices"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// A cursor is how far the log of a Region has been taken in.
type cursor struct {
	engine.Position
	// fork is where its actor's entries begin. One whose fork is before it is a
	// predecessor: a late batch of such a one must not take the cursor back. Zero
	// where it was not heard.
	fork uint64
}

// Position returns how far the log of from has been taken in.
func (c *Core) Position(from crdt.Region, partition uint16) engine.Position {
	if p := c.parts[partition]; p != nil {
		return p.cursors[from].Position
	}
	return engine.Position{}
}

// Ingest merges b and moves the cursor, as engine.Sink has it. It fails with
// crdt.ErrMalformed for a batch that no log of from can have emitted, and has
// done nothing then.
func (c *Core) Ingest(now crdt.Time, from crdt.Region, b engine.Batch) (engine.Ingested, error) {
	if err := b.Check(from); err != nil {
		return engine.Ingested{}, err
	}
	return c.ingest(now, from, b), nil
}

// ingest takes in a batch that Check let pass.
func (c *Core) ingest(now crdt.Time, from crdt.Region, b engine.Batch) engine.Ingested {
	p := c.at(b.Partition)
	at := p.cursors[from]
	switch {
	case b.Rebase && at.Actor == b.Actor && at.N >= b.First:
		// It came twice. What was acknowledged stays so.
	case b.Rebase:
		at = cursor{Position: engine.Position{Actor: b.Actor, N: b.First - 1}}
	case at.Actor != b.Actor && at.fork <= b.Fork && b.Fork <= at.N:
		// A successor took over. What we have beyond its fork it never had;
		// its own entries carry those numbers.
		at = cursor{engine.Position{Actor: b.Actor, N: b.Fork}, b.Fork}
	}
	if at.Actor != b.Actor || b.First > at.N+1 {
		c.mergeEndings(now, p, b.Frags)
		// A late batch of a predecessor ends here too: the cursor stays put.
		return engine.Ingested{Position: p.cursors[from].Position, Hole: true}
	}
	var gaps []crdt.Key
	if b.Last().N > at.N {
		if gaps = c.merge(now, p, b.Frags[at.N+1-b.First:]); len(gaps) == 0 {
			at.Position = b.Last()
		}
	}
	p.cursors[from] = at
	return engine.Ingested{Position: at.Position, Gaps: gaps}
}

// merge takes in fragments and returns the keys of those that it could not.
func (c *Core) merge(now crdt.Time, p *partition, frags []crdt.Fragment) (gaps []crdt.Key) {
	for _, f := range frags {
		k := f.Effect.Key
		if overAge(k, now) {
			continue
		}
		// A copy past its time counts until it is swept: the log of a long cut
		// then merges one entry onto the other, where each would else be a gap.
		r := crdt.Record{Key: k}
		if s := p.slots[k]; s != nil {
			r = s.rec
		}
		switch out, outcome := crdt.Merge(r, f); outcome {
		case crdt.Applied:
			c.put(p, out.Prune(now))
		case crdt.Gap, crdt.Fork:
			if _, ends := f.Ending(); ends {
				c.put(p, out.Prune(now))
			}
			if !slices.Contains(gaps, k) {
				gaps = append(gaps, k)
			}
		case crdt.Duplicate:
		}
	}
	return gaps
}

// mergeEndings takes in what needs nothing before it.
func (c *Core) mergeEndings(now crdt.Time, p *partition, frags []crdt.Fragment) {
	for _, f := range frags {
		end, ends := f.Ending()
		if !ends || overAge(end.Key, now) {
			continue
		}
		if s := p.slots[end.Key]; s != nil {
			end = crdt.Join(s.rec, end)
		}
		c.put(p, end.Prune(now))
	}
}

// overAge reports whether even a tombstone of k is past its time, so that
// nothing about it is worth keeping. A key of nothing always is.
func overAge(k crdt.Key, now crdt.Time) bool {
	if k.Kind() != crdt.KindSession {
		return k.IsZero()
	}
	return keepUntil(crdt.Record{Key: k, Dead: true}) <= now
}
