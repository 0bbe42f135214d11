//go:build integration

package lab

import (
	"testing"

	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/ledger"
)

// A primary that comes back after it was replaced is no primary any more. Nobody is logged out
// at any moment; what it had is taken in, which its receipt says, and it follows. Then the next
// one may die and come back, and so on.
func TestReplacedPrimaryComesBack(t *testing.T) {
	t.Parallel() // it mostly waits
	l, s := newServerLab(t, console.ActivePassive)
	alice := newVisitor(l)
	alice.login(t, west1, "alice")
	s.wantHas(t, "alice", west2, europe)
	dead := west1
	for n := range 2 {
		s.wantAway(t)
		must(t, l, life(dead, false))
		a := s.wantAgreed(t, "nobody replaces "+dead, func(a ledger.State) bool { return a.Lease.Holder != dead })
		head := a.Lease.Holder
		late := wantNormal(t, l, europe, "bob")
		var stay []string
		for _, p := range places() {
			if p.name != dead {
				stay = append(stay, p.name)
			}
		}
		s.reviveWatched(t, l, dead, alice, stay...)
		a = s.wantAgreed(t, "the receipt is not closed", func(a ledger.State) bool { return !a.Receipts[n].Closed.IsZero() })
		if r := a.Receipts[n]; r.From != dead || r.To != head || len(a.Receipts) != n+1 {
			t.Errorf("receipt %+v of %d, want one of what %s had, for %s", r, len(a.Receipts), dead, head)
		}
		s.wantFollow(t, head)
		s.wantHas(t, "bob", west1, west2, europe)
		wantNamed(t, l, head, west1, west2, europe)
		for _, v := range []*visitor{alice, late} {
			eventually(t, "what is in "+dead+" is not as it should be", func() bool { return v.look(t, dead).Rung == "normal" })
		}
		must(t, l, console.Action{Kind: console.ActReadmit, Region: dead})
		dead = head
	}
}
