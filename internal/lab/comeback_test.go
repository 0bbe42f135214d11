//go:build integration

package lab

import (
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/ledger"
)

// A primary that dies is replaced by itself, and the names with it; whoever had begun elsewhere
// meanwhile goes on there. When it comes back it is no primary any more. Nobody is logged out at
// any moment; what it had is taken in, which its receipt says, and it follows. Then the next
// one may die and come back, and so on.
func TestReplacedPrimaryComesBack(t *testing.T) {
	t.Parallel() // it mostly waits
	l, s := newServerLab(t, console.ActivePassive)
	alice := newVisitor(l)
	alice.login(t, west1, "alice")
	s.wantHas(t, "alice", west2, europe)
	wantNamed(t, l, west1, west1, west2, europe)
	dead := west1
	for n, user := range []string{"bob", "cid"} {
		s.wantAway(t)
		var stay []string
		for _, p := range places() {
			if p.name != dead {
				stay = append(stay, p.name)
			}
		}
		head, late := s.wantReplaced(t, l, dead, user, stay)
		s.reviveWatched(t, l, dead, alice, stay...)
		a := s.wantAgreed(t, "the receipt is not closed", func(a ledger.State) bool { return !a.Receipts[n].Closed.IsZero() })
		if r := a.Receipts[n]; r.From != dead || r.To != head || len(a.Receipts) != n+1 {
			t.Errorf("receipt %+v of %d, want one of what %s had, for %s", r, len(a.Receipts), dead, head)
		}
		s.wantFollow(t, head)
		s.wantHas(t, user, west1, west2, europe)
		wantNamed(t, l, head, west1, west2, europe)
		for _, v := range []*visitor{alice, late} {
			eventually(t, "what is in "+dead+" is not as it should be", func() bool { return v.look(t, dead).Rung == "normal" })
		}
		must(t, l, console.Action{Kind: console.ActReadmit, Region: dead})
		dead = head
	}
}

// wantReplaced kills the primary and waits until another one has taken its place, which it
// returns with somebody who logged in meanwhile.
func (s *servers) wantReplaced(t *testing.T, l *Lab, dead, user string, stay []string) (head string, late *visitor) {
	t.Helper()
	was, _ := s.deployment.agreed()
	begun := time.Now()
	must(t, l, life(dead, false))
	late = newVisitor(l)
	late.login(t, stay[1], user)
	if got := late.look(t, stay[1]); got.User != user || got.Rung != "local-only" {
		t.Errorf("%s dead: %s shows %q, %s, want %s, local-only", dead, stay[1], got.who(), got.Rung, user)
	}
	a := s.wantAgreed(t, "nobody replaces "+dead, func(a ledger.State) bool { return a.Lease.Holder != dead })
	t.Logf("%s is dead for %v: %s is the primary", dead, time.Since(begun), a.Lease.Holder)
	if head = a.Lease.Holder; a.Lease.Epoch != was.Lease.Epoch+1 || !a.Lease.Unplanned {
		t.Errorf("the lease is %+v, want epoch %d, unplanned", a.Lease, was.Lease.Epoch+1)
	}
	wantNormal(t, l, stay[1], "dan")
	eventually(t, user+"'s session has not come back", func() bool { return late.look(t, stay[1]).Rung == "normal" })
	s.wantHas(t, user, stay...)
	wantNamed(t, l, head, stay...)
	c := l.State().Control
	if r := c.Receipts[0]; !r.Open || r.From != dead || r.To != head {
		t.Errorf("the newest receipt is %+v, want one of %s that is open", r, dead)
	}
	for _, n := range c.Names {
		if n.Region == dead && (n.Problem == "" || n.Writer != "") {
			t.Errorf("%s is dead and answers %+v", dead, n)
		}
	}
	return head, late
}
