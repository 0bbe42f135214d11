package postgres

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/roam-sessions/roam/engine"
)

// What an error of the server says depends on whether COMMIT may have been done.
func TestRepliesAreSorted(t *testing.T) {
	none := errors.New("none")
	for _, c := range []struct {
		code                    string
		reading, before, commit error
		again                   bool // before a COMMIT, the same may be tried again
		conflict                bool // also of a COMMIT
	}{
		{"57P01", engine.ErrUnavailable, engine.ErrUnreachable, engine.ErrUnavailable, true, false},  // admin_shutdown
		{"57P02", engine.ErrUnavailable, engine.ErrUnreachable, engine.ErrUnavailable, true, false},  // crash_shutdown
		{"57P03", engine.ErrUnavailable, engine.ErrUnreachable, engine.ErrUnavailable, true, false},  // cannot_connect_now
		{"53300", engine.ErrUnavailable, engine.ErrUnreachable, engine.ErrUnavailable, true, false},  // too_many_connections
		{"08006", engine.ErrUnavailable, engine.ErrUnreachable, engine.ErrUnavailable, true, false},  // connection_failure
		{"25P03", engine.ErrUnavailable, engine.ErrUnreachable, engine.ErrUnavailable, true, false},  // idle_in_transaction
		{"25006", engine.ErrNotPrimary, engine.ErrNotPrimary, engine.ErrUnavailable, true, false},    // read_only_sql_transaction
		{"40001", errConflict, errConflict, errConflict, true, true},                                 // serialization_failure
		{"40P01", errConflict, errConflict, errConflict, true, true},                                 // deadlock_detected
		{"23505", errConflict, errConflict, errConflict, true, true},                                 // unique_violation
		{"OC000", errConflict, errConflict, errConflict, true, true},                                 // as DSQL may say
		{"57014", engine.ErrUnavailable, engine.ErrUnreachable, engine.ErrUnavailable, false, false}, // query_canceled
		{"53100", engine.ErrFull, engine.ErrFull, engine.ErrUnavailable, false, false},               // disk_full
		{"XX001", engine.ErrCorrupt, engine.ErrCorrupt, engine.ErrUnavailable, false, false},         // data_corrupted
		{"42501", engine.ErrUnavailable, engine.ErrUnreachable, engine.ErrUnavailable, false, false}, // insufficient_privilege
		{"XX000", engine.ErrUnavailable, engine.ErrUnreachable, engine.ErrUnavailable, false, false}, // internal_error
	} {
		for at, want := range map[when]error{reading: c.reading, before: c.before, commit: c.commit} {
			reply := &pgconn.PgError{Code: c.code, Message: "m"}
			err := classify(t.Context(), reply, at)
			if !errors.Is(err, want) || !errors.Is(err, reply) || errors.Is(err, none) {
				t.Errorf("classify(%s, %d) = %v, want %v and the reply", c.code, at, err, want)
			}
			_, again := errors.AsType[passing](err)
			if wantAgain := c.again && (at != commit || c.conflict); again != wantAgain {
				t.Errorf("classify(%s, %d) may be tried again: %v, want %v", c.code, at, again, wantAgain)
			}
			if known := engine.OutcomeKnown(err); at == commit && known != c.conflict || at == before && !known {
				t.Errorf("OutcomeKnown(classify(%s, %d)) = %v", c.code, at, known)
			}
		}
	}
}

func TestSilenceIsSorted(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		ended bool // the caller's context
		err   error
		at    when
		want  error
		again bool
	}{
		{false, io.ErrUnexpectedEOF, before, engine.ErrUnreachable, true},
		{false, io.ErrUnexpectedEOF, commit, engine.ErrUnavailable, false},
		{false, io.ErrUnexpectedEOF, reading, engine.ErrUnavailable, true},
		{true, context.Canceled, before, engine.ErrUnreachable, false},
		{true, context.Canceled, commit, engine.ErrUnavailable, false},
		{true, context.Canceled, reading, engine.ErrUnavailable, false},
		{false, nil, commit, nil, false},
	} {
		ctx := t.Context()
		if c.ended {
			ctx = over
		}
		err := classify(ctx, c.err, c.at)
		_, again := errors.AsType[passing](err)
		if !errors.Is(err, c.want) || again != c.again || c.ended && !errors.Is(err, context.Canceled) {
			t.Errorf("classify(%v, %d) = %v, again %v, want %v, %v", c.err, c.at, err, again, c.want, c.again)
		}
	}
}

// An engine that was closed while COMMIT was under way knows no more of it than one that
// was not.
func TestClosedEngineDoesNotKnow(t *testing.T) {
	s := &store{closed: make(chan struct{})}
	close(s.closed)
	for at, want := range map[when]error{reading: engine.ErrClosed, before: engine.ErrClosed, commit: engine.ErrUnavailable} {
		if err := s.failed(t.Context(), io.ErrUnexpectedEOF, at); !errors.Is(err, want) || at == commit && engine.OutcomeKnown(err) {
			t.Errorf("failed(%d) of a closed engine = %v, want %v", at, err, want)
		}
	}
}
