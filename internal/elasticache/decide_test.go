package elasticache

import (
	"testing"
	"time"
)

func here() Site { return Site{Global: "virxk-sessions", Group: "session-usw2", Region: "us-west-2"} }

// calm is a Global Datastore as the secondary in us-west-2 sees it.
func calm() View {
	return View{
		Found: true, Status: "available", Global: "virxk-sessions", Role: "SECONDARY", Endpoint: "master.usw2",
		GlobalFound: true, GlobalStatus: "available",
		Members: []Member{{Group: "session-usw1", Region: "us-west-1", Role: "PRIMARY"}, {Group: "session-usw2", Region: "us-west-2", Role: "SECONDARY"}},
	}
}

func TestDecide(t *testing.T) {
	now := time.Unix(1780000000, 0)
	for _, c := range []struct {
		name  string
		want  Want
		asked time.Duration // ago; 0: never
		view  func(*View)
		deed  Deed
		why   bool
	}{
		{"nothing is wanted", Nothing, 0, func(*View) {}, None, false},
		{"a secondary is to be promoted", Promoted, 0, func(*View) {}, Failover, false},
		{"it is said in other letters", Promoted, 0, func(v *View) { v.Role, v.Global = "secondary", "VIRXK-sessions" }, Failover, false},
		{"it was asked for a moment ago", Promoted, askAgain - time.Second, func(*View) {}, Wait, false},
		{"it was asked for long ago", Promoted, askAgain, func(*View) {}, Failover, false},
		{"a failover goes on", Promoted, time.Minute, func(v *View) { v.GlobalStatus = "modifying" }, None, true},
		{"it is the primary", Promoted, 0, func(v *View) { v.Role = "PRIMARY" }, None, false},
		{"the Global Datastore has said so, and the group not yet", Promoted, time.Minute, func(v *View) { v.Members[0].Role, v.Members[1].Role = "SECONDARY", "PRIMARY" }, None, true},
		{"the other one's group is called the same", Promoted, 0, func(v *View) { v.Members[0].Group = "session-usw2" }, Failover, false},
		{"there is no group", Promoted, 0, func(v *View) { *v = View{} }, None, true},
		{"it is in no Global Datastore", Promoted, 0, func(v *View) { v.Global, v.Role = "", "" }, None, true},
		{"it is in another one", Promoted, 0, func(v *View) { v.Global = "virxk-carts" }, None, true},
		{"it has a role nobody knows", Promoted, 0, func(v *View) { v.Role = "TERTIARY" }, None, true},
		{"it is to be on its own", Detached, 0, func(*View) {}, Disassociate, false},
		{"it is to be, and a failover goes on for ever", Detached, 0, func(v *View) { v.GlobalStatus = "modifying" }, Disassociate, false},
		{"it is to be, and that was asked for", Detached, time.Second, func(*View) {}, Wait, false},
		{"it is to be, and is", Detached, 0, func(v *View) { v.Global, v.Role = "", "" }, None, false},
		{"it is to be, and is the primary", Detached, 0, func(v *View) { v.Role = "PRIMARY" }, None, false},
		{"it is to be, in another one", Detached, 0, func(v *View) { v.Global = "virxk-carts" }, None, true},
	} {
		v := calm()
		c.view(&v)
		var asked time.Time
		if c.asked > 0 {
			asked = now.Add(-c.asked)
		}
		if deed, why := Decide(v, here(), c.want, asked, now); deed != c.deed || (why != "") != c.why {
			t.Errorf("%s: Decide = %v, %q; want %v, with a reason: %v", c.name, deed, why, c.deed, c.why)
		}
	}
}

func TestPrimaryOf(t *testing.T) {
	v := calm()
	if m, ok := v.PrimaryOf(); !ok || m.Group != "session-usw1" || !v.Promotable(here()) {
		t.Errorf("PrimaryOf = %+v, %v, Promotable %v; want that of us-west-1, and true", m, ok, v.Promotable(here()))
	}
	v.Members[1].Role = "PRIMARY"
	if _, ok := v.PrimaryOf(); ok {
		t.Error("of two primaries one was chosen")
	}
	v.GlobalStatus = "modifying"
	if v.Promotable(here()) {
		t.Error("while something changes it can't be promoted")
	}
}
