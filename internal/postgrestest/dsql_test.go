package postgrestest_test

import (
	"strings"
	"testing"

	"github.com/roam-sessions/roam/internal/postgrestest"
)

func TestSessionRefuses(t *testing.T) {
	for sql, why := range map[string]string{
		"SELECT 1 FROM r WHERE id = $1 FOR UPDATE":                            "locked by reading",
		"select 1 from r where id = $1 for\n no key update":                   "locked by reading",
		"CREATE TABLE t (id serial PRIMARY KEY)":                              "sequences",
		"CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY)":             "identity",
		"SELECT nextval('x')":                                                 "sequences",
		"CREATE INDEX i ON t (a)":                                             "ASYNC",
		"CREATE UNIQUE INDEX i ON t (a)":                                      "ASYNC",
		"CREATE INDEX ASYNC i ON t (a) WHERE a > 0":                           "condition",
		"CREATE INDEX ASYNC i ON t (a DESC)":                                  "order",
		"CREATE INDEX CONCURRENTLY i ON t (a)":                                "", // either reason
		"CREATE TABLE t (a int REFERENCES u (b))":                             "foreign",
		"CREATE TABLE t (a jsonb)":                                            "type of a column",
		"CREATE TABLE t (a text[])":                                           "type of a column",
		`CREATE TABLE t (a text COLLATE "C")`:                                 "clause of a table",
		"CREATE TABLE t (a int) WITH (fillfactor = 10)":                       "clause of a table",
		"CREATE TABLE t AS SELECT 1":                                          "clause of a table",
		"CREATE TABLE t (a int) PARTITION BY HASH (a)":                        "clause of a table",
		"CREATE TEMP TABLE t (a int)":                                         "temporary",
		"CREATE TRIGGER x AFTER INSERT ON t EXECUTE FUNCTION f()":             "trigger",
		"CREATE EXTENSION pgcrypto":                                           "extension",
		"CREATE TYPE x AS ENUM ('a')":                                         "types",
		"TRUNCATE t":                                                          "TRUNCATE",
		"/* a */ truncate t -- b":                                             "TRUNCATE",
		"VACUUM t":                                                            "VACUUM",
		"SAVEPOINT a":                                                         "SAVEPOINT",
		"LISTEN x":                                                            "LISTEN",
		"SELECT pg_notify('a', 'b')":                                          "NOTIFY",
		"SELECT pg_advisory_xact_lock(1)":                                     "advisory",
		"SELECT pg_try_advisory_lock(1)":                                      "advisory",
		"LOCK TABLE t":                                                        "locks of tables",
		"DO $$ BEGIN END $$":                                                  "procedural",
		"CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN END $$": "procedural",
		"BEGIN ISOLATION LEVEL READ COMMITTED":                                "isolation",
		"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE":                        "isolation",
		"DELETE FROM r":                                                       "rows in a transaction",
		"DELETE FROM r WHERE due < $1":                                        "rows in a transaction",
		"UPDATE r SET a = 1 WHERE id IN (SELECT id FROM s)":                   "rows in a transaction",
		"INSERT INTO r SELECT * FROM s":                                       "rows in a transaction",
		"WITH gone AS (DELETE FROM r RETURNING id) SELECT count(*) FROM gone": "rows in a transaction",
		"BEGIN; DELETE FROM r WHERE id = $1; COMMIT":                          "several statements",
		"SELECT pg_postmaster_start_time()":                                   "state of a server",
		"ALTER SYSTEM SET a = b":                                              "ALTER SYSTEM",
		"CREATE MATERIALIZED VIEW v AS SELECT 1":                              "materialized",
		"SELECT * FROM r WHERE id = $1 FOR SHARE":                             "locked by reading",
	} {
		var s postgrestest.Session
		if err := s.Statement(sql); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("Statement(%q) = %v, want it refused: %q", sql, err, why)
		}
	}
}

func TestSessionLetsPass(t *testing.T) {
	var s postgrestest.Session
	for _, sql := range []string{
		"BEGIN", "SELECT now(), state FROM r WHERE id = $1", "UPDATE r SET state = $2 WHERE id = $1",
		"INSERT INTO r (id) VALUES ($1)", "COMMIT", "ROLLBACK",
		"DELETE FROM r WHERE id IN (SELECT id FROM r WHERE due < $1 LIMIT $2)",
		"CREATE SCHEMA x", "CREATE TABLE IF NOT EXISTS x.t (id text PRIMARY KEY, b bytea NOT NULL)",
		"CREATE INDEX ASYNC IF NOT EXISTS i ON x.t (id)",
		"SELECT 'TRUNCATE; FOR UPDATE', \"truncate\" FROM r -- LOCK",
		"BEGIN ISOLATION LEVEL REPEATABLE READ", "COMMIT;", "",
	} {
		if err := s.Statement(sql); err != nil {
			t.Errorf("Statement(%q) = %v, want it to pass", sql, err)
		}
	}
}

func TestSessionKnowsTransactions(t *testing.T) {
	for _, c := range [][]string{
		{"BEGIN", "CREATE TABLE a (b int)", "CREATE TABLE c (d int)"},
		{"BEGIN", "CREATE TABLE a (b int)", "INSERT INTO a (b) VALUES (1)"},
		{"BEGIN", "SELECT 1", "DROP TABLE a"},
	} {
		var s postgrestest.Session
		for i, sql := range c {
			if err := s.Statement(sql); (err != nil) != (i == len(c)-1) {
				t.Errorf("Statement(%q) after %q = %v, want only the last refused", sql, c[:i], err)
			}
		}
	}
	var s postgrestest.Session
	for _, sql := range []string{"CREATE TABLE a (b int)", "CREATE TABLE c (d int)", "BEGIN", "DROP TABLE a", "COMMIT", "SELECT 1"} {
		if err := s.Statement(sql); err != nil {
			t.Errorf("Statement(%q) outside of a transaction = %v, want it to pass", sql, err)
		}
	}
}
