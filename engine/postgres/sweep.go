package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/pause"
)

const (
	// sweepRows is how many records are looked at in one question, and dropped in as many
	// transactions as they have partitions. DSQL would take 3,000 rows and 10 MiB.
	sweepRows = 512
	// trimEntries is how much of a log one statement trims.
	trimEntries = 1024
	// bytesInterval is between two looks at how full the database is.
	bytesInterval = time.Second
)

// sweepOnAndOn drops records past their time and trims the log until ctx ends.
func (e *Engine) sweepOnAndOn(ctx context.Context) {
	tick := time.NewTicker(min(e.config.SweepInterval, bytesInterval))
	defer tick.Stop()
	swept := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			e.lookAtBytes(ctx)
			if now.Sub(swept) >= e.config.SweepInterval {
				swept = now
				_ = e.sweep(ctx) // another time, or by another process
				e.trim(ctx, now)
			}
		}
	}
}

// errSwept: another process sweeps.
var errSwept = errors.New("another process sweeps")

// sweep drops all records that are past their time.
func (e *Engine) sweep(ctx context.Context) error {
	for {
		now, parts, n, err := e.overdue(ctx)
		if err != nil {
			return err
		}
		for p, ids := range parts {
			if err := e.drop(ctx, p, ids, now); err != nil {
				return err
			}
		}
		if n < sweepRows {
			return nil
		}
	}
}

// overdue returns the IDs of records that the sweep has to look at, by partition, and
// the time.
func (e *Engine) overdue(ctx context.Context) (now crdt.Time, parts map[uint16][]string, n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, callMost)
	defer cancel()
	var at time.Time
	if err := e.query(ctx, e.text.clock, nil, func(r pgx.Rows) error { return r.Scan(&at) }); err != nil {
		return 0, nil, 0, err
	}
	now, parts = e.now(at), map[uint16][]string{}
	err = e.query(ctx, e.text.due, []any{unixMilli(now), sweepRows}, func(r pgx.Rows) error {
		var id string
		if err := r.Scan(&id); err != nil {
			return err
		}
		n++
		p, err := strconv.ParseUint(id[:min(2, len(id))], 16, 16)
		if err != nil || p >= crdt.Partitions {
			return fmt.Errorf("%w: ID of %d bytes", engine.ErrCorrupt, len(id))
		}
		parts[uint16(p)] = append(parts[uint16(p)], id)
		return nil
	})
	return now, parts, n, err
}

// drop drops those of some records of a partition that are past their time: which they
// are, a touch may have changed since they were asked for.
func (e *Engine) drop(ctx context.Context, p uint16, ids []string, now crdt.Time) error {
	ctx, cancel := context.WithTimeout(ctx, callMost)
	defer cancel()
	mine := false
	part, until := int16(p), unixMilli(now) //nolint:gosec // below 64
	return e.try(ctx, transaction{
		open: []step{
			{text: e.text.begin},
			{text: e.text.sweeper, args: []any{e.config.lockNumber("sweep")}, take: func(r pgx.BatchResults) error {
				return r.QueryRow().Scan(&mine)
			}},
		},
		decide: func() ([]step, error) {
			if !mine {
				return nil, errSwept
			}
			return []step{
				{text: e.text.lockOnly, args: []any{part}},
				{text: e.text.sweep, args: []any{ids, until, part, recordOverhead}},
				{text: e.text.put, args: []any{ids, until}},
			}, nil
		},
	})
}

// trim trims the log where it was released or written long enough ago, or is beyond its
// bound. What fails is trimmed at another time.
func (e *Engine) trim(ctx context.Context, now time.Time) {
	states, err := e.states(ctx)
	if err != nil {
		return
	}
	share := e.config.LogBytes / crdt.Partitions
	for p := range uint16(crdt.Partitions) {
		st := &states[p]
		if st.head == 0 || !st.writable {
			continue
		}
		e.written.Note(p, st.head, now, e.config.KeepLog)
		n := max(e.released.Due(p, now, e.config.KeepReleased), e.written.Due(p, now, e.config.KeepLog))
		part := int16(p) //nolint:gosec // below 64
		if n > 0 {
			e.trimAll(ctx, e.text.trim, part, int64(n), trimEntries) //nolint:gosec // counted from 0
		}
		if st.logged > share { // the newest entry stays, however large it is
			e.trimAll(ctx, e.text.trimOver, part, st.logged-share, trimEntries, int64(st.head), entryOverhead) //nolint:gosec // counted from 0
		}
	}
}

// trimAll runs a statement that trims trimEntries at most until there are no more.
func (e *Engine) trimAll(ctx context.Context, text string, args ...any) {
	for {
		ctx, cancel := context.WithTimeout(ctx, callMost)
		tag, err := e.pool.Exec(ctx, text, args...)
		cancel()
		if err != nil || tag.RowsAffected() < trimEntries {
			return
		}
	}
}

// lookAtBytes notes how full the database is, as DESIGN R13 has it. What it can't learn
// leaves that as it was.
func (e *Engine) lookAtBytes(ctx context.Context) {
	if e.config.MaxBytes == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, bytesInterval)
	defer cancel()
	var used int64
	err := e.query(ctx, e.text.bytes, nil, func(r pgx.Rows) error { return r.Scan(&used) })
	if err == nil {
		e.percent.Store(used / (e.config.MaxBytes / 100))
	}
}

// sweepOnAndOn drops records past their time, by each process at its own times: DSQL has
// no lock by which one could be the only one, and those who meet undo each other's
// transaction, no more.
func (e *DSQL) sweepOnAndOn(ctx context.Context) {
	for {
		// between half of it and one and a half
		if !pause.About(ctx, e.config.SweepInterval) {
			return
		}
		_ = e.sweep(ctx) // another time, or by another process
	}
}

// sweep drops all records that are past their time. A batch that DSQL finds too large
// is tried again with half as many records.
func (e *DSQL) sweep(ctx context.Context) error {
	for _, text := range []string{e.text.sweep, e.text.put} {
		for rows := int64(sweepRows); ; {
			now, err := e.clock(ctx)
			if err != nil {
				return err
			}
			n, err := e.exec(ctx, text, unixMilli(now), rows)
			switch {
			case err != nil && tooLarge(err) && rows > 1:
				rows /= 2
				continue
			case err != nil:
				return err
			}
			if n < rows {
				break
			}
		}
	}
	return nil
}
