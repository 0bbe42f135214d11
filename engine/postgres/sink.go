package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/trail"
)

// Ingest merges b and moves the cursor, in a transaction for each batchEntries. It
// fails with crdt.ErrMalformed for a batch that no log of from can have emitted, and
// has done nothing then.
func (e *Engine) Ingest(ctx context.Context, from crdt.Region, b engine.Batch) (engine.Ingested, error) {
	err := e.open(ctx)
	if err == nil {
		err = b.Check(from)
	}
	var out engine.Ingested
	if err == nil {
		out, err = trail.Ingest(b, batchEntries, func(piece engine.Batch) (engine.Ingested, error) { return e.ingest(ctx, from, piece) })
	}
	if err != nil {
		return engine.Ingested{}, fmt.Errorf("ingest from region %d: %w", from, err)
	}
	return out, nil
}

// ingest merges a batch of at most batchEntries.
func (e *Engine) ingest(ctx context.Context, from crdt.Region, b engine.Batch) (got engine.Ingested, err error) {
	err = e.do(ctx, task{
		partition: b.Partition, keys: keysOf(b.Frags), from: from,
		decide: func(j *job) error {
			got = j.ingest(b)
			return nil
		},
	})
	return got, err
}

// keysOf returns the keys of records that fragments are about, each once.
func keysOf(frags []crdt.Fragment) []crdt.Key {
	var out []crdt.Key
	seen := map[crdt.Key]bool{}
	for _, f := range frags {
		if k := f.Effect.Key; !k.IsZero() && !seen[k] {
			seen[k] = true
			out = append(out, k)
		}
	}
	return out
}

// ingest takes in a batch that Check let pass, as package memory does.
func (j *job) ingest(b engine.Batch) engine.Ingested {
	at := j.cursor
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
		j.mergeEndings(b.Frags)
		// A late batch of a predecessor ends here too: the cursor stays put.
		return engine.Ingested{Position: j.cursor.Position, Hole: true}
	}
	var gaps []crdt.Key
	if b.Last().N > at.N {
		if gaps = j.merge(b.Frags[at.N+1-b.First:]); len(gaps) == 0 {
			at.Position = b.Last()
		}
	}
	j.moved, j.cursor = at != j.cursor, at
	return engine.Ingested{Position: at.Position, Gaps: gaps}
}

// merge takes in fragments and returns the keys of those that it could not.
func (j *job) merge(frags []crdt.Fragment) (gaps []crdt.Key) {
	for _, f := range frags {
		k := f.Effect.Key
		if overAge(k, j.now) {
			continue
		}
		// A copy past its time counts until it is swept: the log of a long cut
		// then merges one entry onto the other, where each would else be a gap.
		r, _ := j.kept(k)
		switch out, outcome := crdt.Merge(r, f); outcome {
		case crdt.Applied:
			j.put(out.Prune(j.now))
		case crdt.Gap, crdt.Fork:
			if _, ends := f.Ending(); ends {
				j.put(out.Prune(j.now))
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
func (j *job) mergeEndings(frags []crdt.Fragment) {
	for _, f := range frags {
		end, ends := f.Ending()
		if !ends || overAge(end.Key, j.now) {
			continue
		}
		if r, ok := j.kept(end.Key); ok {
			end = crdt.Join(r, end)
		}
		j.put(end.Prune(j.now))
	}
}

// Positions returns how far the log of from has been taken in. It fails with
// crdt.ErrMalformed for a number that is no Region's.
func (e *Engine) Positions(ctx context.Context, from crdt.Region) (engine.Positions, error) {
	var out engine.Positions
	err := e.open(ctx)
	if err == nil && !from.Valid() {
		err = fmt.Errorf("%w: region %d", crdt.ErrMalformed, from)
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, callMost)
		defer cancel()
		err = e.query(ctx, e.text.cursors, []any{int16(from)}, func(row pgx.Rows) error {
			var p int16
			var actor int32
			var n int64
			if err := row.Scan(&p, &actor, &n); err != nil || p < 0 || p >= crdt.Partitions {
				return fmt.Errorf("%w: cursor of partition %d: %w", engine.ErrCorrupt, p, err)
			}
			out[p] = engine.Position{Actor: crdt.Actor(actor), N: uint64(n)} //nolint:gosec // as they were stored
			return nil
		})
	}
	if err != nil {
		return engine.Positions{}, fmt.Errorf("read positions of region %d: %w", from, err)
	}
	return out, nil
}
