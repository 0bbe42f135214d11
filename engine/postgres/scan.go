package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// scanRows is how many records are asked for at a time.
const scanRows = 128

// Scan yields the records of some partitions, by their IDs. Nothing is open at the
// server while yield runs.
func (s *store) Scan(ctx context.Context, of engine.Partitions, yield func(crdt.Record) bool) error {
	if err := s.open(ctx); err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	text := quoter(s.config.Schema)(scanText)
	for p := 0; p < crdt.Partitions; p++ {
		if !of.Has(uint16(p)) {
			continue
		}
		first := p
		for p+1 < crdt.Partitions && of.Has(uint16(p+1)) { //nolint:gosec // below 64
			p++ // a run of them is one piece
		}
		more, err := s.scanPiece(ctx, text, partitionsEnd(first), partitionsEnd(p+1), yield)
		if err != nil {
			return fmt.Errorf("scan: %w", err)
		}
		if !more {
			return nil
		}
	}
	return nil
}

// scanPiece yields the records whose IDs are between two, and reports whether to go on.
func (s *store) scanPiece(ctx context.Context, text, after, before string, yield func(crdt.Record) bool) (more bool, err error) {
	for {
		page, last, err := s.page(ctx, text, after, before)
		if err != nil {
			return false, err
		}
		for _, r := range page {
			if ctx.Err() != nil {
				return false, fmt.Errorf("%w: %w", engine.ErrUnavailable, engine.Ended(ctx))
			}
			if !yield(r) {
				return false, nil
			}
		}
		if last == "" {
			return true, nil
		}
		after = last
	}
}

// page returns the records of the next rows, and the ID of the last one; empty if there
// are no more.
func (s *store) page(ctx context.Context, text, after, before string) (page []crdt.Record, last string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callMost)
	defer cancel()
	rows := 0
	err = s.query(ctx, text, []any{after, before, scanRows}, func(row pgx.Rows) error {
		var now time.Time
		var state []byte
		if err := row.Scan(&now, &last, &state); err != nil {
			return fmt.Errorf("%w: %w", engine.ErrCorrupt, err)
		}
		rows++
		k, err := parseRecordID(last)
		if err != nil {
			return err
		}
		r, err := decodeState(k, state)
		if err != nil {
			return err
		}
		if r = shown(r, s.now(now)); !r.IsBottom() {
			page = append(page, r)
		}
		return nil
	})
	if rows < scanRows {
		last = ""
	}
	return page, last, err
}
