package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/roam-sessions/roam/engine"
)

// ErrUnfit: the database is not set up for this engine, or so that sessions would be
// lost. The error says how to mend it.
var ErrUnfit = errors.New("database is unfit for sessions")

// errConflict: another transaction was first, each time.
var errConflict = fmt.Errorf("%w: conflicts with other writes", engine.ErrUnreachable)

// A passing is a failure after which nothing was written and that may be over if the
// same is tried again.
type passing struct {
	error
	elsewhere bool // over connections that are made anew
}

// Unwrap returns what failed.
func (p passing) Unwrap() error { return p.error }

// A when says what a failed call had done.
type when int

const (
	// reading: it was to write nothing.
	reading when = iota
	// before: COMMIT was not sent, or not come to, so nothing was written.
	before
	// commit: COMMIT may have been done.
	commit
)

// classify returns what err of the driver is to an engine's caller.
func classify(ctx context.Context, err error, at when) error {
	if err == nil {
		return nil
	}
	if reply, ok := errors.AsType[*pgconn.PgError](err); ok {
		if _, connecting := errors.AsType[*pgconn.ConnectError](err); connecting {
			at = before
		}
		return classifyReply(reply, at)
	}
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	kind := engine.ErrUnavailable
	if connecting || at == before {
		kind = engine.ErrUnreachable
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", kind, engine.Ended(ctx))
	case at == commit && !connecting:
		return fmt.Errorf("%w: %w", kind, err)
	}
	return passing{fmt.Errorf("%w: %w", kind, err), true}
}

// classifyReply returns what an error that the server has sent is.
func classifyReply(reply *pgconn.PgError, at when) error {
	code := reply.Code
	if at == commit && !conflicts(code) {
		// The server says that it could not, and may have: PostgreSQL ends a session
		// within a COMMIT that waits for a standby and has been done.
		return fmt.Errorf("%w: commit: %w", engine.ErrUnavailable, reply)
	}
	kind := engine.ErrUnavailable
	if at != reading {
		kind = engine.ErrUnreachable
	}
	switch {
	case conflicts(code):
		return passing{fmt.Errorf("%w: %w", errConflict, reply), false}
	case code == "25006": // read_only_sql_transaction
		return passing{fmt.Errorf("%w: %w", engine.ErrNotPrimary, reply), true}
	case code == "53100": // disk_full
		return fmt.Errorf("%w: %w", engine.ErrFull, reply)
	case code == "XX001" || code == "XX002": // data_corrupted, index_corrupted
		return fmt.Errorf("%w: %w", engine.ErrCorrupt, reply)
	case leaves(code):
		return passing{fmt.Errorf("%w: %w", kind, reply), true}
	}
	return fmt.Errorf("%w: %w", kind, reply)
}

// conflicts reports whether a transaction was undone since another one was first.
// unique_violation is among it: two have put one record in.
func conflicts(code string) bool {
	switch code {
	case "40001", "40P01", "23505":
		return true
	}
	return strings.HasPrefix(code, "OC") // where DSQL names the reason itself
}

// leaves reports whether the server is going, coming or too full of connections.
func leaves(code string) bool {
	switch code {
	case "57P01", "57P02", "57P03", "57P05", "53300", "25P03":
		return true
	}
	return strings.HasPrefix(code, "08") // connection_exception
}
