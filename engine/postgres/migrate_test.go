//go:build integration

package postgres

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/enginetest"
	"github.com/roam-sessions/roam/internal/postgrestest"
)

// Many processes make one schema at once; none fails.
func TestManyMigrate(t *testing.T) {
	s := postgrestest.Use(t, shared)
	proxy := postgrestest.NewDSQL(t, s)
	proxy.Conflicts.Store(200)
	for name, migrate := range map[string]func(schema string) error{
		"postgres": func(schema string) error {
			return Migrate(t.Context(), Config{DSN: s.DSN(), Schema: schema})
		},
		"dsql": func(schema string) error {
			return MigrateDSQL(t.Context(), Config{DSN: proxy.DSN(), Schema: schema})
		},
	} {
		t.Run(name, func(t *testing.T) {
			schema := newSchema()
			t.Cleanup(func() { s.Do(t, `DROP SCHEMA IF EXISTS `+schema+` CASCADE`) })
			var wg sync.WaitGroup
			for range 6 {
				wg.Go(func() {
					if err := migrate(schema); err != nil {
						t.Errorf("Migrate beside others = %v, want no error", err)
					}
				})
			}
			wg.Wait()
			if n := s.Text(t, `SELECT count(*) FROM `+schema+`.migration`); n != "1" {
				t.Errorf("%s migrations were applied, want 1", n)
			}
		})
	}
}

func TestSchemaMustFit(t *testing.T) {
	s := postgrestest.Use(t, shared)
	schema := newSchema()
	c := Config{DSN: s.DSN(), Schema: schema}
	if _, err := Open(t.Context(), 1, c); !errors.Is(err, ErrUnfit) {
		t.Errorf("Open without a schema = %v, want ErrUnfit", err)
	}
	must(t, Migrate(t.Context(), c))
	t.Cleanup(func() { s.Do(t, `DROP SCHEMA IF EXISTS `+schema+` CASCADE`) })
	for breaking, want := range map[string]error{"false": nil, "true": ErrUnfit} {
		s.Do(t, `DELETE FROM `+schema+`.migration WHERE version = 99`,
			`INSERT INTO `+schema+`.migration (version, breaking) VALUES (99, `+breaking+`)`)
		e, err := Open(t.Context(), 1, c)
		if !errors.Is(err, want) {
			t.Errorf("Open of a later schema that breaks, %s, = %v, want %v", breaking, err, want)
		}
		if err == nil {
			_ = e.Close() // never fails
		}
	}
}

// grants returns the statements that docs/postgres.md has for a role, of those that make
// one with certain words, for a role and a schema of other names.
func grants(t *testing.T, role, schema string) []string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "postgres.md"))
	must(t, err)
	for block := range strings.SplitSeq(string(page), "```") {
		text, ok := strings.CutPrefix(block, "sql\n")
		if !ok || !strings.Contains(text, "CREATE ROLE roam LOGIN") {
			continue
		}
		text = regexp.MustCompile(`\broam\.`).ReplaceAllString(text, schema+".")
		text = strings.NewReplacer("SCHEMA roam", "SCHEMA "+schema, "TO roam", "TO "+role, "ROLE roam", "ROLE "+role).Replace(text)
		return strings.Split(strings.TrimSuffix(strings.TrimSpace(text), ";"), ";\n")
	}
	t.Fatal("docs/postgres.md makes no role")
	return nil
}

// The role that the page makes may do all that an engine does.
func TestPromisesOfTheLeastRole(t *testing.T) {
	t.Parallel() // it mostly waits
	s := postgrestest.Use(t, shared)
	var role atomic.Pointer[string]
	enginetest.Run(t, func(t *testing.T, here crdt.Region) engine.Engine {
		schema, name := newSchema(), newSchema()
		c := Config{DSN: s.DSN(), Schema: schema}
		must(t, Migrate(t.Context(), c))
		s.Do(t, grants(t, name, schema)...)
		t.Cleanup(func() {
			s.Do(t, `DROP SCHEMA `+schema+` CASCADE`, `DROP OWNED BY `+name, `DROP ROLE `+name)
		})
		role.Store(&name)
		c.DSN = strings.Replace(s.DSN(), "roam@", name+"@", 1)
		e, err := Open(t.Context(), here, c)
		must(t, err)
		t.Cleanup(func() { _ = e.Close() }) // never fails
		must(t, e.sweep(t.Context()))
		return e
	}, enginetest.Options{})
	if role.Load() == nil {
		t.Error("no role was made")
	}
}

// Each connection asks for a password of its own.
func TestPasswordsOfConnections(t *testing.T) {
	var asked atomic.Int64
	e := open(t, 1, Config{Password: func(context.Context) (string, error) {
		asked.Add(1)
		return "any", nil
	}})
	before := asked.Load()
	e.pool.Reset()
	if _, err := e.Head(t.Context()); err != nil || asked.Load() <= before {
		t.Errorf("Head over new connections = %v after %d passwords, want more than %d", err, asked.Load(), before)
	}
	refused := errors.New("no role")
	_, err := Open(t.Context(), 1, Config{DSN: e.config.DSN, Schema: e.config.Schema, Password: func(context.Context) (string, error) {
		return "", refused
	}})
	if !errors.Is(err, engine.ErrUnreachable) || !errors.Is(err, refused) {
		t.Errorf("Open without a password = %v, want ErrUnreachable and why", err)
	}
}

// Corrupt rows are told of, and left as they are.
func TestCorruptRows(t *testing.T) {
	e := open(t, 1, Config{})
	s := postgrestest.Use(t, shared)
	k := fill(t, e, 2)
	schema := e.config.Schema
	s.Do(t, `UPDATE `+schema+`.record SET state = '\x01ff'`)
	_, err := e.Read(t.Context(), k, crdt.Token{})
	if !errors.Is(err, engine.ErrCorrupt) {
		t.Errorf("Read = %v, want ErrCorrupt", err)
	}
	if _, err := e.Apply(t.Context(), k, crdt.Op{Destroy: true}); !errors.Is(err, engine.ErrCorrupt) || !engine.OutcomeKnown(err) {
		t.Errorf("Apply = %v, want ErrCorrupt", err)
	}
	if err := e.Scan(t.Context(), engine.EveryPartition, func(crdt.Record) bool { return true }); !errors.Is(err, engine.ErrCorrupt) {
		t.Errorf("Scan = %v, want ErrCorrupt", err)
	}
	if n := rows(t, e.store, "record", `state = '\x01ff'`); n != 1 {
		t.Errorf("%d rows are as they were, want the corrupt one", n)
	}
	s.Do(t, `UPDATE `+schema+`.log SET entry = '\xff'`)
	if err := e.Follow(t.Context(), engine.Positions{}, func(engine.Batch) error { return nil }); !errors.Is(err, engine.ErrCorrupt) {
		t.Errorf("Follow = %v, want ErrCorrupt", err)
	}
	s.Do(t, `UPDATE `+schema+`.partition SET eras = '\x01'`)
	if _, err := e.Head(t.Context()); !errors.Is(err, engine.ErrCorrupt) {
		t.Errorf("Head = %v, want ErrCorrupt", err)
	}
	s.Do(t, `DELETE FROM `+schema+`.partition`)
	if _, err := e.Read(t.Context(), k, crdt.Token{}); !errors.Is(err, engine.ErrCorrupt) {
		t.Errorf("Read without a row of its partition = %v, want ErrCorrupt", err)
	}
	if _, err := e.Apply(t.Context(), k, birth()); !errors.Is(err, engine.ErrCorrupt) {
		t.Errorf("Apply without a row of its partition = %v, want ErrCorrupt", err)
	}
}

// A new schema of a Region whose peers give back what it lost is refilled first.
func TestNewSchemaIsRefilled(t *testing.T) {
	e := open(t, 1, Config{Replicated: true})
	if lost, err := e.Lost(t.Context()); !lost || err != nil {
		t.Errorf("Lost of a new schema = %v, %v, want true", lost, err)
	}
	if _, err := e.Read(t.Context(), newKey(), crdt.Token{}); !errors.Is(err, engine.ErrRefilling) {
		t.Errorf("Read of a new schema = %v, want ErrRefilling", err)
	}
	if err := e.SetRefilling(t.Context(), false); !errors.Is(err, engine.ErrRefilling) {
		t.Errorf("SetRefilling(false) before it began = %v, want ErrRefilling", err)
	}
	must(t, e.SetRefilling(t.Context(), true))
	must(t, e.SetRefilling(t.Context(), false))
	other := open(t, 1, Config{DSN: e.config.DSN, Schema: e.config.Schema, Replicated: true})
	if lost, err := other.Lost(t.Context()); lost || err != nil {
		t.Errorf("Lost of a schema that was refilled = %v, %v, want false", lost, err)
	}
	if _, err := other.Read(t.Context(), newKey(), crdt.Token{}); err != nil {
		t.Errorf("Read of a schema that was refilled = %v, want no error", err)
	}
}
