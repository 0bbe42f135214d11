package admin

import (
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/control"
)

// The status has what nodes tell of names, of those that were heard a moment ago.
func TestNamesInTheStatus(t *testing.T) {
	now := time.Now()
	name := control.Name{Kind: "route53", Name: "write.x", State: "refused", Epoch: 7, Target: "w.example", Since: now, Why: "no right", Next: "look"}
	s := statusOf("shop", control.Status{Members: []control.Seen{
		{Member: "west", Heard: now, Names: []control.Name{name}},
		{Member: "east", Heard: now.Add(-time.Minute), Names: []control.Name{name}},
		{Member: "eyes", Heard: now, Witness: true},
	}}, now)
	want := Name{Region: "west", Kind: "route53", Name: "write.x", State: "refused", Epoch: 7, Target: "w.example", Since: now, Why: "no right", Next: "look"}
	if len(s.Names) != 1 || s.Names[0] != want {
		t.Errorf("names are %+v, want %+v alone", s.Names, want)
	}
}
