//go:build integration

package awsdocs

import "testing"

// The pages are true: what they have one type does what they say, from nothing to a datastore in two
// Regions, and from there through all that may befall it.
func TestPages(t *testing.T) {
	w := newWorld(t)
	s := startShell(t, w.dir, w.env)
	w.read("by-hand.md", s, map[string]func(s *shell){
		"role": w.admit, "function": w.comparePolicies, "triggers": w.schedule, "controls": w.controls,
		"rights": w.admit, "by-control": w.comparePolicies,
	})
	later := startShell(t, w.dir, append(w.env, "ENDPOINTS="+s.value("$ENDPOINTS"))) // as nobody keeps a shell for half a year
	w.read("runbook.md", later, nil)
}
