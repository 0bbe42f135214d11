package opener

import (
	"context"
	"fmt"
	"time"

	"github.com/roam-sessions/roam/engine/postgres"
	"github.com/roam-sessions/roam/internal/topology"
)

// A Store is what was seen of where a Region keeps sessions.
type Store struct {
	// Seen says in a few words what it is.
	Seen string
	// Regions is how many have a copy of it; 0: nobody says.
	Regions int
	// Made tells a database or a cluster from others: two of one moment are one, or copies.
	// Zero where it has no schema, and of tables.
	Made time.Time
	// Took is how long it took to answer; ClockAhead, by how much its clock is before this
	// machine's, zero where its clock has no part in anything.
	Took, ClockAhead time.Duration
	Findings         []Finding
}

// A Finding is something about a store that should be otherwise.
type Finding struct {
	// Fatal: it is not opened so.
	Fatal bool
	// What is the matter, and how it is mended.
	What, Mend string
}

// Examine looks at a database of PostgreSQL, a cluster of Aurora DSQL or a table of
// DynamoDB, and changes nothing there. It fails if that can't be asked; errors of Missing
// say that what is needed for it is not on this machine.
func Examine(ctx context.Context, e topology.Engine, getenv func(string) string) (Store, error) {
	var server postgres.Server
	var err error
	var migrates bool
	switch {
	case e.Dynamo != nil:
		return examineTable(ctx, e.Dynamo)
	case e.DSQL != nil && e.DSQL.IsLocal():
		to := dsqlConfig(e.DSQL)
		to.DSN = localDSN(e.DSQL)
		server, err = postgres.ExamineDSQL(ctx, to)
		migrates = e.DSQL.Migrate
	case e.DSQL != nil:
		server, err = examineCluster(ctx, e.DSQL)
		migrates = e.DSQL.Migrate
	case e.Postgres != nil:
		var to postgres.Config
		if to, err = PostgresConfig(e.Postgres, getenv); err != nil {
			return Store{}, Missing{err}
		}
		server, err = postgres.Examine(ctx, to)
		migrates = e.Postgres.Migrate
	default:
		return Store{}, fmt.Errorf("nothing looks at an engine of kind %q so", e.Kind())
	}
	if err != nil {
		return Store{}, err
	}
	return storeOf(server, migrates), nil
}

// A Missing is something that is not on this machine, and may be where the node runs.
type Missing struct{ error }

// Unwrap returns what it is.
func (m Missing) Unwrap() error { return m.error }

// storeOf returns what a database said of itself.
func storeOf(s postgres.Server, migrates bool) Store {
	out := Store{Seen: s.Version, Took: s.Took, ClockAhead: s.ClockAhead, Made: s.Made}
	for _, f := range s.Findings {
		out.Findings = append(out.Findings, Finding(f))
	}
	if s.Standby {
		out.Findings = append(out.Findings, Finding{
			Fatal: true, What: "it is a standby, and takes no writes", Mend: "have its address lead to the primary, or promote it",
		})
	}
	switch {
	case s.Schema > 0:
	case migrates:
		out.Findings = append(out.Findings, Finding{What: "it has no schema yet", Mend: "start a node or an application here: the first that connects makes it"})
	default:
		out.Findings = append(out.Findings, Finding{Fatal: true, What: "it has no schema", Mend: "write migrate: true, or make it by postgres.Migrate as who owns the database"})
	}
	return out
}
