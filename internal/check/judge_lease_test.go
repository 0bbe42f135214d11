package check

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/admin"
	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/topology"
)

func TestJudgeLease(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*admin.Status)
		want   []string
	}{
		"another than the file's primary": {func(a *admin.Status) {
			a.Lease.Holder = "east"
		}, nil},
		"none":      {func(a *admin.Status) { a.Lease = nil }, []string{"warn  nobody holds the lease"}},
		"of nobody": {func(a *admin.Status) { a.Lease.Holder = "" }, []string{"warn  nobody holds the lease"}},
		"deposed":   {func(a *admin.Status) { a.Lease.Deposed, a.Lease.Wish, a.Lease.Why = true, "east", "it is lost" }, []string{"warn west it is deposed from epoch 7: east is to follow: it is lost"}},
		"let go":    {func(a *admin.Status) { a.Lease.Released = true }, []string{"warn west it has let go of the lease of epoch 7"}},
		"switchover": {func(a *admin.Status) {
			a.Lease.Released, a.Handover = true, &admin.Handover{To: "east", Step: "draining"}
		}, nil},
		"switched": {func(a *admin.Status) { a.Lease.Released, a.Handover = true, &admin.Handover{To: "east", Step: "done"} }, []string{"warn west it has let go"}},
		"not held": {func(a *admin.Status) { a.Lease.Held = 6 }, []string{"warn west epoch 7 is its own, and its server does not have the lease"}},
		"a receipt": {func(a *admin.Status) {
			a.Receipts = []admin.Receipt{{Epoch: 6, From: "east", To: "west"}}
			a.Regions[1].Owes = 6
		}, []string{"warn  the receipt of epoch 6 is open"}},
		"owes":        {func(a *admin.Status) { a.Regions[1].Owes = 6 }, []string{"warn east what it took in epoch 6 is not home yet"}},
		"left out":    {func(a *admin.Status) { a.Regions[1].Candidate = false }, []string{"warn east it has lost the lease, and is not promoted by itself"}},
		"holder left": {func(a *admin.Status) { a.Regions[0].Candidate = false }, nil},
		"an alarm":    {func(a *admin.Status) { a.Alarms[0].State, a.Alarms[0].Reason = "ALARM", "3 of 5 are slow" }, []string{"warn  alarm slow: 3 of 5 are slow"}},
		"no data":     {func(a *admin.Status) { a.Alarms[0].State = "INSUFFICIENT_DATA" }, []string{"unknown  alarm slow has too little to go by: nothing has come yet"}},
	} {
		s := sceneOf(t, twoAndAWitness)
		s.every(c.change)
		if name == "another than the file's primary" { // its server has it
			s.status(east).Lease.Held = 7
		}
		wantTrouble(t, name, judgeControl(s.d, s.w, s.leads), controlPart, c.want...)
	}

	s := sceneOf(t, twoAndAWitness)
	s.w[west].status = nil // it is heard, and was not asked
	wantTrouble(t, "not asked", judgeLease(s.d, s.w), "")
	s.every(func(a *admin.Status) { a.Regions[0].Heard = false })
	wantTrouble(t, "not heard", judgeLease(s.d, s.w), "", "warn west epoch 7 is its own, and no member that was asked hears it")

	s = sceneOf(t, twoAndAWitness)
	s.status(east).Regions[1].Candidate = false // it leads, and knows of it first
	wantTrouble(t, "the leader's", judgeLease(s.d, s.w), "", "warn east it has lost the lease")
	s.status(east).Index-- // it led before
	wantTrouble(t, "of who led before", judgeLease(s.d, s.w), "")

	s = sceneOf(t, twoAndAWitness)
	s.status(east).Index, s.status(east).Lease = 41, &admin.Lease{Epoch: 8, Holder: "east", Held: 8}
	if got := writer(s.d, s.w); got != "east" {
		t.Errorf("writer = %q, want the one whom the member tells that knows most", got)
	}
	if got := writer(s.d, nil); got != "" {
		t.Errorf("writer where nobody tells = %q, want nobody", got)
	}
	s.d.Control = nil
	if got := writer(s.d, nil); got != "west" {
		t.Errorf("writer without leases = %q, want the file's primary", got)
	}
}

// What the judge may do is told; the leader knows of alarms first.
func TestJudgeWatch(t *testing.T) {
	s := sceneOf(t, twoAndAWitness)
	wantRows(t, "automatic", judgeWatch(s.d, s.w), "ok  the judge is on automatic", "ok  silent")
	s.d.Control.Judge.Mode = judge.Advise
	wantRows(t, "by the file", judgeWatch(s.d, s.w), "ok  the judge is on advise: it says what it would do", "ok  silent")
	s.every(func(a *admin.Status) { a.Mode = "off" })
	wantRows(t, "by a command", judgeWatch(s.d, s.w), "ok  the judge is off", "ok  silent")
	s.status(east).Alarms[0] = admin.Alarm{Name: "slow", State: "ALARM", Reason: "now"}
	wantRows(t, "the leader's", judgeWatch(s.d, s.w), "ok ", "warn  alarm slow: now")
	s.status(east).Verdict = &admin.Verdict{
		Findings: []admin.Finding{{Kind: "degrade", From: "east", Rule: "behind", Reason: "it is 3 s behind"}},
		Held:     []admin.Finding{{Kind: "fail-over", From: "west", To: "east", Rule: "cooldown", Reason: "6 min are left"}},
	}
	wantRows(t, "a verdict", judgeWatch(s.d, s.w), "ok ", "warn east the judge finds (degrade): it is 3 s behind",
		"warn west the judge is held back (fail-over, by cooldown): 6 min are left", "warn  alarm slow")
}

// With leases the primary is who holds it, and a server that forgets all, or whose clock
// is beyond the guard, is told of.
func TestJudgeServersWithLeases(t *testing.T) {
	d := sceneOf(t, twoAndAWitness).d
	forgets, late := good("a:1"), good("b:1")
	forgets.Forgets, late.ClockAhead = true, -1200*time.Millisecond
	wantRows(t, "with leases", judgeServers(d, engineOf, []valkey.Server{forgets, late}),
		"ok ", "warn a:1: it keeps nothing on disk", "ok ", "FAULT b:1: its clock is -1.2s")
	wantRows(t, "a side store", judgeServers(d, sideOf, []valkey.Server{forgets, late}), "ok ", "ok ", "warn b:1: its clock is -1.2s")
	d.Control = nil
	wantRows(t, "without leases", judgeServers(d, engineOf, []valkey.Server{forgets, late}), "ok ", "ok ", "warn b:1: its clock is -1.2s")
}

func TestJudgeFollowersByTheHolder(t *testing.T) {
	d := sceneOf(t, twoAndAWitness).d
	follower, other := good("b:1"), good("c:1")
	follower.Follows, follower.Linked, follower.Replication = "a:1", true, "a:1"
	other.Follows, other.Linked, other.Replication = "x:1", true, "x:1"
	primary := good("a:1")
	for name, c := range map[string]struct {
		holder     string
		west, east []valkey.Server
		want       []string
	}{
		"after a failover":           {"east", []valkey.Server{follower}, []valkey.Server{primary}, nil},
		"as the file has it":         {"west", []valkey.Server{primary}, []valkey.Server{follower}, nil},
		"the holder is a replica":    {"west", []valkey.Server{follower}, []valkey.Server{primary}, []string{"FAULT west it is to take all writes", "FAULT east a:1: it follows nobody"}},
		"nobody says":                {"", []valkey.Server{follower}, []valkey.Server{primary}, nil},
		"nobody says, of a stranger": {"", []valkey.Server{other}, []valkey.Server{primary}, []string{"FAULT west c:1: it follows x:1, which is no part of the replication of east"}},
		"nobody says, of two":        {"", []valkey.Server{good("c:1")}, []valkey.Server{primary}, []string{"FAULT  the servers of west and east follow nobody"}},
		"nobody says, of none":       {"", []valkey.Server{follower}, []valkey.Server{follower}, []string{"FAULT  all servers are replicas"}},
		"nobody says or answers":     {"", []valkey.Server{follower}, nil, nil},
	} {
		places := []place{{region: "west", part: engineOf, servers: c.west}, {region: "east", part: engineOf, servers: c.east}}
		rows := judgeTogether(d, places, c.holder)
		wantRows(t, name, rows, c.want...)
		for _, r := range rows {
			if strings.Contains(r.Mend, "REPLICAOF") {
				t.Errorf("%s: %+v: nobody but the node is to steer a server", name, r)
			}
		}
	}
}

func TestJudgeShards(t *testing.T) {
	cluster := func(primaries int) (out []valkey.Server) {
		for i := range primaries {
			s := good(string(rune('a'+i)) + ":1")
			s.Cluster = true
			replica := s
			replica.Follows = s.Addr
			out = append(out, s, replica)
		}
		return out
	}
	follows := func(servers []valkey.Server) []valkey.Server { // another Region's, shard by shard
		for i := range servers {
			servers[i].Follows = "x:1"
		}
		return servers
	}
	for name, c := range map[string]struct {
		west, east []valkey.Server
		whole      bool
		want       []string
	}{
		"equal":           {cluster(3), cluster(3), true, nil},
		"one follows":     {cluster(3), follows(cluster(3)), true, nil},
		"it has more":     {cluster(3), follows(cluster(4)), true, []string{"warn  different numbers of shards: west has 3 and east has 4"}},
		"different":       {cluster(3), cluster(6), true, []string{"warn  different numbers of shards: west has 3 and east has 6"}},
		"one is silent":   {cluster(3), cluster(6), false, nil},
		"one is a server": {cluster(3), []valkey.Server{good("z:1")}, true, nil},
	} {
		places := []place{{region: "west", part: engineOf, servers: c.west, whole: true}, {region: "east", part: engineOf, servers: c.east, whole: c.whole}}
		wantRows(t, name, judgeShards(places, Warning), c.want...)
	}
	places := []place{{region: "west", part: engineOf, servers: cluster(1), whole: true}, {region: "east", part: engineOf, servers: cluster(2), whole: true}}
	active := topology.Deployment{Topology: topology.ActiveActive, Regions: []topology.Region{{Name: "west"}, {Name: "east"}}}
	passive := sceneOf(t, twoAndAWitness).d
	for _, d := range []topology.Deployment{active, passive} {
		rows := slices.DeleteFunc(judgeTogether(d, places, "west"), func(r Row) bool { return !strings.Contains(r.Seen, "shards") })
		if want := map[bool]State{true: Fault, false: Warning}[d.Leases()]; len(rows) != 1 || rows[0].State != want {
			t.Errorf("clusters of 1 and 2 in %s: %+v, want %s", d.Topology, rows, want)
		}
	}
}
