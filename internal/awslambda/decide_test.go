package awslambda

import (
	"testing"

	"github.com/roam-sessions/roam/internal/elasticache"
)

func TestDecide(t *testing.T) {
	place := Place{Region: west2, Group: groupOf(west2), Global: global}
	primary := elasticache.View{
		Found: true, Status: "available", Global: global, Role: "PRIMARY", Endpoint: endpointOf(west2),
		GlobalFound: true, GlobalStatus: "available", Members: members(west2),
	}
	for _, c := range []struct {
		name           string
		change         func(*elasticache.View, *Place)
		want           Verdict
		known, primary bool
	}{
		{"the primary", func(*elasticache.View, *Place) {}, Move, true, true},
		{"in other letters", func(v *elasticache.View, _ *Place) { v.Role, v.Global = "primary", "VIRXK-sessions" }, Move, true, true},
		{"with no secondary", func(v *elasticache.View, _ *Place) { v.GlobalStatus, v.Members = "primary-only", v.Members[1:] }, Move, true, true},
		{"being snapshotted", func(v *elasticache.View, _ *Place) { v.Status = "snapshotting" }, Move, true, true},
		{"a secondary", func(v *elasticache.View, _ *Place) { v.Role = "SECONDARY" }, Leave, true, false},
		{"a secondary, and nothing is known of the whole", func(v *elasticache.View, _ *Place) { v.Role, v.GlobalFound, v.Members = "SECONDARY", false, nil }, Leave, true, false},
		{"no group", func(v *elasticache.View, _ *Place) { *v = elasticache.View{} }, Refuse, false, false},
		{"being deleted", func(v *elasticache.View, _ *Place) { v.Status = "deleting" }, Refuse, false, false},
		{"never made", func(v *elasticache.View, _ *Place) { v.Status = "create-failed" }, Refuse, false, false},
		{"in another Global Datastore", func(v *elasticache.View, _ *Place) { v.Global = "virxk-carts" }, Refuse, false, false},
		{"in none", func(v *elasticache.View, _ *Place) { v.Global, v.Role = "", "" }, Refuse, false, false},
		{"in none, by an operator's word", func(v *elasticache.View, p *Place) { v.Global, v.Role, p.Standalone = "", "", true }, Move, true, true},
		{"a secondary, and an operator's word is left over", func(v *elasticache.View, p *Place) { v.Role, p.Standalone = "SECONDARY", true }, Leave, true, false},
		{"of no role", func(v *elasticache.View, _ *Place) { v.Role = "" }, Wait, false, false},
		{"of a role nobody knows", func(v *elasticache.View, _ *Place) { v.Role = "TERTIARY" }, Wait, false, false},
		{"the whole is not found", func(v *elasticache.View, _ *Place) { v.GlobalFound, v.Members = false, nil }, Wait, false, false},
		{"the whole says another is", func(v *elasticache.View, _ *Place) { v.Members = members(west1) }, Wait, false, false},
		{"the whole says both are", func(v *elasticache.View, _ *Place) { v.Members = append(members(west2), members(west1)...) }, Wait, false, false},
		{"the whole says nobody is", func(v *elasticache.View, _ *Place) { v.Members = nil }, Wait, false, false},
		{"the whole has our ID in another Region", func(v *elasticache.View, _ *Place) {
			v.Members = []elasticache.Member{{Group: groupOf(west2), Region: west1, Role: "PRIMARY"}}
		}, Wait, false, false},
		{"a failover goes on", func(v *elasticache.View, _ *Place) { v.GlobalStatus = "modifying" }, Wait, true, true},
		{"the whole is of a status nobody knows", func(v *elasticache.View, _ *Place) { v.GlobalStatus = "pondering" }, Wait, true, true},
		{"the whole is being deleted", func(v *elasticache.View, _ *Place) { v.GlobalStatus = "deleting" }, Refuse, true, true},
		{"no endpoint yet", func(v *elasticache.View, _ *Place) { v.Endpoint = "" }, Wait, true, true},
		{"still being made", func(v *elasticache.View, _ *Place) { v.Status = "creating" }, Wait, true, true},
	} {
		v, p := primary, place
		c.change(&v, &p)
		if d := Decide(v, p); d.Verdict != c.want || d.Known != c.known || d.Primary != c.primary || d.Reason == "" {
			t.Errorf("%s: Decide = %+v, want %s, known %v, primary %v", c.name, d, c.want, c.known, c.primary)
		}
	}
}

func TestLeadsTo(t *testing.T) {
	for target, want := range map[string]bool{
		endpointOf(west1): true, endpointOf(west2) + ".": true, "Session-USW1.abc.ng.0001.usw1.cache.amazonaws.com": true,
		"master.session-usw3.abc.usw3.cache.amazonaws.com": false, "session-usw1x.abc.example": false, "xsession-usw1.example": false, "": false,
	} {
		if got := leadsTo(target, members(west1)); got != want {
			t.Errorf("leadsTo(%q) = %v", target, got)
		}
	}
}
