//go:build integration

package opener

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/postgres"
	"github.com/roam-sessions/roam/internal/dynalitetest"
	"github.com/roam-sessions/roam/internal/fault"
	"github.com/roam-sessions/roam/internal/postgrestest"
	"github.com/roam-sessions/roam/internal/topology"
)

func onPostgres(s *postgrestest.Server) *topology.Postgres {
	return &topology.Postgres{Hosts: []string{s.Addr()}, Database: "postgres", User: "roam", Schema: "roam", Migrate: true}
}

func onDSQL(s *postgrestest.DSQL) *topology.DSQL {
	return &topology.DSQL{Endpoint: s.Addr(), User: "roam", Migrate: true}
}

func onDynamo(s *dynalitetest.Server, table string) *topology.Dynamo {
	return &topology.Dynamo{Table: table, AWSRegion: dynalitetest.Region, Endpoint: s.Endpoint()}
}

// birth makes a session in an engine, and returns its key.
func birth(t *testing.T, e engine.Engine) crdt.Key {
	t.Helper()
	now := crdt.TimeOf(time.Now())
	k := crdt.SessionKey(crdt.NewSessionID(now.Add(time.Hour), 1, crdt.IDEntropy{1, byte(now)}))
	op := crdt.Op{Stamp: now.Stamp() + 1, Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}}
	if _, err := e.Apply(t.Context(), k, op); err != nil {
		t.Fatalf("a birth = %v, want nil", err)
	}
	return k
}

// powers are those that nodes look for.
func powers(e engine.Engine) (log, sink, refills bool) {
	_, log = engine.As[engine.Log](e)
	_, sink = engine.As[engine.Sink](e)
	_, refills = engine.As[engine.Refiller](e)
	return log, sink, refills
}

// Every kind of store is opened as a file describes it, keeps a session for who opens it
// again, and is looked at without anything being changed.
func TestOpenEachStore(t *testing.T) {
	dynalitetest.Sign(t)
	pg, dynalite := postgrestest.Start(t), dynalitetest.Start(t, "")
	dynalite.Table("sessions")
	for name, c := range map[string]struct {
		e    topology.Engine
		logs bool
		seen string
	}{
		"postgres": {topology.Engine{Postgres: onPostgres(pg)}, true, "1"},
		"dsql":     {topology.Engine{DSQL: onDSQL(postgrestest.NewDSQL(t, pg))}, false, "Aurora DSQL"},
		"dynamo":   {topology.Engine{Dynamo: onDynamo(dynalite, "sessions")}, false, "ACTIVE"},
	} {
		if c.e.DSQL != nil {
			c.e.DSQL.Schema = "cluster"
		}
		e, err := Open(t.Context(), 1, c.e, Config{})
		if err != nil {
			t.Errorf("%s: Open = %v, want nil", name, err)
			continue
		}
		k := birth(t, e)
		if log, sink, refills := powers(e); log != c.logs || sink != c.logs || refills != c.logs {
			t.Errorf("%s: log %t, sink %t, refills %t; want %t", name, log, sink, refills, c.logs)
		}
		if err := e.Close(); err != nil {
			t.Errorf("%s: Close = %v, want nil", name, err)
		}
		wantKept(t, name, c.e, k)
		s, err := Examine(t.Context(), c.e, os.Getenv)
		if err != nil || !strings.Contains(s.Seen, c.seen) || s.Took <= 0 {
			t.Errorf("%s: Examine = %+v, %v; want that it says %q", name, s, err, c.seen)
		}
		for _, f := range s.Findings {
			if f.Fatal || f.Mend == "" {
				t.Errorf("%s: a store that works has a finding %+v", name, f)
			}
		}
	}
}

// wantKept wants a session to be there for who opens a store again.
func wantKept(t *testing.T, name string, e topology.Engine, k crdt.Key) {
	t.Helper()
	again, err := Open(t.Context(), 2, e, Config{})
	if err != nil {
		t.Fatalf("%s: Open again = %v, want nil", name, err)
	}
	if r, err := again.Read(t.Context(), k, crdt.Token{}); err != nil || r.IsBottom() {
		t.Errorf("%s: Read by who opened it again = %v, %v; want the session", name, r, err)
	}
	_ = again.Close() // never fails
}

// What is wrong with a store is said by who looks at it, and refused by who opens it.
func TestWhatIsWrongWithAStore(t *testing.T) {
	dynalitetest.Sign(t)
	pg, dynalite := postgrestest.Start(t, "synchronous_commit=off"), dynalitetest.Start(t, "")
	standby := postgrestest.StartStandby(t, pg)
	if err := dynalite.Call(t.Context(), "CreateTable", map[string]any{
		"TableName": "other", "BillingMode": "PAY_PER_REQUEST",
		"AttributeDefinitions": []any{map[string]string{"AttributeName": "id", "AttributeType": "S"}},
		"KeySchema":            []any{map[string]string{"AttributeName": "id", "KeyType": "HASH"}},
	}, nil); err != nil {
		t.Fatal(err)
	}
	unmade := onPostgres(pg)
	unmade.Migrate = false
	later := onPostgres(pg)
	cluster := onDSQL(postgrestest.NewDSQL(t, pg))
	cluster.Migrate = false
	for name, c := range map[string]struct {
		e     topology.Engine
		what  string
		fatal bool
	}{
		"forgets":            {topology.Engine{Postgres: later}, "synchronous_commit is off", false},
		"no schema yet":      {topology.Engine{Postgres: later}, "it has no schema yet", false},
		"no schema":          {topology.Engine{Postgres: unmade}, "it has no schema", true},
		"cluster without":    {topology.Engine{DSQL: cluster}, "it has no schema", true},
		"standby":            {topology.Engine{Postgres: onPostgres(standby)}, "it is a standby", true},
		"a table of another": {topology.Engine{Dynamo: onDynamo(dynalite, "other")}, "its keys are others", true},
	} {
		s, err := Examine(t.Context(), c.e, os.Getenv)
		found := false
		for _, f := range s.Findings {
			found = found || f.Fatal == c.fatal && strings.Contains(f.What, c.what) && f.Mend != ""
		}
		if err != nil || !found {
			t.Errorf("%s: Examine = %+v, %v; want a finding that says %q", name, s, err, c.what)
		}
		if c.fatal {
			if e, err := Open(t.Context(), 1, c.e, Config{}); err == nil {
				t.Errorf("%s: Open = nil, want that it is refused", name)
				_ = e.Close()
			}
		}
	}
	if pg.Text(t, "SELECT count(*) FROM pg_namespace WHERE nspname = 'roam'") != "0" {
		t.Error("who looked made a schema")
	}
	if _, err := Examine(t.Context(), topology.Engine{Dynamo: onDynamo(dynalite, "none")}, os.Getenv); err == nil {
		t.Error("Examine of no table = nil, want an error")
	}
	secret := onPostgres(pg)
	secret.PasswordFile = filepath.Join(t.TempDir(), "none")
	if _, err := Examine(t.Context(), topology.Engine{Postgres: secret}, os.Getenv); !errors.As(err, new(Missing)) {
		t.Errorf("Examine without the file of the password = %v, want Missing", err)
	}
}

// A server that nodes give back what it loses is refilled when it is new.
func TestReplicatedIsPassedOn(t *testing.T) {
	for replicated, want := range map[bool]error{false: nil, true: engine.ErrRefilling} {
		e, err := Open(t.Context(), 1, topology.Engine{Postgres: onPostgres(postgrestest.Start(t))}, Config{Replicated: replicated})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Read(t.Context(), crdt.UserKey("ann"), crdt.Token{}); !errors.Is(err, want) {
			t.Errorf("Read of a new database, replicated %t, = %v, want %v", replicated, err, want)
		}
		_ = e.Close() // never fails
	}
}

// What a file says that is not of AWS wants no tokens and is asked as a cluster is.
func TestLocalClusterConflicts(t *testing.T) {
	d := postgrestest.NewDSQL(t, postgrestest.Start(t))
	e, err := Open(t.Context(), 1, topology.Engine{DSQL: onDSQL(d)}, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }() // never fails
	if _, ok := e.(*postgres.DSQL); !ok {
		t.Fatalf("Open = %T, want an engine of DSQL", e)
	}
	d.Conflicts.Store(300)
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, err := e.Apply(ctx, crdt.UserKey("ann"), crdt.Op{Revoke: true})
		cancel()
		if err != nil && !errors.Is(err, engine.ErrUnreachable) {
			t.Errorf("Apply among conflicts = %v, want nil, or that nothing was written", err)
		}
	}
	if d.Undone.Load() == 0 {
		t.Error("no commit was undone: it is no cluster that was asked")
	}
}

// A first write to a database of another Region takes the two round trips that any later
// one does: nothing is prepared for it, which would take two more, and be given up.
func TestFarDatabaseIsWrittenInTwoRoundTrips(t *testing.T) {
	const oneWay = 100 * time.Millisecond
	pg, net := postgrestest.Start(t), fault.NewNet(1)
	for _, way := range [][2]string{{"here", "there"}, {"there", "here"}} {
		net.SetLink(way[0], way[1], fault.Calls, fault.Link{Delay: oneWay})
	}
	if err := postgres.Migrate(t.Context(), postgres.Config{DSN: pg.DSN()}); err != nil {
		t.Fatal(err)
	}
	proxy, err := net.Proxy(t.Context(), "here", "there", fault.Calls, pg.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = proxy.Close() }() // the test is over
	to := onPostgres(pg)
	to.Hosts, to.Migrate = []string{proxy.Addr()}, false
	e, err := Open(t.Context(), 1, topology.Engine{Postgres: to}, Config{Far: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }() // never fails
	begun := time.Now()
	birth(t, e)
	if took := time.Since(begun); took < 4*oneWay || took > 6*oneWay {
		t.Errorf("the first write took %v, want two round trips of %v", took, 2*oneWay)
	}
}
