package postgres

import (
	"reflect"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/internal/postgrestest"
)

// texts returns the statements of a struct by their names.
func texts(of any) map[string]string {
	out := map[string]string{}
	v := reflect.ValueOf(of)
	for i := range v.NumField() {
		out[v.Type().Field(i).Name] = v.Field(i).String()
	}
	return out
}

// Every statement of the dialect is held against what DSQL refuses, in the transactions
// that it is sent in.
func TestDSQLTakesOurStatements(t *testing.T) {
	d := newDsqlTexts("roam")
	q := quoter("roam")
	transactions := [][]string{
		{d.begin, d.stored, d.insert, commitText},
		{d.begin, d.stored, d.update, commitText},
		{d.begin, d.stored, rollbackText},
		{d.read},
		{q(scanText)},
		{d.clock},
		{d.sweep},
		{d.put},
		{d.actor},
		{d.newActor},
		{schemaExistsText},
		{q(createSchemaText)},
		{q(createTableText)},
		{q(versionText)},
		{q(appliedText)},
	}
	for _, one := range dsql.statements("roam") {
		for _, text := range one {
			transactions = append(transactions, []string{text})
		}
	}
	seen := map[string]bool{}
	for _, one := range transactions {
		var s postgrestest.Session
		for _, text := range one {
			seen[text] = true
			if err := s.Statement(text); err != nil {
				t.Errorf("DSQL would refuse: %v", err)
			}
		}
	}
	for name, text := range texts(d) {
		if text == "" || !seen[text] {
			t.Errorf("statement %s is not tried: %q", name, text)
		}
	}
}

// What PostgreSQL alone can do is seen: the checker is no yes-man.
func TestDSQLRefusesPostgresStatements(t *testing.T) {
	p := texts(newPgTexts("roam"))
	for _, name := range []string{"begin", "lock", "lockOnly", "sweeper", "notify", "listen", "states", "sweep", "refilling", "put"} {
		var s postgrestest.Session
		if err := s.Statement(p[name]); err == nil {
			t.Errorf("statement %s passes, and DSQL would refuse it: %q", name, p[name])
		}
	}
	refused := 0
	for _, text := range pg.statements("roam")[0] {
		var s postgrestest.Session
		if err := s.Statement(text); err != nil {
			refused++
		}
	}
	if refused < 3 {
		t.Errorf("%d statements of PostgreSQL's migration are refused, want most", refused)
	}
}

func TestSchemaIsInEveryStatement(t *testing.T) {
	for _, of := range []any{newPgTexts("other"), newDsqlTexts("other")} {
		for name, text := range texts(of) {
			if strings.Contains(text, "{s}") || strings.Contains(text, "FROM record") {
				t.Errorf("statement %s has no schema: %q", name, text)
			}
		}
	}
	for _, d := range []dialect{pg, dsql} {
		all := d.statements("other")
		if len(all) == 0 || len(all[0]) < 3 {
			t.Errorf("dialect %d has migrations %q", d, all)
		}
		for _, text := range all[0] {
			if !strings.Contains(text, `"other".`) || strings.HasSuffix(text, ";") || strings.Contains(text, "--") {
				t.Errorf("statement of dialect %d: %q, want one with the schema", d, text)
			}
		}
	}
}
