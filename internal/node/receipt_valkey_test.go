//go:build integration

package node

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/admin"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// A moment is when a session was written to, as lists of receipts have it.
type moment struct {
	session string
	at      int64 // in milliseconds
}

// asker returns what asks members as one of them.
func (l *land) asker(as string, regions ...string) *admin.Client {
	l.t.Helper()
	ca, err := os.ReadFile(filepath.Join(l.dir, "ca.pem"))
	if err != nil {
		l.t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(pemPaths(l.dir, as))
	if err != nil {
		l.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	c := admin.ClientConfig{TLS: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, Certificates: []tls.Certificate{pair}}}
	for _, name := range regions {
		r, _ := l.parts.Region(name)
		c.URLs = append(c.URLs, "https://"+r.Node.API)
	}
	client, err := admin.NewClient(c)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(client.Close)
	return client
}

// list returns the whole list of an epoch, as a member tells it.
func (l *land) list(c *admin.Client, epoch uint64) (head admin.ListHead, has map[moment]int, err error) {
	has = map[moment]int{}
	err = c.ReceiptItems(l.t.Context(), epoch, admin.Listing{
		Head: func(h admin.ListHead) error { head = h; return nil },
		Item: func(i admin.Item) error { has[moment{i.Session, i.At.UnixMilli()}]++; return nil },
	})
	return head, has, err
}

// lists wants the whole list of epoch 1 to be of some writes, and returns its head.
func (l *land) lists(c *admin.Client, lost map[moment]int) admin.ListHead {
	l.t.Helper()
	head, has, err := l.list(c, 1)
	n := uint64(0)
	for _, times := range lost {
		n += uint64(times) //nolint:gosec // a count
	}
	if err != nil || !maps.Equal(has, lost) || head.Named != n || head.More != 0 {
		l.t.Errorf("the list has %d of %d moments, %+v, %v, want %d writes and the same", len(has), len(lost), head, err, n)
	}
	return head
}

// loses has a Region's server take n writes to some sessions, and returns when which of them
// was written to.
func (l *land) loses(name string, sessions []crdt.Key, n int) map[moment]int {
	l.t.Helper()
	lost := map[moment]int{}
	e := l.engine(name)
	var last crdt.Stamp
	for i := range n {
		k := sessions[i%len(sessions)]
		op := crdt.Op{ID: uint64(i) + 1, Stamp: max(crdt.TimeOf(time.Now()).Stamp(), last) + 1, Changes: []crdt.Change{crdt.Add("n", 1)}} //nolint:gosec // small
		dot, err := e.Apply(l.t.Context(), k, op)
		if err != nil {
			l.t.Fatalf("write %d in %s: %v", i, name, err)
		}
		last = dot.Stamp
		lost[moment{k.String(), dot.Stamp.Time().Std().UnixMilli()}]++
	}
	return lost
}

// spooled waits until the spool of a Region's node has all of its server's log.
func (l *land) spooled(name string) {
	l.t.Helper()
	own, _ := engine.As[*valkey.Engine](l.engine(name))
	eventually(l.t, "the spool of "+name+" has all", func() bool {
		tail, err := own.Tail(l.t.Context())
		return err == nil && l.nodes[name].spool.At() == tail
	})
}

// More writes are lost than a receipt names. First the spool has them, while the server is
// away, and then the server: each time one list has all, as often as they were acknowledged
// and as many as the receipt counts. Any member leads to it.
func TestWholeListOnValkey(t *testing.T) {
	const missing = 1200
	l, servers := passive(t)
	door := valkeytest.NewDoor(t, servers["west"].Addr) // to what others replicate
	l.parts.Regions[0].Replicate = door.Addr
	for _, name := range names() {
		l.start(name)
	}
	l.agreed("north", "west holds the lease", func(s ledger.State) bool { return s.Lease.Holder == "west" })
	var sessions []crdt.Key
	for range 40 {
		sessions = append(sessions, l.under("west", 1))
	}
	for _, k := range sessions {
		l.everywhere(k, "a session that all have", func(r crdt.Record) bool { return !r.IsBottom() })
	}
	door.Hold(true)
	lost := l.loses("west", sessions, missing)
	l.spooled("west")
	servers["west"].Kill()
	// Somebody decides: so much is missing that the judge would not.
	wish := ledger.Depose{Epoch: 1, Wish: "east", Why: "a test"}
	if _, err := l.seat("north").Propose(t.Context(), ledger.Command{Depose: &wish}); err != nil {
		t.Fatal(err)
	}
	all := l.asker("north", "north", "east", "west")
	l.agreed("north", "the spool was brought home", func(s ledger.State) bool {
		r, owes := s.Owes("west")
		return owes && r.Counts[ledger.Recovered] == missing
	})
	if head := l.lists(all, lost); !head.Receipt.Closed.IsZero() {
		t.Errorf("the receipt is closed while the server is away: %+v", head)
	}
	servers["west"].Restart()
	s := l.agreed("north", "the receipt is complete", func(s ledger.State) bool { _, owes := s.Owes("west"); return !owes })
	head := l.lists(all, lost)
	receipt := s.Receipts[0]
	counts := map[ledger.Fate]uint64{}
	for fate, n := range head.Counts {
		counts[ledger.Fate(fate)] = n
	}
	if !maps.Equal(counts, receipt.Counts) || counts[ledger.Recovered] != missing || len(receipt.Items) != ledger.MaxItems {
		t.Errorf("the list counts %v, the receipt %v and names %d; want %d", counts, receipt.Counts, len(receipt.Items), missing)
	}
	_, _, err := l.list(l.asker("north", "north"), 1)
	if p, ok := errors.AsType[*admin.Problem](err); !ok || p.Kind != admin.KindElsewhere || p.Keeper != "west" {
		t.Errorf("north alone says %v, want that west has it", err)
	}
}
