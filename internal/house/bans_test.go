package house

import (
	"maps"
	"slices"
	"strings"
)

// ban is an arrow that must never be drawn. Rooms and packages are named as in
// arrows.txt; a name that ends in / stands for all below it.
type ban struct {
	from   []string // who must not
	except []string // who may all the same
	what   []string // what they must not import
	direct bool     // only what they import themselves; otherwise whatever they reach
	why    string
}

// bans lists them. A new one needs only a line here.
func bans() []ban {
	requestPath := []string{rootRoom, "engine", "engine/", "internal/router", "internal/replica", "internal/agent", "internal/feed"}
	anyone := []string{"*"}
	return []ban{
		{
			from: []string{rootRoom}, what: []string{"github.com/aws/"},
			why: "who keeps sessions in Valkey should not link AWS SDKs",
		},
		{
			from: []string{rootRoom, "internal/agent"},
			what: []string{"html/template", "text/template", "google.golang.org/protobuf/", "google.golang.org/grpc"},
			why:  "looking methods up by name turns off the linker's pruning: about 10 MB in every user's binary",
		},
		{
			from: requestPath, what: []string{"internal/control", "internal/control/"},
			why: "reads and writes must go on when the whole control plane is gone",
		},
		{
			from: []string{"engine", "engine/", "crdt"},
			what: []string{rootRoom, "internal/router", "internal/lab", "internal/cli", "internal/console", "internal/agent"},
			why:  "engines keep records; who reads them, and when, is decided above",
		},
		{
			from: []string{"crdt"}, what: []string{"net", "net/http", "os", "os/exec", "syscall", "context"}, direct: true,
			why: "a merge is arithmetic: what it needs of the world comes in as arguments",
		},
		{
			from: anyone, except: []string{"cmd/"}, what: []string{"internal/cli"}, direct: true,
			why: "the command line stands on top of everything",
		},
		{
			from: anyone, except: []string{"internal/cli", "cmd/"}, what: []string{"internal/lab"}, direct: true,
			why: "a lab starts whole deployments: nothing that runs in one may need it",
		},
		{
			from: anyone, except: []string{"internal/cli", "internal/simcli", "cmd/"}, what: []string{"github.com/spf13/cobra"}, direct: true,
			why: "flags are read at the top; below it there are Config fields",
		},
		{
			from: anyone, except: []string{"engine/enginetest", "internal/house"},
			what: []string{"testing", "pgregory.net/rapid", "github.com/google/go-cmp/cmp"}, direct: true,
			why: "what serves users carries no test code",
		},
		{
			from:   anyone,
			except: []string{"engine/dynamo", "engine/dynamo/", "engine/postgres/dsql", "internal/dns", "internal/dns/", "internal/control", "internal/control/", "internal/awslambda", "internal/awsdeploy", "internal/awsdrill", "internal/elasticache", "cmd/roam-lambda", "fakeaws", "fakeaws/"},
			what:   []string{"github.com/aws/"}, direct: true,
			why: "AWS is reached from its drivers alone",
		},
	}
}

// checkBans holds the bans, and that engines are strangers to each other.
func checkBans(r *repo) []finding {
	graph, err := r.graph()
	if err != nil {
		return []finding{{"go list", r.module, "mend what the go command says: " + err.Error()}}
	}
	var out []finding
	for _, importPath := range slices.Sorted(maps.Keys(graph)) {
		room := r.roomFor(importPath)
		if room == "" {
			continue
		}
		for _, b := range append(bans(), strangers(room)...) {
			if !covers(b.from, room) || covers(b.except, room) {
				continue
			}
			for _, chain := range r.reach(graph, importPath, b) {
				last := chain[len(chain)-1]
				out = append(out, finding{room + " -> " + last, strings.Join(chain, " -> "), "cut this arrow: " + b.why})
			}
		}
	}
	return sorted(out)
}

// strangers bans every engine from all other engines.
func strangers(room string) []ban {
	if !strings.HasPrefix(room, "engine/") || room == "engine/enginetest" {
		return nil
	}
	return []ban{{
		from: []string{room}, what: []string{"engine/"},
		why: "engines are strangers to each other: what two of them need is written once, above the contract",
	}}
}

// covers tells whether a list of names has the room in it.
func covers(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		return n == "*" || n == name || strings.HasSuffix(n, "/") && strings.HasPrefix(name, n)
	})
}

// reach walks from a package and returns one chain of names to each banned package.
func (r *repo) reach(graph map[string][]string, start string, b ban) [][]string {
	var found [][]string
	from := map[string]string{start: ""}
	for queue := []string{start}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		for _, next := range graph[at] {
			if _, seen := from[next]; seen {
				continue
			}
			from[next] = at
			name := r.callIt(next)
			switch {
			case covers(b.what, name) && !family(r.callIt(start), name):
				found = append(found, r.chain(from, next))
			case !b.direct:
				queue = append(queue, next)
			}
		}
	}
	return found
}

// family tells whether one lies below the other: an engine may be made of
// several packages.
func family(a, b string) bool {
	return strings.HasPrefix(b, a+"/") || strings.HasPrefix(a, b+"/")
}

// callIt is the name of a package in arrows.txt: its room, or its import path.
func (r *repo) callIt(importPath string) string {
	if room := r.roomFor(importPath); room != "" {
		return room
	}
	return importPath
}

// chain tells how the walk came to a package.
func (r *repo) chain(from map[string]string, to string) []string {
	var names []string
	for p := to; p != ""; p = from[p] {
		names = append(names, r.callIt(p))
	}
	slices.Reverse(names)
	return names
}
