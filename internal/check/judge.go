package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/pki"
	"github.com/roam-sessions/roam/internal/topology"
)

// A State is what is to be said of something.
type State string

// The states, the worst last.
const (
	Good    State = "ok"
	Unknown State = "unknown" // it could not be looked at
	Warning State = "warn"
	Fault   State = "FAULT"
)

// What a Region keeps sessions in, as rows call it.
const (
	engineOf = "engine"
	sideOf   = "side store"
)

// A Row is one thing that was looked at.
type Row struct {
	State  State  `json:"state"`
	Region string `json:"region"` // empty: all of them
	Part   string `json:"part"`   // engine, side store, links or node
	Seen   string `json:"seen"`
	Mend   string `json:"mend,omitempty"`
}

const (
	// clockWarning and clockFault are how wrong a clock may be. Stamps follow it, so a
	// write by a slow one loses to what was written before; beyond a minute it would
	// be refused.
	clockWarning = time.Second
	clockFault   = 5 * time.Second
)

// judgeServers judges what the servers of a Region's engine, or of its side store,
// said of themselves.
func judgeServers(part string, servers []valkey.Server) (out []Row) {
	for _, s := range servers {
		out = append(out, judgeServer(part, s)...)
	}
	return out
}

func judgeServer(part string, s valkey.Server) (out []Row) {
	role := "primary"
	if s.Follows != "" {
		role = "replica of " + s.Follows
	}
	rows := []Row{{State: Good, Seen: fmt.Sprintf("%s: %s, %s, answers in %v", s.Addr, s.Version, role, s.Took.Round(10*time.Microsecond))}}
	for _, f := range s.Findings {
		state := Warning
		if f.Fatal {
			state = Fault
		}
		rows = append(rows, Row{State: state, Seen: s.Addr + ": " + f.What, Mend: f.Mend})
	}
	// What the network took is no fault of the clock.
	if off := max(s.ClockAhead, -s.ClockAhead) - s.Took/2; off > clockWarning {
		state := Warning
		if off > clockFault {
			state = Fault
		}
		rows = append(rows, Row{
			State: state, Seen: fmt.Sprintf("%s: its clock is %v off this machine's", s.Addr, s.ClockAhead.Round(time.Millisecond)),
			Mend: "have both follow one source of time, with chrony or what the cloud offers",
		})
	}
	if !s.Functions {
		rows = append(rows, Row{
			State: Warning, Seen: s.Addr + ": it has not got this version's functions",
			Mend: "start a node or an application here: the first that connects loads them",
		})
	}
	if s.Follows != "" && !s.Linked {
		rows = append(rows, Row{
			State: Fault, Seen: s.Addr + ": it does not hear of its primary, " + s.Follows,
			Mend: "look at the network between the two, and at the replica's log",
		})
	}
	for i := range rows {
		rows[i].Part = part
	}
	return rows
}

// A place is where a Region keeps something, and what its servers said.
type place struct {
	region, part string
	servers      []valkey.Server
}

// judgeTogether judges what only several places together show.
func judgeTogether(d topology.Deployment, places []place) []Row {
	if d.Topology == topology.ActiveActive || d.Pushes() {
		return append(judgeShared(places), judgeWriters(places)...)
	}
	// Engines there are one replication, and meant to be.
	sides := slices.DeleteFunc(slices.Clone(places), func(at place) bool { return at.part == engineOf })
	return slices.Concat(judgeFollowers(d, places), judgeShared(sides), judgeWriters(sides))
}

// judgeShared: no two places have one server, nor a server and a replica of it.
func judgeShared(places []place) (out []Row) {
	owner := map[string]place{}
	for _, at := range places {
		for _, s := range at.servers {
			other, taken := owner[s.Replication]
			switch {
			case s.Replication == "": // it does not tell
			case !taken:
				owner[s.Replication] = at
			case other.region != at.region || other.part != at.part:
				out = append(out, Row{
					State: Fault, Region: at.region, Part: at.part,
					Seen: fmt.Sprintf("%s: it is the %s of %s too, or a replica of that", s.Addr, other.part, other.region),
					Mend: "give each a server of its own: two that write as one, or what another overwrites, lose sessions",
				})
			}
		}
	}
	return out
}

// judgeWriters: where a place answers, a server there takes writes.
func judgeWriters(places []place) (out []Row) {
	for _, at := range places {
		if len(at.servers) == 0 || slices.ContainsFunc(at.servers, func(s valkey.Server) bool { return s.Follows == "" }) {
			continue
		}
		out = append(out, Row{
			State: Fault, Region: at.region, Part: at.part, Seen: at.servers[0].Addr + ": it is a replica, and takes no writes",
			Mend: "have its address lead to the primary, or promote it (REPLICAOF NO ONE)",
		})
	}
	return out
}

// enginesOf returns the servers of engines by Region.
func enginesOf(places []place) map[string][]valkey.Server {
	out := map[string][]valkey.Server{}
	for _, at := range places {
		if at.part == engineOf {
			out[at.region] = at.servers
		}
	}
	return out
}

// judgeFollowers: where the servers replicate by themselves, one is the primary and
// the others are a part of its replication.
func judgeFollowers(d topology.Deployment, places []place) (out []Row) {
	servers := enginesOf(places)
	var primary []string
	for _, s := range servers[d.Primary] {
		if s.Follows == "" {
			primary = append(primary, s.Replication)
		}
	}
	if len(servers[d.Primary]) > 0 && len(primary) == 0 {
		out = append(out, Row{
			State: Fault, Region: d.Primary, Part: "engine", Seen: "it is to take all writes, and its server is a replica",
			Mend: "promote it (REPLICAOF NO ONE), or name the right Region as primary",
		})
	}
	for _, name := range d.Names() {
		for _, s := range servers[name] {
			switch {
			case name == d.Primary:
			case s.Follows == "":
				out = append(out, Row{
					State: Fault, Region: name, Part: "engine", Seen: s.Addr + ": it follows nobody, and shows what it had then",
					Mend: "have it follow the primary's server (REPLICAOF)",
				})
			case len(primary) > 0 && !slices.Contains(primary, s.Replication):
				out = append(out, Row{
					State: Fault, Region: name, Part: "engine",
					Seen: fmt.Sprintf("%s: it follows %s, which is no part of the replication of %s", s.Addr, s.Follows, d.Primary),
					Mend: "have it follow the primary's server (REPLICAOF)",
				})
			}
		}
	}
	return out
}

// judgeHealth judges what a node says of itself.
func judgeHealth(ready bool, why, warnings []string) []Row {
	if !ready {
		return []Row{{State: Fault, Part: "node", Seen: "it is not ready: " + strings.Join(why, "; "), Mend: "look at its log"}}
	}
	rows := []Row{{State: Good, Part: "node", Seen: "it is ready"}}
	for _, w := range warnings {
		rows = append(rows, Row{State: Warning, Part: "node", Seen: w, Mend: "look at its log, and at /readyz"})
	}
	return rows
}

// judgeExpiry judges when a certificate ends.
func judgeExpiry(until, now time.Time) []Row {
	left := until.Sub(now)
	row := Row{State: Good, Part: "links", Seen: "proves its Region, until " + until.Format(time.DateOnly)}
	if left < pki.ExpirySoon {
		row.State, row.Mend = Warning, "renew it: roam pki init --renew"
	}
	return []Row{row}
}

// Worst returns the worst state of some rows; Good if there are none.
func Worst(rows []Row) State {
	order := []State{Good, Unknown, Warning, Fault}
	worst := 0
	for _, r := range rows {
		worst = max(worst, slices.Index(order, r.State))
	}
	return order[worst]
}
