package check

import (
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
		wantRows(t, name, judgeServers("engine", []valkey.Server{s}), c.want...)
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
		"side store is a replica":   {passive, []valkey.Server{good("a:1")}, []valkey.Server{follower}, []valkey.Server{stranger}, []string{"FAULT east b:1: it is a replica, and takes no writes"}},
	} {
		places := []place{{"west", engineOf, c.west}, {"east", engineOf, c.east}, {"east", sideOf, c.side}}
		wantRows(t, name, judgeTogether(c.d, places), c.want...)
	}
}

func TestJudgeNodes(t *testing.T) {
	wantRows(t, "ready", judgeHealth(true, nil, nil), "ok ready")
	wantRows(t, "a warning", judgeHealth(true, nil, []string{"peer is away"}), "ok ready", "warn peer is away")
	wantRows(t, "not ready", judgeHealth(false, []string{"no engine"}, []string{"peer is away"}), "FAULT no engine")
	now := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	wantRows(t, "a year", judgeExpiry(now.AddDate(1, 0, 0), now), "ok until 2027-11-25")
	wantRows(t, "a week", judgeExpiry(now.AddDate(0, 0, 7), now), "warn until 2026-12-02")
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
