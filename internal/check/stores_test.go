//go:build integration

package check

import (
	"fmt"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/engine/postgres"
	"github.com/roam-sessions/roam/internal/dynalitetest"
	"github.com/roam-sessions/roam/internal/postgrestest"
)

// Real stores are looked at, those that are well and those that are not.
func TestRealStores(t *testing.T) {
	dynalitetest.Sign(t)
	pg, forgets := postgrestest.Start(t), postgrestest.Start(t, "synchronous_commit=off")
	if err := postgres.Migrate(t.Context(), postgres.Config{DSN: pg.DSN()}); err != nil {
		t.Fatal(err)
	}
	rows := run(t, parsed(t, fmt.Sprintf(`
version: 1
topology: active-active
regions:
  - {name: west, id: 1, engine: {postgres: {url: "postgres://roam@%s/postgres"}}, node: {links: %q, http: %q}}
  - {name: east, id: 2, engine: {postgres: {url: "postgres://roam@%s/postgres"}}, side: {postgres: {url: "postgres://roam@%s/postgres", schema: side, migrate: true}}, node: {links: %q, http: %q}}
`, pg.Addr(), freeAddr(t), freeAddr(t), forgets.Addr(), pg.Addr(), freeAddr(t), freeAddr(t))))
	for _, want := range []struct {
		state              State
		region, part, seen string
	}{
		{Good, "west", "engine", "/postgres: PostgreSQL 1"},
		{Warning, "east", "engine", "synchronous_commit is off"},
		{Fault, "east", "engine", "it has no schema"},
		{Warning, "east", "side store", "it has no schema yet"},
	} {
		if !has(rows, want.state, want.region, want.part, want.seen) {
			t.Errorf("%+v is not among %+v", want, rows)
		}
	}
	if has(rows, Fault, "west", "engine", "") {
		t.Errorf("a database that is well has a fault: %+v", rows)
	}

	dynalite := dynalitetest.Start(t, "")
	dynalite.Table("sessions")
	rows = run(t, parsed(t, fmt.Sprintf(`
version: 1
topology: active-active
regions:
  - {name: west, id: 1, engine: {dynamo: {table: sessions, aws_region: us-west-2, endpoint: %q}}, node: {http: %q}}
  - {name: east, id: 2, engine: {dynamo: {table: sessions, aws_region: us-east-1, endpoint: "http://127.0.0.1:1"}}, node: {http: %q}}
`, dynalite.Endpoint(), freeAddr(t), freeAddr(t))))
	if !has(rows, Good, "west", "engine", "it is ACTIVE") || !has(rows, Fault, "east", "engine", "table sessions at http://127.0.0.1:1: ") || has(rows, Good, "west", "links", "") {
		t.Errorf("a table, and none: %+v", rows)
	}

	rows = run(t, parsed(t, fmt.Sprintf(`
version: 1
topology: active-active
regions:
  - {name: west, id: 1, engine: {dsql: {endpoint: %q, user: roam}}, node: {http: %q}}
`, postgrestest.NewDSQL(t, forgets).Addr(), freeAddr(t))))
	if !has(rows, Good, "west", "engine", "Aurora DSQL, answers in ") || !has(rows, Fault, "west", "engine", "it has no schema") {
		t.Errorf("a cluster without a schema: %+v", rows)
	}
}

// One database by two names is found, and clusters that have nothing of each other.
func TestStoresThatAreOneOrTwo(t *testing.T) {
	pg, other := postgrestest.Start(t), postgrestest.Start(t)
	if err := postgres.Migrate(t.Context(), postgres.Config{DSN: pg.DSN()}); err != nil {
		t.Fatal(err)
	}
	rows := run(t, parsed(t, fmt.Sprintf(`
version: 1
topology: active-active
regions:
  - {name: west, id: 1, engine: {postgres: {url: "postgres://roam@%s/postgres"}}, node: {links: %q, http: %q}}
  - {name: east, id: 2, engine: {postgres: {url: "postgres://roam@%s/postgres"}}, node: {links: %q, http: %q}}
`, pg.Addr(), freeAddr(t), freeAddr(t), strings.Replace(pg.Addr(), "127.0.0.1", "localhost", 1), freeAddr(t), freeAddr(t))))
	if !has(rows, Fault, "east", "engine", "it is the engine of west too") {
		t.Errorf("one database of two Regions: %+v", rows)
	}
	a, b := postgrestest.NewDSQL(t, pg), postgrestest.NewDSQL(t, other)
	for _, d := range []*postgrestest.DSQL{a, b} {
		if err := postgres.MigrateDSQL(t.Context(), postgres.Config{DSN: d.DSN(), Schema: "cluster"}); err != nil {
			t.Fatal(err)
		}
	}
	two := func(d *postgrestest.DSQL) []Row {
		return run(t, parsed(t, fmt.Sprintf(`
version: 1
topology: active-active
regions:
  - {name: west, id: 1, engine: {dsql: {endpoint: %q, user: roam, schema: cluster}}, node: {http: %q}}
  - {name: east, id: 2, engine: {dsql: {endpoint: %q, user: roam, schema: cluster}}, node: {http: %q}}
`, a.Addr(), freeAddr(t), d.Addr(), freeAddr(t))))
	}
	if rows := two(b); !has(rows, Fault, "east", "engine", "another cluster") {
		t.Errorf("two clusters: %+v", rows)
	}
	if rows := two(postgrestest.NewDSQL(t, pg)); has(rows, Fault, "east", "engine", "") {
		t.Errorf("two endpoints of one cluster: %+v", rows)
	}
}
