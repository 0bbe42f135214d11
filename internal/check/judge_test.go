package check

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/topology"
)

func good(addr string) valkey.Server {
	return valkey.Server{Addr: addr, Version: "Valkey 8.0.1", Replication: addr, Took: time.Millisecond, Functions: true}
}

// wantRows compares states and what some of the words are.
func wantRows(t *testing.T, name string, rows []Row, want ...string) {
	t.Helper()
	var got []string
	for _, r := range rows {
		got = append(got, string(r.State)+" "+r.Region+" "+r.Seen)
		if bad := r.State == Warning || r.State == Fault; bad != (r.Mend != "") {
			t.Errorf("%s: %+v: what is wrong says how to mend it, and nothing else does", name, r)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %q, want %q", name, got, want)
		return
	}
	for i, w := range want {
		state, words, _ := strings.Cut(w, " ")
		if !strings.HasPrefix(got[i], state+" ") || !strings.Contains(got[i], words) {
			t.Errorf("%s: row %d is %q, want %q", name, i, got[i], w)
		}
	}
}

func TestJudgeServer(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*valkey.Server)
		want   []string
	}{
		"good":             {func(*valkey.Server) {}, []string{"ok Valkey 8.0.1, primary"}},
		"evicts":           {func(s *valkey.Server) { s.Findings = []valkey.Finding{{Fatal: true, What: "evicts", Mend: "mend"}} }, []string{"ok ", "FAULT evicts"}},
		"could be better":  {func(s *valkey.Server) { s.Findings = []valkey.Finding{{What: "packs", Mend: "mend"}} }, []string{"ok ", "warn packs"}},
		"clock ahead":      {func(s *valkey.Server) { s.ClockAhead = 2 * time.Second }, []string{"ok ", "warn clock is 2s"}},
		"clock behind":     {func(s *valkey.Server) { s.ClockAhead = -6 * time.Second }, []string{"ok ", "FAULT clock is -6s"}},
		"slow network":     {func(s *valkey.Server) { s.ClockAhead, s.Took = 1200*time.Millisecond, 500*time.Millisecond }, []string{"ok "}},
		"no functions":     {func(s *valkey.Server) { s.Functions = false }, []string{"ok ", "warn functions"}},
		"replica":          {func(s *valkey.Server) { s.Follows, s.Linked = "p:1", true }, []string{"ok replica of p:1"}},
		"replica cut off":  {func(s *valkey.Server) { s.Follows = "p:1" }, []string{"ok ", "FAULT does not hear of its primary, p:1"}},
		"just within time": {func(s *valkey.Server) { s.ClockAhead = time.Second }, []string{"ok "}},
	} {
		s := good("a:1")
		c.change(&s)
		wantRows(t, name, judgeServers(topology.Deployment{}, engineOf, []valkey.Server{s}), c.want...)
	}
}

func TestJudgeTogether(t *testing.T) {
	active := topology.Deployment{Topology: topology.ActiveActive, Regions: []topology.Region{{Name: "west"}, {Name: "east"}}}
	passive := active
	passive.Topology, passive.Primary = topology.ActivePassive, "west"
	follower := good("b:1")
	follower.Follows, follower.Linked, follower.Replication = "a:1", true, "a:1"
	stranger := follower
	stranger.Replication = "c:1"
	shared := good("b:1")
	shared.Replication = "a:1"
	for name, c := range map[string]struct {
		d                topology.Deployment
		west, east, side []valkey.Server // side is east's
		want             []string
	}{
		"two servers":               {active, []valkey.Server{good("a:1")}, []valkey.Server{good("b:1")}, []valkey.Server{good("s:1")}, nil},
		"with a replica":            {active, []valkey.Server{good("a:1"), follower}, []valkey.Server{good("c:1")}, nil, nil},
		"one server":                {active, []valkey.Server{good("a:1")}, []valkey.Server{shared}, nil, []string{"FAULT east b:1: it is the engine of west too"}},
		"replica of another Region": {active, []valkey.Server{good("a:1")}, []valkey.Server{follower}, nil, []string{"FAULT east b:1: it is the engine of west too", "FAULT takes no writes"}},
		"a replica alone":           {active, []valkey.Server{good("c:1")}, []valkey.Server{follower}, nil, []string{"FAULT east b:1: it is a replica, and takes no writes"}},
		"side store is the engine":  {active, []valkey.Server{good("a:1")}, []valkey.Server{good("b:1")}, []valkey.Server{good("b:1")}, []string{"FAULT it is the engine of east too"}},
		"nobody answers":            {active, nil, nil, nil, nil},
		"follows":                   {passive, []valkey.Server{good("a:1")}, []valkey.Server{follower}, []valkey.Server{good("s:1")}, nil},
		"follows nobody":            {passive, []valkey.Server{good("a:1")}, []valkey.Server{good("b:1")}, nil, []string{"FAULT east b:1: it follows nobody"}},
		"follows another":           {passive, []valkey.Server{good("a:1")}, []valkey.Server{stranger}, nil, []string{"FAULT east b:1: it follows a:1, which is no part"}},
		"primary is a replica":      {passive, []valkey.Server{follower}, []valkey.Server{follower}, nil, []string{"FAULT west it is to take all writes"}},
		"primary does not answer":   {passive, nil, []valkey.Server{follower}, nil, nil},
		"secondary does not answer": {passive, []valkey.Server{good("a:1")}, nil, nil, nil},
		"side store is the primary": {passive, []valkey.Server{good("a:1")}, []valkey.Server{follower}, []valkey.Server{good("a:1")}, []string{"FAULT east a:1: it is the engine of west too"}},
		"side store follows too":    {passive, []valkey.Server{good("a:1")}, nil, []valkey.Server{follower}, []string{"FAULT east b:1: it is the engine of west too", "FAULT takes no writes"}},
		"side store is a replica":   {passive, []valkey.Server{good("a:1")}, []valkey.Server{follower}, []valkey.Server{stranger}, []string{"FAULT east b:1: it is a replica, and takes no writes"}},
	} {
		places := []place{
			{region: "west", part: engineOf, servers: c.west},
			{region: "east", part: engineOf, servers: c.east},
			{region: "east", part: sideOf, servers: c.side},
		}
		wantRows(t, name, judgeTogether(c.d, places, c.d.Primary), c.want...)
	}
}

func TestJudgeDistance(t *testing.T) {
	for name, c := range map[string]struct {
		d    distance
		want string
	}{
		"near":      {distance{age: 20 * time.Millisecond}, "ok it has what a:1 had 20ms ago"},
		"at most":   {distance{age: time.Second}, "ok had 1s ago"},
		"behind":    {distance{age: 1200 * time.Millisecond}, "warn it is 1.2s behind a:1"},
		"far":       {distance{age: 2 * time.Second, lacks: 4711}, "warn it lacks 4711 bytes of what a:1 had 2s ago"},
		"no answer": {distance{err: context.DeadlineExceeded}, "unknown not found out"},
	} {
		c.d.addr, c.d.of = "b:1", "a:1"
		row := judgeDistance(c.d)
		if row.State == Unknown {
			row.Mend = "" // there is something to do about it all the same
		}
		wantRows(t, name, []Row{row}, c.want)
	}
}

// Who follows whom is told by what they are parts of; who does not hear of its primary
// is a fault already, and is not asked how far it is behind.
func TestPairs(t *testing.T) {
	follower, cut, stranger := good("b:1"), good("c:1"), good("d:1")
	follower.Follows, follower.Linked, follower.Replication = "inside:1", true, "a:1"
	cut.Follows, cut.Replication = "inside:1", "a:1"
	stranger.Follows, stranger.Linked, stranger.Replication = "x:1", true, "x:1"
	got := pairsOf([]place{
		{region: "east", part: engineOf, servers: []valkey.Server{follower, cut, stranger}},
		{region: "west", part: engineOf, servers: []valkey.Server{good("a:1"), good("e:1")}},
	})
	if len(got) != 1 || got[0].follower.Addr != "b:1" || got[0].leader.Addr != "a:1" || got[0].at.region != "east" || got[0].of.region != "west" {
		t.Errorf("pairsOf = %+v, want b:1 of east that follows a:1 of west", got)
	}
}

func TestJudgeNodes(t *testing.T) {
	wantRows(t, "ready", judgeHealth(true, nil, nil), "ok ready")
	wantRows(t, "a warning", judgeHealth(true, nil, []string{"peer is away"}), "ok ready", "warn peer is away")
	wantRows(t, "not ready", judgeHealth(false, []string{"no engine"}, []string{"peer is away"}), "FAULT no engine")
	now := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		until time.Time
		want  string
	}{
		"a year": {now.AddDate(1, 0, 0), "ok is good until 2027-11-25"},
		"a week": {now.AddDate(0, 0, 7), "warn is good until 2026-12-02"},
		"over":   {now, "FAULT is good until 2026-11-25"},
	} {
		wantRows(t, name, []Row{judgeExpiry("links", "is good", "renew it", c.until, now)}, c.want)
	}
}

func TestWorst(t *testing.T) {
	for want, states := range map[State][]State{
		Good: {}, Unknown: {Good, Unknown}, Warning: {Unknown, Warning, Good}, Fault: {Fault, Warning, Good},
	} {
		var rows []Row
		for _, s := range states {
			rows = append(rows, Row{State: s})
		}
		if got := Worst(rows); got != want {
			t.Errorf("Worst(%v) = %v, want %v", states, got, want)
		}
	}
}
