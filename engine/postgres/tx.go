package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/pause"
)

const (
	// callMost bounds a call whose caller waits for longer, so that Close ends.
	callMost = 10 * time.Second
	// rollbackMost bounds how long a transaction is undone: the connection is dropped
	// then, which undoes it too.
	rollbackMost = 500 * time.Millisecond
	// retryLeast and retryMost bound the pause before another try; it is drawn between
	// nothing and that, so that those who met once do not meet again.
	retryLeast = 2 * time.Millisecond
	retryMost  = 50 * time.Millisecond
	// renewEvery is how often connections may be made anew.
	renewEvery = 100 * time.Millisecond
)

// A step is a statement that is sent together with others, and what takes its answer;
// nil: there is none but that it was done.
type step struct {
	text string
	args []any
	take func(pgx.BatchResults) error
}

// run sends steps in one go and reports how many were done.
func run(ctx context.Context, conn *pgxpool.Conn, steps []step) (int, error) {
	b := &pgx.Batch{}
	for _, s := range steps {
		b.Queue(s.text, s.args...)
	}
	results := conn.SendBatch(ctx, b)
	for i, s := range steps {
		var err error
		if s.take == nil {
			_, err = results.Exec()
		} else {
			err = s.take(results)
		}
		if err != nil {
			_ = results.Close() // it says the same again
			return i, err
		}
	}
	_ = results.Close() // all was answered; a connection that broke since is dropped
	return len(steps), nil
}

// A transaction is what is read, decided and written in one atomic step.
type transaction struct {
	open   []step // with BEGIN in front
	decide func() ([]step, error)
}

// errUndone: a COMMIT undid the transaction, which it says by its answer alone.
var errUndone = fmt.Errorf("%w: the transaction was undone", engine.ErrUnreachable)

// try runs a transaction once. An error that engine.OutcomeKnown accepts says that
// nothing was written.
func (s *store) try(ctx context.Context, t transaction) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return s.failed(ctx, err, before)
	}
	defer conn.Release() // drops one that is within a transaction
	if _, err := run(ctx, conn, t.open); err != nil {
		if known := engine.OutcomeKnown(err); known { // what was read is corrupt
			s.rollback(ctx, conn)
			return err
		}
		s.undo(ctx, conn, err)
		return s.failed(ctx, err, before)
	}
	steps, err := t.decide()
	if err != nil || len(steps) == 0 {
		s.rollback(ctx, conn)
		return err
	}
	undone := false
	steps = append(steps, step{text: commitText, take: func(r pgx.BatchResults) error {
		tag, err := r.Exec()
		undone = err == nil && tag.String() != commitText
		return err
	}})
	done, err := run(ctx, conn, steps)
	switch {
	case undone:
		return errUndone
	case err == nil:
		return nil
	case done < len(steps)-1 && isReply(err):
		// The server refused a statement, and passed over what came after it.
		s.undo(ctx, conn, err)
		return s.failed(ctx, err, before)
	}
	return s.failed(ctx, err, commit)
}

// undo ends a transaction of which the server refused a statement.
func (s *store) undo(ctx context.Context, conn *pgxpool.Conn, err error) {
	if isReply(err) && !conn.Conn().IsClosed() {
		s.rollback(ctx, conn)
	}
}

// rollback undoes a transaction. Where it can't be, the connection is dropped.
func (s *store) rollback(ctx context.Context, conn *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackMost)
	defer cancel()
	_, _ = conn.Exec(ctx, rollbackText) // else Release drops it
}

// retrying calls do until it is done, fails for good, or ctx or the time for it is over.
func (s *store) retrying(ctx context.Context, do func() error) error {
	until := time.Now().Add(s.retryFor)
	if end, ok := ctx.Deadline(); ok && end.Before(until) {
		until = end
	}
	for longest := retryLeast; ; longest = min(2*longest, retryMost) {
		err := do()
		p, ok := errors.AsType[passing](err)
		if !ok {
			return err
		}
		wait := pause.Upto(longest)
		if p.elsewhere {
			s.renew()
		}
		if time.Now().Add(wait).After(until) || s.isClosed() {
			return p.error
		}
		if !pause.For(ctx, wait) {
			return p.error
		}
	}
}

// renew has connections made anew, wherever the name leads now, unless that was done
// just now. What is under way on others goes on.
func (s *store) renew() {
	s.renewing.Lock()
	defer s.renewing.Unlock()
	if now := time.Now(); now.Sub(s.renewed) >= renewEvery && !s.isClosed() {
		s.renewed = now
		s.pool.Reset()
	}
}

// exec runs a statement by itself, which may be repeated, and returns how many rows it
// was about.
func (s *store) exec(ctx context.Context, text string, args ...any) (n int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, callMost)
	defer cancel()
	err = s.retrying(ctx, func() error {
		n, err = s.execOnce(ctx, text, args...)
		return err
	})
	return n, err
}

// execOnce runs a statement by itself once.
func (s *store) execOnce(ctx context.Context, text string, args ...any) (int64, error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return 0, s.failed(ctx, err, before)
	}
	defer conn.Release()
	tag, err := conn.Exec(ctx, text, args...)
	at := commit
	if isReply(err) {
		at = before // it was undone
	}
	return tag.RowsAffected(), s.failed(ctx, err, at)
}
