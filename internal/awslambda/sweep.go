package awslambda

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/dynamo"
)

const (
	// SweepTimeout is what a sweeper is to be given: Lambda gives no more.
	SweepTimeout = 15 * time.Minute
	// sweepSpare is how long before its deadline a sweeper ends: for the calls that are under
	// way, and the report, which must not be cut off.
	sweepSpare = 30 * time.Second
)

// A Sweeper is the function that deletes what is past its time from a table that has no time
// to live.
type Sweeper struct {
	table     dynamo.Config
	namespace string
	out       io.Writer
}

// Handle sweeps on a schedule's event, until shortly before the deadline of ctx. That a sweep
// is cut off is no failure: the next one goes on elsewhere, as Engine.Sweep says. It fails
// only if coming again may help: Lambda then tries twice more and tells its OnFailure
// destination. What nobody can read is in the report instead.
func (s *Sweeper) Handle(ctx context.Context, event []byte) error {
	report := newReport(s.table.Region, dimension{"Table", s.table.Table}, s.namespace, time.Now())
	wake := ParseEvent(event)
	report.tell("hints", wake.Hints)
	report.count("EventForeign", wake.Foreign)
	report.count("EventMalformed", wake.Malformed)
	var err error
	if wake.Look {
		err = s.sweep(ctx, report)
	}
	if err != nil {
		report.tell("error", err.Error())
	}
	report.count("Failed", yes(err != nil))
	if errors.Is(err, engine.ErrCorrupt) { // all else was swept, and it would be read once more
		err = nil
	}
	return errors.Join(err, report.write(s.out, time.Now()))
}

// sweep sweeps the table, or a part of it.
func (s *Sweeper) sweep(ctx context.Context, report *report) error {
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now().Add(SweepTimeout)
	}
	limit, cancel := context.WithDeadline(ctx, end.Add(-sweepSpare))
	defer cancel()
	deleted, err := sweep(limit, s.table)
	report.count("ItemsDeleted", deleted)
	report.count("SweepThrough", yes(err == nil))
	if err != nil && limit.Err() != nil {
		report.tell("reason", fmt.Sprintf("the time is over, the next sweep goes on: %v", err))
		return nil
	}
	return err
}

// sweep opens a table and deletes what is past its time.
func sweep(ctx context.Context, c dynamo.Config) (deleted int, err error) {
	e, err := dynamo.Open(ctx, 1, c) // whichever Region: it writes nothing
	if err != nil {
		return 0, err
	}
	defer func() { _ = e.Close() }() // never fails
	return e.Sweep(ctx)
}
