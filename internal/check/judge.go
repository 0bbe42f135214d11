package check

import (
	"cmp"
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
	Region string `json:"region"` // or a witness; empty: all of them
	Part   string `json:"part"`   // engine, side store, links, node, network, control or names
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
func judgeServers(d topology.Deployment, part string, servers []valkey.Server) (out []Row) {
	for _, s := range servers {
		out = append(out, judgeServer(d, part, s)...)
	}
	return out
}

func judgeServer(d topology.Deployment, part string, s valkey.Server) (out []Row) {
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
	limit := clockFault
	if part == engineOf { // a side store holds no lease
		limit = clockLimit(d)
	}
	// What the network took is no fault of the clock.
	if off := max(s.ClockAhead, -s.ClockAhead) - s.Took/2; off > min(clockWarning, limit) {
		state := Warning
		if off > limit {
			state = Fault
		}
		rows = append(rows, Row{
			State: state, Seen: fmt.Sprintf("%s: its clock is %v off this machine's", s.Addr, s.ClockAhead.Round(time.Millisecond)),
			Mend: clockMend(d),
		})
	}
	if part == engineOf && d.Leases() && s.Forgets {
		rows = append(rows, Row{
			State: Warning, Seen: s.Addr + ": it keeps nothing on disk: it starts empty after a crash, its followers copy that, and only what its node's spool has comes back",
			Mend: "set appendonly yes, or do not have it start by itself",
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

// A place is where a Region keeps something, how it is reached, and what its servers
// said.
type place struct {
	region, part string
	config       valkey.Config
	servers      []valkey.Server
	whole        bool // all of them answered
}

// judgeTogether judges what only several places together show. Primary is the Region that
// is to take all writes, where servers replicate by themselves; empty: nobody says.
func judgeTogether(d topology.Deployment, places []place, primary string) []Row {
	if d.Topology == topology.ActiveActive || d.Pushes() {
		return slices.Concat(judgeShared(places, false), judgeWriters(places), judgeShards(places, Warning))
	}
	sides := slices.DeleteFunc(slices.Clone(places), func(at place) bool { return at.part == engineOf })
	return slices.Concat(judgeFollowers(d, places, primary), judgeShared(places, true), judgeWriters(sides), judgeShards(places, Fault))
}

// judgeShards: the clusters of all Regions have as many shards. Where servers replicate by
// themselves, shard by shard, it is a fault if they have not.
func judgeShards(places []place, otherwise State) []Row {
	var counts []int
	var said []string
	for _, at := range places {
		if at.part != engineOf || !at.whole || len(at.servers) == 0 || !at.servers[0].Cluster {
			continue
		}
		// All servers of a shard are one replication, also where all follow another Region's.
		shards := map[string]bool{}
		for _, s := range at.servers {
			if s.Replication != "" || s.Follows == "" {
				shards[cmp.Or(s.Replication, s.Addr)] = true
			}
		}
		counts = append(counts, len(shards))
		said = append(said, fmt.Sprintf("%s has %d", at.region, len(shards)))
	}
	slices.Sort(counts)
	if len(slices.Compact(counts)) < 2 {
		return nil
	}
	return []Row{{
		State: otherwise, Part: engineOf, Seen: "clusters have different numbers of shards: " + list(said),
		Mend: "give each as many: what one shard takes in a Region, one takes in the others",
	}}
}

// judgeShared: no two places have one server, nor a server and a replica of it; but for
// engines, where they are one replication and meant to be.
func judgeShared(places []place, oneEngine bool) (out []Row) {
	owner := map[string]place{}
	for _, at := range places {
		for _, s := range at.servers {
			other, taken := owner[s.Replication]
			switch {
			case s.Replication == "": // it does not tell
			case !taken:
				owner[s.Replication] = at
			case oneEngine && other.part == engineOf && at.part == engineOf:
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

// soleWriter returns the one Region whose engine has a server that follows nobody, and
// where there are others all of them.
func soleWriter(d topology.Deployment, servers map[string][]valkey.Server) (sole string, all []string) {
	for _, name := range d.Names() {
		if slices.ContainsFunc(servers[name], func(s valkey.Server) bool { return s.Follows == "" }) {
			all = append(all, name)
		}
	}
	if len(all) == 1 {
		return all[0], all
	}
	return "", all
}

// judgeFollowers: where the servers replicate by themselves, one is the primary and
// the others are a part of its replication.
func judgeFollowers(d topology.Deployment, places []place, of string) (out []Row) {
	promote, follow := "promote it (REPLICAOF NO ONE), or name the right Region as primary", "have it follow the primary's server (REPLICAOF)"
	if d.Leases() {
		promote = "its node steers it, not you: look at that one's log, and whether it reaches its server"
		follow = promote
	}
	servers := enginesOf(places)
	if of == "" {
		var all []string
		switch of, all = soleWriter(d, servers); {
		case len(all) > 1:
			return []Row{{
				State: Fault, Part: engineOf, Seen: "the servers of " + list(all) + " follow nobody, and which of them is the primary nobody says",
				Mend: "bring the control plane back: it steers them",
			}}
		case len(all) == 0 && !slices.ContainsFunc(d.Names(), func(name string) bool { return len(servers[name]) == 0 }):
			return []Row{{State: Fault, Part: engineOf, Seen: "all servers are replicas: no Region takes writes", Mend: "bring the control plane back: it steers them"}}
		}
	}
	var primary []string
	for _, s := range servers[of] {
		if s.Follows == "" {
			primary = append(primary, s.Replication)
		}
	}
	if len(servers[of]) > 0 && len(primary) == 0 {
		out = append(out, Row{State: Fault, Region: of, Part: engineOf, Seen: "it is to take all writes, and its server is a replica", Mend: promote})
	}
	for _, name := range d.Names() {
		for _, s := range servers[name] {
			switch {
			case name == of:
			case s.Follows == "":
				out = append(out, Row{State: Fault, Region: name, Part: engineOf, Seen: s.Addr + ": it follows nobody, and shows what it had then", Mend: follow})
			case len(primary) > 0 && !slices.Contains(primary, s.Replication):
				out = append(out, Row{
					State: Fault, Region: name, Part: engineOf,
					Seen: fmt.Sprintf("%s: it follows %s, which is no part of the replication of %s", s.Addr, s.Follows, of), Mend: follow,
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

// judgeExpiry judges when a certificate ends, of which seen says what it is for.
func judgeExpiry(part, seen, mend string, until, now time.Time) Row {
	row := Row{State: Good, Part: part, Seen: seen + " until " + until.Format(time.DateOnly)}
	switch left := until.Sub(now); {
	case left <= 0:
		row.State, row.Mend = Fault, mend
	case left < pki.ExpirySoon:
		row.State, row.Mend = Warning, mend
	}
	return row
}

// A distance is how far a server is behind the one that it follows.
type distance struct {
	region, part string
	addr, of     string
	// age is how old that is at most of which it has all, or of which it lacks so many
	// bytes.
	age   time.Duration
	lacks int64
	err   error // it could not be measured
}

// behindWarning is how old what a replica has may be: what crosses an ocean takes a
// quarter of a second, and a busy server another.
const behindWarning = time.Second

func judgeDistance(d distance) Row {
	row := Row{Region: d.region, Part: d.part}
	age := d.age.Round(time.Millisecond)
	switch {
	case d.err != nil:
		row.State, row.Seen = Unknown, fmt.Sprintf("%s: how far it is behind %s was not found out: %v", d.addr, d.of, d.err)
		row.Mend = "run it again, with more --timeout"
	case d.lacks > 0:
		row.State, row.Seen = Warning, fmt.Sprintf("%s: it lacks %d bytes of what %s had %v ago", d.addr, d.lacks, d.of, age)
		row.Mend = "look at the network between the two, and at how busy they are"
	case d.age > behindWarning:
		row.State, row.Seen = Warning, fmt.Sprintf("%s: it is %v behind %s", d.addr, age, d.of)
		row.Mend = "look at the network between the two, and at how busy they are"
	default:
		row.State, row.Seen = Good, fmt.Sprintf("%s: it has what %s had %v ago", d.addr, d.of, age)
	}
	return row
}

// A pair is a server that follows another one, with how both are reached.
type pair struct {
	at, of           place
	follower, leader valkey.Server
}

// pairsOf returns who follows whom of the servers that answered.
func pairsOf(places []place) (out []pair) {
	leaders := map[string]pair{}
	for _, at := range places {
		for _, s := range at.servers {
			if _, taken := leaders[s.Replication]; s.Follows == "" && s.Replication != "" && !taken {
				leaders[s.Replication] = pair{of: at, leader: s}
			}
		}
	}
	for _, at := range places {
		for _, s := range at.servers {
			if p, ok := leaders[s.Replication]; ok && s.Follows != "" && s.Linked {
				p.at, p.follower = at, s
				out = append(out, p)
			}
		}
	}
	return out
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
