package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/internal/admin"
)

// The share of degraded answers stands in a Region's row; where nobody knows it there is none.
func TestStatusShowsTheDegradedShare(t *testing.T) {
	share := 0.034
	s := admin.Status{Deployment: "shop", Self: "west", Regions: []admin.Region{
		{Name: "west", Role: "peer", Heard: true, Engine: true, DegradedShare: &share}, {Name: "east", Role: "peer", Heard: true, Engine: true},
	}}
	var text, asJSON bytes.Buffer
	if err := printStatus(&text, s, false, false); err != nil {
		t.Fatal(err)
	}
	if err := printStatus(&asJSON, s, true, false); err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(text.String()) {
		rows = append(rows, strings.Join(strings.Fields(line), " "))
	}
	for _, want := range []string{
		"REGION ROLE NODE ENGINE FOLLOWS LAG DEGRADED USERS", "west peer heard up - - 3.4% here", "east peer heard up - - - here",
	} {
		if !strings.Contains(strings.Join(rows, "\n"), want) {
			t.Errorf("the status lacks %q:\n%s", want, text.String())
		}
	}
	if n := strings.Count(asJSON.String(), `"degraded_share": 0.034`); n != 1 || strings.Count(asJSON.String(), "degraded_share") != 1 {
		t.Errorf("as JSON: %s, want the share of west alone", asJSON.String())
	}
}
