package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/pause"
)

// migrations make a schema, in order. One that was released is never changed.
//
//go:embed sql/postgres/*.sql sql/dsql/*.sql
var migrations embed.FS

// migrateMost bounds the bringing up to date of a schema: DSQL builds an index of its
// own accord afterwards.
const migrateMost = time.Minute

const (
	schemaExistsText = `SELECT count(*) FROM pg_namespace WHERE nspname = $1`
	createSchemaText = `CREATE SCHEMA {s}`
	createTableText  = `CREATE TABLE IF NOT EXISTS {s}.migration (version integer PRIMARY KEY,
		breaking boolean NOT NULL, applied timestamptz NOT NULL DEFAULT now())`
	versionText = `SELECT coalesce(max(version), 0), coalesce(max(CASE WHEN breaking THEN version ELSE 0 END), 0)
		FROM {s}.migration`
	appliedText = `INSERT INTO {s}.migration (version, breaking) VALUES ($1, false)`
	migrateLock = `SELECT pg_advisory_xact_lock($1)`
)

// Migrate makes the schema of c, or brings it up to date, in PostgreSQL. Any number of
// processes may do so at once. The role must own the schema, or may create it.
func Migrate(ctx context.Context, c Config) error { return migrateOnly(ctx, c, pg) }

// MigrateDSQL is Migrate for a DSQL cluster.
func MigrateDSQL(ctx context.Context, c Config) error { return migrateOnly(ctx, c, dsql) }

func migrateOnly(ctx context.Context, c Config, d dialect) error {
	c.Migrate = true
	s, err := openStore(ctx, 1, c, d) // whichever Region it is
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	s.pool.Close()
	return nil
}

// statements returns each migration of a dialect as its statements, in order.
func (d dialect) statements(schema string) [][]string {
	dir := "sql/postgres"
	if d == dsql {
		dir = "sql/dsql"
	}
	files, _ := migrations.ReadDir(dir) // sorted; it is part of the program
	var out [][]string
	for _, f := range files {
		text, _ := migrations.ReadFile(dir + "/" + f.Name())
		var one []string
		for part := range strings.SplitSeq(quoter(schema)(string(text)), ";\n") {
			if part = strings.TrimSpace(withoutComments(part)); part != "" {
				one = append(one, strings.TrimSuffix(part, ";"))
			}
		}
		out = append(out, one)
	}
	return out
}

func withoutComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "--") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// version returns which migration the schema is at, 0 if there is none, and the last one
// that older programs can't work with.
func (s *store) version(ctx context.Context) (at, breaking int, err error) {
	text := quoter(s.config.Schema)(versionText)
	err = s.query(ctx, text, nil, func(r pgx.Rows) error { return r.Scan(&at, &breaking) })
	if reply, ok := errors.AsType[*pgconn.PgError](err); ok && (reply.Code == "42P01" || reply.Code == "3F000") {
		return 0, 0, nil // undefined_table, invalid_schema_name
	}
	return at, breaking, err
}

// checkVersion refuses a schema that this program can't work with.
func (s *store) checkVersion(ctx context.Context, d dialect) error {
	ctx, cancel := context.WithTimeout(ctx, callMost)
	defer cancel()
	at, breaking, err := s.version(ctx)
	known := len(d.statements(s.config.Schema))
	switch {
	case err != nil:
		return fmt.Errorf("look for schema %s: %w", s.config.Schema, err)
	case at < known:
		return fmt.Errorf("%w: schema %s is at version %d, want %d: set Migrate, or call it with a role that may",
			ErrUnfit, s.config.Schema, at, known)
	case breaking > known:
		return fmt.Errorf("%w: schema %s is at version %d, of a later program: want at most %d",
			ErrUnfit, s.config.Schema, at, known)
	}
	return nil
}

// migrate makes the schema, or brings it up to date, unless it is.
func (s *store) migrate(ctx context.Context, d dialect) error {
	ctx, cancel := context.WithTimeout(ctx, migrateMost)
	defer cancel()
	err := s.checkVersion(ctx, d)
	if err == nil || !errors.Is(err, ErrUnfit) {
		return err
	}
	if d == dsql {
		err = s.migrateDSQL(ctx)
	} else {
		err = s.retrying(ctx, func() error { return s.migratePostgres(ctx) })
	}
	if err != nil {
		return fmt.Errorf("migrate schema %s: %w", s.config.Schema, err)
	}
	return s.checkVersion(ctx, d)
}

// migratePostgres applies what is missing, in one transaction, one process at a time.
func (s *store) migratePostgres(ctx context.Context) error {
	q := quoter(s.config.Schema)
	var exists int
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return s.failed(ctx, err, before)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // where it was not committed
	do := func(text string, args ...any) {
		if err == nil {
			_, err = tx.Exec(ctx, text, args...)
		}
	}
	do("SET LOCAL statement_timeout TO 0") // who waits for the lock waits for another's migration
	do(migrateLock, s.config.lockNumber("migrate"))
	if err == nil {
		err = tx.QueryRow(ctx, schemaExistsText, s.config.Schema).Scan(&exists)
	}
	if exists == 0 {
		do(q(createSchemaText))
	}
	do(q(createTableText))
	at, breaking := 0, 0
	if err == nil {
		err = tx.QueryRow(ctx, q(versionText)).Scan(&at, &breaking)
	}
	for i, one := range pg.statements(s.config.Schema) {
		if i < at {
			continue
		}
		for _, text := range one {
			do(text)
		}
		do(q(appliedText), i+1)
	}
	if err != nil {
		return s.failed(ctx, err, before)
	}
	return s.failed(ctx, tx.Commit(ctx), commit)
}

// migrateDSQL applies what is missing, each statement in a transaction of its own, as
// DSQL wants it. Each may be done twice, so that it does no harm if several processes
// do so at once, or one did a half.
func (s *store) migrateDSQL(ctx context.Context) error {
	q := quoter(s.config.Schema)
	exists := 0
	err := s.query(ctx, schemaExistsText, []any{s.config.Schema}, func(r pgx.Rows) error { return r.Scan(&exists) })
	do := func(text string, args ...any) {
		if err == nil {
			err = s.untilDone(ctx, text, args...)
		}
	}
	if exists == 0 {
		do(q(createSchemaText))
	}
	do(q(createTableText))
	if err != nil {
		return err
	}
	at, _, err := s.version(ctx)
	for i, one := range dsql.statements(s.config.Schema) {
		if i < at || err != nil {
			continue
		}
		for _, text := range one {
			do(text)
		}
		do(q(appliedText), i+1)
	}
	return err
}

// untilDone runs a statement until it is done, by whomever. What is there already was
// done by another process.
func (s *store) untilDone(ctx context.Context, text string, args ...any) error {
	for {
		_, err := s.execOnce(ctx, text, args...)
		reply, _ := errors.AsType[*pgconn.PgError](err)
		switch {
		case err == nil:
			return nil
		case reply != nil && isThere(reply.Code):
			return nil
		case reply == nil || !conflicts(reply.Code):
			return err
		case !pause.For(ctx, retryMost):
			return fmt.Errorf("%w: %w", engine.ErrUnreachable, engine.Ended(ctx))
		}
	}
}

// isThere reports whether a statement was refused since what it makes is there.
func isThere(code string) bool {
	switch code {
	case "42P06", "42P07", "42710", "23505": // duplicate_schema, _table, _object, unique_violation
		return true
	}
	return false
}
