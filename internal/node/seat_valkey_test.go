//go:build integration

package node

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// agreed waits for what members agree on to be so, at a node.
func (l *land) agreed(name, what string, is func(ledger.State) bool) (s ledger.State) {
	l.t.Helper()
	defer func() {
		if l.t.Failed() {
			l.t.Logf("%s: %s; the lease is %+v, receipts %+v", what, l.verdict(), s.Lease, s.Receipts)
		}
	}()
	eventually(l.t, what, func() bool {
		m, err := l.nodes[name].seat.seated()
		if err != nil {
			l.t.Fatal(err)
		}
		if m == nil {
			return false
		}
		s, _ = m.State()
		return is(s)
	})
	return s
}

// seat returns the member of a node that runs.
func (l *land) seat(name string) *control.Member {
	l.t.Helper()
	m, err := l.nodes[name].seat.seated()
	if m == nil {
		l.t.Fatalf("%s is no member: %v", name, err)
	}
	return m
}

// verdict says what the judge found last, and held back.
func (l *land) verdict() string {
	for _, n := range l.nodes {
		if m, _ := n.seat.seated(); m != nil {
			if s := m.Status(); s.Judged {
				return fmt.Sprintf("findings %v, held %v, of %+v", s.Verdict.Findings, s.Verdict.Held, s.Members)
			}
		}
	}
	return "nobody leads"
}

// passive is three Regions, whose servers have on their disks whatever they acknowledge:
// otherwise one that waits for its disk loses the last second when it is killed.
func passive(t *testing.T) (*land, map[string]*valkeytest.Server) {
	t.Helper()
	servers := map[string]*valkeytest.Server{}
	var engines []string
	for _, name := range names() {
		servers[name] = valkeytest.Start(t, "--repl-diskless-sync-delay", "0", "--appendonly", "yes", "--appendfsync", "always")
		engines = append(engines, on(servers[name]))
	}
	return newCountry(t, "topology: active-passive\nprimary: west", "", engines...), servers
}

// Nodes found a control plane, have the servers follow the primary's, and hand over as
// planned: what was written before is there, and old holders take nothing more.
func TestSwitchoverOnValkey(t *testing.T) {
	l, servers := passive(t)
	for _, name := range names() {
		l.start(name)
	}
	l.agreed("north", "west holds the lease", func(s ledger.State) bool { return s.Lease.Holder == "west" })
	eventually(t, "north answers that west is the writer", func() bool { return l.writer("north") == "west.session.internal." })
	before := l.under("west", 1)
	if _, err := l.seat("north").Propose(t.Context(), ledger.Command{Plan: &ledger.Plan{To: "east", By: "ann"}}); err != nil {
		t.Fatal(err)
	}
	s := l.agreed("north", "all is done", func(s ledger.State) bool { return s.Handover.Step == ledger.Done })
	if s.Lease.Holder != "east" || s.Lease.Epoch != 2 || s.Lease.Unplanned {
		t.Errorf("the lease is %+v, want epoch 2 of east, planned", s.Lease)
	}
	if info := servers["east"].Do("INFO", "stats"); !strings.Contains(info, "sync_full:0") || !strings.Contains(info, "sync_partial_ok:2") {
		t.Errorf("east gave others all data anew, want nobody: %s", info)
	}
	after := l.under("east", 2)
	for _, k := range []crdt.Key{before, after} {
		for _, name := range names() {
			eventually(t, name+" has it", func() bool {
				e, _ := l.nodes[name].Engine()
				r, err := e.Read(t.Context(), k, crdt.Token{})
				return err == nil && !r.IsBottom()
			})
		}
	}
	for _, name := range names() {
		eventually(t, name+" answers that east is the writer", func() bool { return l.writer(name) == "east.session.internal." })
	}
	west, _ := l.nodes["west"].Engine()
	own, _ := engine.As[*valkey.Engine](west)
	for epoch := range uint64(3) {
		own.Under(epoch)
		if _, err := own.Apply(t.Context(), after, crdt.Op{Destroy: true}); err == nil {
			t.Errorf("the old primary took a write of epoch %d", epoch)
		}
	}
}

// The primary's server dies with writes that nobody else has. Another Region takes over;
// when the server is back what it took alone is taken in there, and it follows.
func TestFailoverOnValkey(t *testing.T) {
	l, servers := passive(t)
	door := valkeytest.NewDoor(t, servers["west"].Addr) // to what others replicate
	l.parts.Regions[0].Replicate = door.Addr
	for _, name := range names() {
		l.start(name)
	}
	l.agreed("north", "west holds the lease", func(s ledger.State) bool { return s.Lease.Holder == "west" })
	both := l.under("west", 1)
	l.everywhere(both, "a session that all have", func(r crdt.Record) bool { return !r.IsBottom() })
	eventually(t, "the others have heard a heartbeat", func() bool {
		heard := 0
		for _, seen := range l.seat("north").Status().Members {
			if seen.Member != "west" && seen.Server.Beat.Epoch == 1 {
				heard++
			}
		}
		return heard == 2
	})
	door.Hold(true)
	alone := l.under("west", 1)
	eventually(t, "west takes another write", func() bool { // its node may be telling the engine its epoch
		op := crdt.Op{Stamp: crdt.TimeOf(time.Now()).Stamp() + 1, Changes: []crdt.Change{crdt.Put("a", []byte("alone"))}}
		_, err := l.engine("west").Apply(t.Context(), both, op)
		return err == nil
	})
	servers["west"].Kill()
	s := l.agreed("north", "another Region holds the lease", func(s ledger.State) bool { return s.Lease.Holder != "west" })
	to := s.Lease.Holder
	later := l.under(to, s.Lease.Epoch)
	if r, owes := s.Owes("west"); !owes || r.Epoch != 1 || r.To != to {
		t.Errorf("the receipt is %+v, %v; want one of epoch 1, to %s", r, owes, to)
	}

	servers["west"].Restart()
	s = l.agreed("north", "the receipt is complete", func(s ledger.State) bool { _, owes := s.Owes("west"); return !owes })
	receipt := s.Receipts[0]
	if receipt.Counts[ledger.Recovered] != 2 || len(receipt.Items) != 2 || receipt.Fork == "" {
		t.Errorf("the receipt is %+v, want the two writes that only west had", receipt)
	}
	for _, k := range []crdt.Key{alone, later} {
		l.everywhere(k, "a session that one side took", func(r crdt.Record) bool { return !r.IsBottom() })
	}
	l.everywhere(both, "the write that only west had", func(r crdt.Record) bool {
		v, _ := r.Value("a")
		return string(v) == "alone"
	})
}

// writer asks a node where the writer is.
func (l *land) writer(of string) string {
	l.t.Helper()
	r, _ := l.parts.Region(of)
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, r.Node.DNS)
	}}
	name, err := resolver.LookupCNAME(l.t.Context(), "write.session.internal.")
	if err != nil {
		return err.Error()
	}
	return name
}

// under has a session begin at a Region's server in an epoch, as soon as that takes writes.
func (l *land) under(name string, epoch uint64) (k crdt.Key) {
	l.t.Helper()
	eventually(l.t, name+" takes a write", func() (ok bool) {
		k, ok = l.tryUnder(name, epoch)
		return ok
	})
	return k
}

// tryUnder is under for one try.
func (l *land) tryUnder(name string, epoch uint64) (k crdt.Key, ok bool) {
	l.t.Helper()
	e, ok := l.nodes[name].Engine()
	if !ok {
		return k, false
	}
	own, _ := engine.As[*valkey.Engine](e)
	own.Under(epoch)
	k, err := l.tryBirth(name)
	return k, err == nil
}
