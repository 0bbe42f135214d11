package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// What a partition's row says of its refill. It is kept there so that it goes with what
// it speaks of, and every process sees it.
const (
	neverRefilled int16 = 0
	refilling     int16 = 1 // it is being given back what it lost
	refilled      int16 = 2 // all of it was given back
)

// lacks reports whether a partition may lack records that it once had.
func (e *Engine) lacks(refill int16) bool {
	return refill == refilling || e.config.Replicated && refill != refilled
}

// Lost reports whether any partition may lack records that it once had: a refill was
// begun and has not ended; or, if Config.Replicated says that somebody refills, the
// schema has not been since it was made.
func (e *Engine) Lost(ctx context.Context) (bool, error) {
	if err := e.open(ctx); err != nil {
		return false, fmt.Errorf("ask what was lost: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callMost)
	defer cancel()
	of := []int16{refilling}
	if e.config.Replicated {
		of = append(of, neverRefilled)
	}
	var n int64
	err := e.query(ctx, e.text.lost, []any{of}, func(row pgx.Rows) error { return row.Scan(&n) })
	if err != nil {
		return false, fmt.Errorf("ask what was lost: %w", err)
	}
	return n > 0, nil
}

// SetRefilling says whether the database is being given back what it lost. Every engine
// of the schema says so from then on. That all is there is refused with
// engine.ErrRefilling if the schema was made anew since the beginning.
func (e *Engine) SetRefilling(ctx context.Context, on bool) error {
	if err := e.open(ctx); err != nil {
		return fmt.Errorf("set refilling: %w", err)
	}
	text := e.text.refilled
	if on {
		text = e.text.refilling
	}
	n, err := e.exec(ctx, text)
	if err == nil && n != crdt.Partitions {
		err = fmt.Errorf("%w: more was lost meanwhile", engine.ErrRefilling)
	}
	if err != nil {
		return fmt.Errorf("set refilling: %w", err)
	}
	return nil
}
