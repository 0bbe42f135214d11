//go:build integration

package node

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/dynalitetest"
	"github.com/roam-sessions/roam/internal/postgrestest"
)

// onDatabase returns the engine of a Region on a database of its own.
func onDatabase(s *postgrestest.Server) string {
	return fmt.Sprintf(`{postgres: {url: "postgres://roam@%s/postgres", migrate: true}}`, s.Addr())
}

func isAlive(r crdt.Record) bool { return !r.IsBottom() && !r.Dead }

func isDead(r crdt.Record) bool { return r.Dead }

func TestThreeNodesOnPostgreSQL(t *testing.T) {
	l := newLand(t, activeActive, onDatabase(postgrestest.Start(t)), onDatabase(postgrestest.Start(t)), onDatabase(postgrestest.Start(t)))
	l.stories()
}

// A node sees that its database is gone and says so, and what was written elsewhere
// meanwhile is there when it is back.
func TestDatabaseComesBack(t *testing.T) {
	s := postgrestest.Start(t)
	l := newLand(t, activeActive, onDatabase(s), "{memory: {}}", "{memory: {}}")
	l.startAll()
	before := l.birth("west")
	l.everywhere(before, "the session of west", isAlive)
	s.Kill()
	eventually(t, "west is not ready", func() bool {
		code, h := health(t, l.nodes["west"].HTTP())
		return code == http.StatusServiceUnavailable && !h.Engine.Answers && h.Engine.Kind == "postgres" &&
			len(h.Why) == 1 && strings.Contains(h.Why[0], "the engine does not answer")
	})
	l.apply("east", before, crdt.Op{Destroy: true})
	missed := l.birth("north")
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.ready("west")
	l.everywhere(before, "the logout", isDead)
	l.everywhere(missed, "the session that west missed", isAlive)
	l.everywhere(l.birth("west"), "a session of the database that came back", isAlive)
}

// newEstate describes Regions of one store; none of their nodes has links.
func newEstate(t *testing.T, engines ...string) *land {
	t.Helper()
	var b strings.Builder
	b.WriteString("version: 1\ntopology: active-active\npolicies: {replication: {heartbeat: 100ms}}\nregions:\n")
	for i, at := range ports(t, len(engines)) {
		fmt.Fprintf(&b, "  - {name: %s, id: %d, engine: %s, node: {http: %q}}\n", names()[i], i+1, engines[i], at)
	}
	return parsedLand(t, b.String())
}

// onTable returns the engine of a Region on its copy of a table.
func onTable(at *dynalitetest.Server, table, region, more string) string {
	return fmt.Sprintf("{dynamo: {table: %s, aws_region: %s, endpoint: %q%s}}", table, region, at.Endpoint(), more)
}

// replicating is a Global Table of two copies.
type replicating struct {
	a, b  *dynalitetest.Server
	table string

	mu  sync.Mutex // guards what follows; held for as long as a copy takes
	cut bool
}

// newGlobalTable makes a table in two servers, each of which is given the other's items
// every 100 ms.
func newGlobalTable(t *testing.T) *replicating {
	t.Helper()
	r := &replicating{a: dynalitetest.Start(t, ""), b: dynalitetest.Start(t, ""), table: dynalitetest.NewName()}
	r.a.Table(r.table)
	r.b.Table(r.table)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var work sync.WaitGroup
	t.Cleanup(func() { stop(); work.Wait() })
	work.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				r.copyBoth(ctx)
			}
		}
	})
	return r
}

// copyBoth brings each copy the items that the other one's Region writes.
func (r *replicating) copyBoth(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cut {
		return
	}
	_ = r.a.Copy(ctx, r.b, r.table, 1) // another time, where a server is away
	_ = r.b.Copy(ctx, r.a, r.table, 2)
}

func (r *replicating) set(cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = cut
}

// A Global Table of eventual consistency: nodes push nothing, tell how old their copies
// are, and a logout in one wins over what the other does.
func TestNodesOnAGlobalTable(t *testing.T) {
	dynalitetest.Sign(t)
	g := newGlobalTable(t)
	l := newEstate(t, onTable(g.a, g.table, "us-west-2", ""), onTable(g.b, g.table, "us-east-1", ""))
	l.parts.Policies.Timeouts.StrictBound = 2 * time.Second
	l.start("west")
	l.start("east")
	young := func(name, of string) func() bool {
		return func() bool {
			code, h := health(t, l.nodes[name].HTTP())
			return code == http.StatusOK && h.Ready && !h.Links && h.Engine.Kind == "dynamo" && len(h.Peers) == 1 && h.Peers[0].Region == of &&
				h.Peers[0].HeardSeconds != nil && *h.Peers[0].HeardSeconds < 2 && h.Peers[0].LagSeconds != nil && *h.Peers[0].LagSeconds > 0 && len(h.Warnings) == 0
		}
	}
	eventually(t, "west hears of east", young("west", "east"))
	eventually(t, "east hears of west", young("east", "west"))
	_, body := get(t, l.nodes["east"].HTTP(), "/metrics")
	for _, metric := range []string{`roam_peer_heard_age_seconds{peer="west"} `, `roam_copy_lag_seconds{peer="west"} `, `roam_engine_up 1`} {
		if !strings.Contains(body, metric) {
			t.Errorf("/metrics lacks %s", metric)
		}
	}
	k := l.birth("west")
	l.everywhere(k, "the session of west", isAlive)

	g.set(true)
	l.apply("west", k, crdt.Op{Destroy: true})
	l.apply("east", k, crdt.Op{ID: 1, Changes: []crdt.Change{crdt.Put("theme", []byte("dark"))}})
	eventually(t, "what east has gets old", func() bool {
		_, h := health(t, l.nodes["east"].HTTP())
		return h.Ready && *h.Peers[0].HeardSeconds > 2 &&
			slices.ContainsFunc(h.Warnings, func(w string) bool { return strings.HasPrefix(w, "west was last heard of") })
	})
	g.set(false)
	l.everywhere(k, "the logout, which the write in east does not undo", isDead)
	eventually(t, "east hears of west again", young("east", "west"))
}

// A node on a table that is out of reach is not ready, and is again when it is back.
func TestTableComesBack(t *testing.T) {
	dynalitetest.Sign(t)
	s := dynalitetest.Start(t, t.TempDir())
	table := dynalitetest.NewName()
	s.Table(table)
	l := newEstate(t, onTable(s, table, "us-west-2", ", strong: true"))
	at := l.start("west").HTTP()
	ready := func() bool { code, h := health(t, at); return code == http.StatusOK && h.Engine.Answers }
	eventually(t, "west is ready", ready)
	k := l.birth("west")
	s.Kill()
	eventually(t, "west is not ready", func() bool {
		code, h := health(t, at)
		return code == http.StatusServiceUnavailable && !h.Engine.Answers && len(h.Why) == 1
	})
	s.Restart()
	eventually(t, "west is ready again", ready)
	l.everywhere(k, "the session", isAlive)
}

// Aurora DSQL: both Regions see at once what either has committed.
func TestNodesOnOneCluster(t *testing.T) {
	pg := postgrestest.Start(t)
	on := func() string {
		d := postgrestest.NewDSQL(t, pg)
		d.Conflicts.Store(20)
		return fmt.Sprintf("{dsql: {endpoint: %q, user: roam, migrate: true}}", d.Addr())
	}
	l := newEstate(t, on(), on())
	for _, name := range []string{"west", "east"} {
		at := l.start(name).HTTP()
		eventually(t, name+" is ready", func() bool {
			code, h := health(t, at)
			return code == http.StatusOK && !h.Links && h.Engine.Kind == "dsql" && len(h.Peers) == 0 && len(h.Warnings) == 0
		})
	}
	k := l.birth("west")
	if r, err := l.engine("east").Read(t.Context(), k, crdt.Token{}); err != nil || !isAlive(r) {
		t.Errorf("Read in east just after = %v, %v; want the session", r, err)
	}
	l.apply("east", k, crdt.Op{Destroy: true})
	if r, err := l.engine("west").Read(t.Context(), k, crdt.Token{}); err != nil || !r.Dead {
		t.Errorf("Read in west just after = %v, %v; want the logout", r, err)
	}
	if _, ok := engine.As[engine.Log](l.engine("west")); ok {
		t.Error("an engine of DSQL has a log for links")
	}
}

// A control plane watches Regions of one store as it does others: it holds no lease, and
// knows how writes and copies fare.
func TestMembersOnOneTable(t *testing.T) {
	dynalitetest.Sign(t)
	s := dynalitetest.Start(t, "")
	table := dynalitetest.NewName()
	s.Table(table)
	var b strings.Builder
	b.WriteString("version: 1\ntopology: active-active\npolicies: {replication: {heartbeat: 100ms}}\ncontrol: {dir: \"data/{region}\"}\nregions:\n")
	free := ports(t, 3*len(names()))
	for i, name := range names() {
		at := free[3*i:]
		fmt.Fprintf(&b, "  - {name: %s, id: %d, engine: %s, node: {http: %q, control: %q, api: %q}}\n",
			name, i+1, onTable(s, table, []string{"us-west-2", "us-east-1", "eu-north-1"}[i], ""), at[0], at[1], at[2])
	}
	l := parsedLand(t, b.String())
	for _, name := range names() {
		l.start(name)
	}
	for _, name := range names() {
		eventually(t, name+" takes part, and hears of all", func() bool {
			_, body := get(t, l.nodes[name].HTTP(), "/metrics")
			_, h := health(t, l.nodes[name].HTTP())
			return strings.Contains(body, "roam_control_led 1") && strings.Contains(body, "roam_control_seated 1") && h.Ready && len(h.Peers) == 2 &&
				!strings.Contains(body, "roam_lease_epoch")
		})
	}
	eventually(t, "west tells how its writes fare, and how old its copy is", func() bool {
		n := l.nodes["west"]
		m := n.measured()
		return len(m.Writes) == 1 && m.Writes[0].To == "west" && m.Writes[0].Failed == 0 && len(m.Data) == 3
	})
}
