package check

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/roam-sessions/roam/internal/opener"
	"github.com/roam-sessions/roam/internal/topology"
)

// A stored is a database or a cluster that answered.
type stored struct {
	region, part, at, kind string
	made                   time.Time // zero: it has no schema
}

// examine looks at a database, a cluster of Aurora DSQL or a table of DynamoDB.
func (l *looker) examine(ctx context.Context, part string, e topology.Engine) {
	at := placeOf(e)
	s, err := opener.Examine(ctx, e, l.o.Getenv)
	if missing := (opener.Missing{}); errors.As(err, &missing) {
		l.add(Row{State: Unknown, Part: part, Seen: at + ": it was not asked: " + err.Error(), Mend: "run it where the node runs"})
		return
	}
	if err != nil {
		l.add(Row{State: Fault, Part: part, Seen: at + ": " + err.Error(), Mend: "look whether it is there, whether this machine may reach it, and who asks"})
		return
	}
	l.add(judgeStore(l.d, part, at, e, s)...)
	l.store = &stored{l.region.Name, part, at, e.Kind(), s.Made}
}

// judgeStores judges what only several stores together show: no two places have one
// database, and all endpoints of Aurora DSQL are of one cluster.
func judgeStores(stores []stored) (out []Row) {
	for i, s := range stores {
		for _, before := range stores[:i] {
			if s.made.IsZero() || before.made.IsZero() || s.kind != before.kind {
				continue
			}
			row := Row{State: Fault, Region: s.region, Part: s.part}
			switch same := s.made.Equal(before.made); {
			case s.kind == "postgres" && same:
				row.Seen = fmt.Sprintf("%s: it is the %s of %s too, or a copy of that", s.at, before.part, before.region)
				row.Mend = "give each a database, or a schema, that was made for it: two that write as one lose sessions"
			case s.kind == "dsql" && !same:
				row.Seen = fmt.Sprintf("%s: it is of another cluster than the endpoint of %s: what is written in one does not get to the other", s.at, before.region)
				row.Mend = "peer the two, each with the other's ARN, and make the schema once"
			default:
				continue
			}
			out = append(out, row)
			break // one is enough
		}
	}
	return out
}

// placeOf tells where a store is.
func placeOf(e topology.Engine) string {
	switch {
	case e.Postgres != nil:
		return strings.Join(e.Postgres.Hosts, ", ") + "/" + e.Postgres.Database
	case e.DSQL != nil:
		return e.DSQL.Endpoint
	case e.Dynamo != nil && e.Dynamo.Endpoint != "":
		return fmt.Sprintf("table %s at %s", e.Dynamo.Table, e.Dynamo.Endpoint)
	case e.Dynamo != nil:
		return fmt.Sprintf("table %s in %s", e.Dynamo.Table, e.Dynamo.AWSRegion)
	}
	return e.Kind()
}

// judgeStore judges what a store at some place said of itself.
func judgeStore(d topology.Deployment, part, at string, e topology.Engine, s opener.Store) []Row {
	rows := []Row{{State: Good, Seen: fmt.Sprintf("%s: %s, answers in %v", at, kindOf(e, s.Seen), s.Took.Round(10*time.Microsecond))}}
	for _, f := range s.Findings {
		state := Warning
		if f.Fatal {
			state = Fault
		}
		rows = append(rows, Row{State: state, Seen: at + ": " + f.What, Mend: f.Mend})
	}
	if n := len(d.Regions); e.Dynamo != nil && e.Dynamo.Endpoint == "" && s.Regions > 0 && s.Regions < n {
		rows = append(rows, Row{
			State: Fault, Seen: fmt.Sprintf("%s: it has copies in %d Regions, and the file has %d: what is written in one does not get to all", at, s.Regions, n),
			Mend: "add replicas to the table, or name one Global Table in all Regions",
		})
	}
	// What the network took is no fault of the clock.
	if off := max(s.ClockAhead, -s.ClockAhead) - s.Took/2; off > clockWarning {
		state := Warning
		if off > clockFault {
			state = Fault
		}
		rows = append(rows, Row{
			State: state, Seen: fmt.Sprintf("%s: its clock is %v off this machine's", at, s.ClockAhead.Round(time.Millisecond)), Mend: clockMend(d),
		})
	}
	for i := range rows {
		rows[i].Part = part
	}
	return rows
}

// kindOf says what a store is: of PostgreSQL what was seen is its version.
func kindOf(e topology.Engine, seen string) string {
	if e.Postgres != nil {
		return "PostgreSQL " + seen
	}
	return seen
}
