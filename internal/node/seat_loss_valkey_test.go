//go:build integration

package node

import (
	"net"
	"testing"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

func alive(r crdt.Record) bool { return !r.IsBottom() && !r.Dead }

// beaten waits until the server of a Region, and all that follow it, have heartbeats of an
// epoch.
func (l *land) beaten(epoch uint64) {
	l.t.Helper()
	eventually(l.t, "all have heartbeats of the epoch", func() bool {
		heard := 0
		for _, seen := range l.seat("north").Status().Members {
			if seen.Server.Beat.Epoch == epoch {
				heard++
			}
		}
		return heard == len(names())
	})
}

// Somebody makes another Region's server the primary by hand, and has the old one follow
// it. That is not undone: the Region is given the lease, and what the old server had is
// looked for in what its node kept.
func TestPromotedByHand(t *testing.T) {
	l, servers := passive(t)
	for _, name := range names() {
		l.start(name)
	}
	l.agreed("north", "west holds the lease", func(s ledger.State) bool { return s.Lease.Holder == "west" })
	k := l.under("west", 1)
	l.everywhere(k, "the session", alive)
	l.beaten(1)
	host, port, _ := net.SplitHostPort(servers["east"].Addr)
	servers["east"].Do("REPLICAOF", "NO", "ONE")
	servers["west"].Do("REPLICAOF", host, port)
	s := l.agreed("north", "east is adopted", func(s ledger.State) bool { return s.Lease.Holder == "east" })
	if s.Lease.Epoch != 2 || !s.Lease.Unplanned || s.Lease.From != "west" {
		t.Errorf("the lease is %+v, want the second one, from west and unplanned", s.Lease)
	}
	l.under("east", 2)
	s = l.agreed("north", "what west took was looked at", func(s ledger.State) bool { _, owes := s.Owes("west"); return len(s.Receipts) > 0 && !owes })
	if r := s.Receipts[0]; r.Epoch != 1 || r.To != "east" || r.Note == "" {
		t.Errorf("the receipt is %+v, want one of epoch 1 that says what is not sure", r)
	}
	l.everywhere(k, "the session", alive)
	l.everywhere(l.under("east", 2), "a session of the new primary", alive)
}

// Somebody makes another Region's server a primary, and the holder's stays one: it is made
// to follow again.
func TestPromotedBesideTheHolder(t *testing.T) {
	l, servers := passive(t)
	for _, name := range names() {
		l.start(name)
	}
	l.agreed("north", "west holds the lease", func(s ledger.State) bool { return s.Lease.Holder == "west" })
	l.under("west", 1)
	l.beaten(1)
	servers["east"].Do("REPLICAOF", "NO", "ONE")
	l.agreed("north", "somebody is told", func(s ledger.State) bool {
		for _, e := range s.Events {
			if e.Kind == ledger.KindVerdict && e.Region == "east" {
				return true
			}
		}
		return false
	})
	l.everywhere(l.under("west", 1), "a session that was begun meanwhile", alive)
	if s, _ := l.seat("north").State(); s.Lease.Epoch != 1 {
		t.Errorf("the lease is %+v, want the first still", s.Lease)
	}
}

// The primary's server starts anew and has nothing: all follow it, and have nothing either.
// Its node has kept what it took, and brings it home.
func TestPrimaryStartsEmpty(t *testing.T) {
	servers := map[string]*valkeytest.Server{}
	var engines []string
	for _, name := range names() {
		servers[name] = valkeytest.Start(t, "--repl-diskless-sync-delay", "0", "--save", "")
		engines = append(engines, on(servers[name]))
	}
	l := newCountry(t, "topology: active-passive\nprimary: west", "", engines...)
	for _, name := range names() {
		l.start(name)
	}
	l.agreed("north", "west holds the lease", func(s ledger.State) bool { return s.Lease.Holder == "west" })
	var keys []crdt.Key
	for range 5 {
		keys = append(keys, l.under("west", 1))
	}
	for _, k := range keys {
		l.everywhere(k, "a session", alive)
	}
	l.spooled("west") // what is not yet there is nowhere
	servers["west"].Kill()
	servers["west"].Restart()
	s := l.agreed("north", "what west had is looked for, and brought home", func(s ledger.State) bool {
		_, owes := s.Owes("west")
		return len(s.Receipts) > 0 && !owes
	})
	if r := s.Receipts[0]; r.Epoch != 1 || r.From != "west" || r.Counts[ledger.Recovered] == 0 || r.Note == "" {
		t.Errorf("the receipt is %+v, want one of epoch 1 with what was recovered, and what is not sure", r)
	}
	for _, k := range keys {
		l.everywhere(k, "a session", alive)
	}
}
