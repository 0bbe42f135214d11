package awslambda

import (
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/elasticache"
)

func now() time.Time { return time.Date(2026, 6, 1, 10, 0, 0, 0, time.UTC) }

func ago(d time.Duration) time.Time { return now().Add(-d) }

func rules() Rules {
	return Rules{
		Alarms: []string{"errors", "latency", "cpu"}, Need: 2, Patience: 2 * time.Minute,
		LagLimit: 5 * time.Second, LagAge: 10 * time.Minute, Cooldown: 30 * time.Minute,
	}
}

func members(primary string) []elasticache.Member {
	role := map[bool]string{true: "PRIMARY", false: "SECONDARY"}
	return []elasticache.Member{{Group: groupOf(west1), Region: west1, Role: role[primary == west1]}, {Group: groupOf(west2), Region: west2, Role: role[primary == west2]}}
}

// sight is one in which every rule says to promote us-west-2.
func sight() Sight {
	return Sight{
		Now: now(), Switch: "on", Memory: &Memory{Role: "SECONDARY"},
		View: elasticache.View{
			Found: true, Status: "available", Global: global, Role: "SECONDARY", Endpoint: endpointOf(west2),
			GlobalFound: true, GlobalStatus: "available", Members: members(west1),
		},
		Alarms: []Alarm{{"errors", "ALARM", ago(3 * time.Minute)}, {"latency", "ALARM", ago(2 * time.Minute)}, {"cpu", "OK", ago(time.Hour)}},
		Lag:    &Lag{Behind: 400 * time.Millisecond, At: ago(5 * time.Minute)},
	}
}

func TestJudge(t *testing.T) {
	place := Place{Region: west2, Group: groupOf(west2), Global: global}
	for _, c := range []struct {
		name   string
		change func(*Sight, *Rules)
		rule   string // empty: it is promoted
	}{
		{"all rules say so", func(*Sight, *Rules) {}, ""},
		{"the first time it is seen", func(s *Sight, _ *Rules) { s.Memory = &Memory{} }, ""},
		{"the memory can't be read", func(s *Sight, _ *Rules) { s.Memory = nil }, "memory"},
		{"it is the primary", func(s *Sight, _ *Rules) { s.View.Role = "PRIMARY" }, "role"},
		{"it is in none", func(s *Sight, _ *Rules) { s.View.Role, s.View.Global = "", "" }, "role"},
		{"it is in another", func(s *Sight, _ *Rules) { s.View.Global = "virxk-carts" }, "role"},
		{"the switch is off", func(s *Sight, _ *Rules) { s.Switch = "off" }, "switch"},
		{"the switch is gone", func(s *Sight, _ *Rules) { s.Switch = "" }, "switch"},
		{"the switch is anything", func(s *Sight, _ *Rules) { s.Switch = "On" }, "switch"},
		{"a dry run", func(s *Sight, _ *Rules) { s.Switch = "dry-run" }, "switch"},
		{"it was the primary once", func(s *Sight, _ *Rules) { s.Memory.Lost = ago(24 * time.Hour) }, "lost"},
		{"it was the primary a minute ago", func(s *Sight, _ *Rules) { s.Memory.Role = "PRIMARY" }, "lost"},
		{"a failover goes on", func(s *Sight, _ *Rules) { s.View.GlobalStatus = "modifying" }, "global"},
		{"there is no secondary", func(s *Sight, _ *Rules) { s.View.GlobalStatus = "primary-only" }, "global"},
		{"nothing is known of the whole", func(s *Sight, _ *Rules) { s.View.GlobalFound = false }, "global"},
		{"the whole does not know us", func(s *Sight, _ *Rules) { s.View.Members = s.View.Members[:1] }, "global"},
		{"the whole says we are the primary", func(s *Sight, _ *Rules) { s.View.Members = members(west2) }, "global"},
		{"one alarm", func(s *Sight, _ *Rules) { s.Alarms = s.Alarms[:1] }, "alarms"},
		{"one alarm twice", func(s *Sight, _ *Rules) { s.Alarms[1] = s.Alarms[0] }, "alarms"},
		{"an alarm of others", func(s *Sight, _ *Rules) { s.Alarms[1].Name = "carts" }, "alarms"},
		{"one is too young", func(s *Sight, _ *Rules) { s.Alarms[1].Since = ago(2*time.Minute - time.Second) }, "alarms"},
		{"one does not say since when", func(s *Sight, _ *Rules) { s.Alarms[1].Since = time.Time{} }, "alarms"},
		{"one has no data", func(s *Sight, _ *Rules) { s.Alarms[1].State = "INSUFFICIENT_DATA" }, "alarms"},
		{"one is well", func(s *Sight, _ *Rules) { s.Alarms[1].State = "OK" }, "alarms"},
		{"one is to come", func(s *Sight, _ *Rules) { s.Alarms[1].Since = ago(-time.Hour) }, "alarms"},
		{"no lag is known", func(s *Sight, _ *Rules) { s.Lag = nil }, "lag"},
		{"the lag is old", func(s *Sight, _ *Rules) { s.Lag.At = ago(11 * time.Minute) }, "lag"},
		{"it is behind", func(s *Sight, _ *Rules) { s.Lag.Behind = 5001 * time.Millisecond }, "lag"},
		{"it is just not behind", func(s *Sight, _ *Rules) { s.Lag.Behind = 5 * time.Second }, ""},
		{"no lag is known, by force", func(s *Sight, r *Rules) { s.Lag, r.Force = nil, true }, ""},
		{"by force, and the switch is off", func(s *Sight, r *Rules) { s.Switch, r.Force = "off", true }, "switch"},
		{"it was promoted lately", func(s *Sight, _ *Rules) { s.Memory.Promoted = ago(29 * time.Minute) }, "cooldown"},
		{"it was promoted in time to come", func(s *Sight, _ *Rules) { s.Memory.Promoted = ago(-time.Hour) }, "cooldown"},
		{"it was promoted long ago", func(s *Sight, _ *Rules) { s.Memory.Promoted = ago(30 * time.Minute) }, ""},
	} {
		s, r := sight(), rules()
		c.change(&s, &r)
		j := Judge(s, r, place)
		if j.Promote != (c.rule == "") || j.Rule != c.rule || j.Reason == "" || j.Dry != (c.name == "a dry run") {
			t.Errorf("%s: Judge = %+v, want rule %q", c.name, j, c.rule)
		}
		if j.Promote && (j.Memory == nil || !j.Memory.Promoted.Equal(now()) || j.Memory.Role != "SECONDARY") {
			t.Errorf("%s: it is promoted and keeps %+v", c.name, j.Memory)
		}
	}
}

// A Region that stops being the primary is remembered, and stays out until somebody deletes the
// memory.
func TestLostIsRemembered(t *testing.T) {
	place := Place{Region: west2, Group: groupOf(west2), Global: global}
	s := sight()
	s.Memory = &Memory{}
	s.View.Role, s.View.Members = "PRIMARY", members(west2)
	j := Judge(s, rules(), place)
	if j.Memory == nil || j.Memory.Role != "PRIMARY" || !j.Memory.Lost.IsZero() {
		t.Fatalf("a primary keeps %+v", j.Memory)
	}
	s = sight()
	s.Memory = j.Memory
	j = Judge(s, rules(), place)
	if j.Promote || j.Memory == nil || !j.Memory.Lost.Equal(now()) {
		t.Fatalf("a Region that was the primary: %+v, %+v", j, j.Memory)
	}
	s.Memory, s.Now = j.Memory, now().Add(1000*time.Hour)
	if j = Judge(s, rules(), place); j.Promote || j.Rule != "lost" {
		t.Errorf("weeks later: %+v", j)
	}
}
