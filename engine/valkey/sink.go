package valkey

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/trail"
)

// Ingest merges b and moves the cursor, in one call of the server for each
// batchEntries. It fails with crdt.ErrMalformed for a batch that no log of from can
// have emitted, and has done nothing then.
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
func (e *Engine) ingest(ctx context.Context, from crdt.Region, b engine.Batch) (engine.Ingested, error) {
	cursor := cursorKey(b.Partition, from)
	keys, args := make([]string, 1, 1+len(b.Frags)), make([]string, 1, 1+len(b.Frags))
	keys[0], args[0] = cursor, string(batchHead(b))
	for _, f := range b.Frags {
		if f.Effect.Key.IsZero() {
			keys, args = append(keys, cursor), append(args, "")
			continue
		}
		defer e.touched(f.Effect.Key)
		keys = append(keys, recordKey(f.Effect.Key))
		args = append(args, valkey.BinaryString(appendEntry(nil, f)))
	}
	reply, err := e.call(ctx, "roam_v1_ingest", keys, args).ToString()
	if err != nil {
		return engine.Ingested{}, e.failed(ctx, err)
	}
	if len(reply) < eraBytes+1 {
		return engine.Ingested{}, fmt.Errorf("%w: reply of %d bytes", engine.ErrUnavailable, len(reply))
	}
	out := engine.Ingested{Position: decodePosition(reply), Hole: reply[eraBytes] == 1}
	for gaps := reply[eraBytes+1:]; len(gaps) >= 2; gaps = gaps[2:] {
		i := int(binary.BigEndian.Uint16([]byte(gaps[:2])))
		if k := b.Frags[i].Effect.Key; !slices.Contains(out.Gaps, k) {
			out.Gaps = append(out.Gaps, k)
		}
	}
	return out, nil
}

// batchHead returns what the script is told of a batch beside its entries.
func batchHead(b engine.Batch) []byte {
	head := appendNumber(appendNumber(appendNumber(nil, uint64(b.Actor), 3), b.Fork, 7), b.First, 7)
	if b.Rebase {
		return append(head, 1)
	}
	return append(head, 0)
}

// Positions returns how far the log of from has been taken in. It fails with
// crdt.ErrMalformed for a number that is no Region's.
func (e *Engine) Positions(ctx context.Context, from crdt.Region) (engine.Positions, error) {
	err := e.open(ctx)
	if err == nil && !from.Valid() {
		err = fmt.Errorf("%w: region %d", crdt.ErrMalformed, from)
	}
	var out engine.Positions
	if err == nil {
		err = e.each(ctx, func(p uint16) valkey.Completed {
			return e.client().B().Get().Key(cursorKey(p, from)).Build()
		}, func(p uint16, reply string) error {
			out[p] = decodePosition(reply)
			return nil
		})
	}
	if err != nil {
		return engine.Positions{}, fmt.Errorf("read positions of region %d: %w", from, err)
	}
	return out, nil
}
