package check

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/opener"
	"github.com/roam-sessions/roam/internal/topology"
)

func parsed(t *testing.T, text string) topology.Deployment {
	t.Helper()
	d, err := topology.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// What a store said of itself becomes rows, the grave ones faults.
func TestJudgeStore(t *testing.T) {
	d := parsed(t, `
version: 1
topology: active-active
regions:
  - {name: west, id: 1, engine: {dynamo: {table: sessions, aws_region: us-west-2}}, node: {http: "127.0.0.1:1"}}
  - {name: east, id: 2, engine: {dynamo: {table: sessions, aws_region: us-east-1}}, node: {http: "127.0.0.1:2"}}
`)
	table := d.Regions[0].Engine
	database := topology.Engine{Postgres: &topology.Postgres{Hosts: []string{"db:5432"}, Database: "app"}}
	for name, c := range map[string]struct {
		e     topology.Engine
		s     opener.Store
		state State
		seen  string
	}{
		"a table":           {table, opener.Store{Seen: "it is ACTIVE", Regions: 2, Took: time.Millisecond}, Good, "table sessions in us-west-2: it is ACTIVE, answers in 1ms"},
		"a database":        {database, opener.Store{Seen: "15.18", Took: time.Millisecond}, Good, "db:5432/app: PostgreSQL 15.18, answers in 1ms"},
		"one copy":          {table, opener.Store{Regions: 1}, Fault, "copies in 1 Regions, and the file has 2"},
		"nobody says":       {table, opener.Store{}, Good, "table sessions in us-west-2: "},
		"advice":            {table, opener.Store{Regions: 2, Findings: []opener.Finding{{What: "it deletes nothing", Mend: "turn it on"}}}, Warning, "it deletes nothing"},
		"unfit":             {table, opener.Store{Regions: 2, Findings: []opener.Finding{{Fatal: true, What: "its keys are others", Mend: "make one"}}}, Fault, "its keys are others"},
		"a clock":           {database, opener.Store{Took: time.Millisecond, ClockAhead: -2 * time.Second}, Warning, "its clock is -2s off"},
		"a wrong clock":     {database, opener.Store{Took: time.Millisecond, ClockAhead: time.Minute}, Fault, "its clock is 1m0s off"},
		"a slow network":    {database, opener.Store{Took: 10 * time.Second, ClockAhead: 4 * time.Second}, Good, "answers in 10s"},
		"an endpoint of it": {topology.Engine{Dynamo: &topology.Dynamo{Table: "t", Endpoint: "http://127.0.0.1:1"}}, opener.Store{Regions: 1}, Good, "table t at http://127.0.0.1:1"},
	} {
		rows := judgeStore(d, engineOf, placeOf(c.e), c.e, c.s)
		if Worst(rows) != c.state || !strings.Contains(rows[len(rows)-1].Seen, c.seen) || rows[0].Part != engineOf || c.state != Good && rows[len(rows)-1].Mend == "" {
			t.Errorf("%s: %+v, want %s that says %q", name, rows, c.state, c.seen)
		}
	}
}

// One database in two places is a fault, and so are two clusters.
func TestJudgeStores(t *testing.T) {
	first, second := time.UnixMicro(1), time.UnixMicro(2)
	in := func(region, kind string, made time.Time) stored { return stored{region, engineOf, "at", kind, made} }
	for name, c := range map[string]struct {
		stores []stored
		want   string // in the one row; empty: there is none
	}{
		"two databases":        {[]stored{in("west", "postgres", first), in("east", "postgres", second)}, ""},
		"one database":         {[]stored{in("west", "postgres", first), in("east", "postgres", second), in("north", "postgres", first)}, "it is the engine of west too, or a copy"},
		"no schemas":           {[]stored{in("west", "postgres", time.Time{}), in("east", "postgres", time.Time{})}, ""},
		"one cluster":          {[]stored{in("west", "dsql", first), in("east", "dsql", first)}, ""},
		"two clusters":         {[]stored{in("west", "dsql", first), in("east", "dsql", second)}, "of another cluster than the endpoint of west"},
		"a cluster without it": {[]stored{in("west", "dsql", first), in("east", "dsql", time.Time{})}, ""},
		"of two kinds":         {[]stored{in("west", "postgres", first), in("east", "dsql", first)}, ""},
	} {
		rows := judgeStores(c.stores)
		if c.want == "" && len(rows) > 0 || c.want != "" && (len(rows) != 1 || rows[0].State != Fault || !strings.Contains(rows[0].Seen, c.want) || rows[0].Mend == "") {
			t.Errorf("%s: %+v, want %q", name, rows, c.want)
		}
	}
}

// What this machine lacks to ask a database is no fault of that.
func TestPasswordOfADatabaseIsElsewhere(t *testing.T) {
	d := parsed(t, `
version: 1
topology: active-active
regions:
  - {name: west, id: 1, engine: {postgres: {host: 127.0.0.1, port: 1, database: app, user: u, password_file: none}}, node: {http: "127.0.0.1:1"}}
`).Under(filepath.Join(t.TempDir(), "away"))
	if rows := run(t, d); !has(rows, Unknown, "west", "engine", "it was not asked") || has(rows, Fault, "west", "engine", "") {
		t.Errorf("a password that is not here: %+v; want unknown", rows)
	}
	d.Regions[0].Engine.Postgres.PasswordFile = ""
	if rows := run(t, d); !has(rows, Fault, "west", "engine", "127.0.0.1:1/app: ") {
		t.Errorf("a database that is not there: %+v; want a fault", rows)
	}
}

// Where a database's address leads to is looked at as any other.
func TestNetworkOfADatabase(t *testing.T) {
	r := topology.Region{Engine: topology.Engine{Postgres: &topology.Postgres{Hosts: []string{"db:5432", "/run/postgresql:5432"}}}}
	if got := usesOf(r); len(got) != 1 || got[0].addr != "db:5432" {
		t.Errorf("usesOf = %v, want the one host that has a name", got)
	}
}
