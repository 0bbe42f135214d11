package steered

import (
	"context"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/receipt"
	"github.com/roam-sessions/roam/internal/salvage"
)

// A loss is a former primary with writes that the next one has not.
type loss struct {
	*testing.T
	server *Server
	of     ledger.Receipt
	c      salvage.Config
}

// newLoss returns one of n writes, of which a list may be kept in dir.
func newLoss(t *testing.T, n int, dir string) *loss {
	t.Helper()
	clock := time.Unix(1790000000, 0)
	open := func(here crdt.Region) *memory.Engine {
		e, err := memory.New(here, memory.Config{Clock: func() time.Time { return clock }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() }) // it never fails
		return e
	}
	old, home := open(1), open(2)
	now := crdt.TimeOf(clock)
	for i := range n {
		k := crdt.SessionKey(crdt.NewSessionID(now.Add(time.Hour), 1, crdt.IDEntropy{byte(i), byte(i >> 8)}))
		op := crdt.Op{Stamp: now.Stamp() + 1, Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}, User: "ann"}
		if _, err := old.Apply(t.Context(), k, op); err != nil {
			t.Fatal(err)
		}
	}
	return &loss{
		T: t, server: New(Config{Self: "west", Lists: receipt.NewFolder(receipt.Config{Dir: dir})}),
		of: ledger.Receipt{Epoch: 7, From: "west", To: "east"},
		c: salvage.Config{
			Old: old, Intact: func(context.Context) bool { return true }, Target: home, Rate: 1e6, Quiet: 50 * time.Millisecond, Clock: func() time.Time { return clock },
		},
	}
}

// wants has all be brought home, and wants the receipt and the list to be of n writes.
func (l *loss) wants(what string, n int) {
	l.Helper()
	r, err := l.server.bring(l.Context(), l.of, l.c)
	want := map[ledger.Fate]uint64{ledger.Recovered: uint64(n)} //nolint:gosec // positive
	if err != nil || r.Epoch != 7 || !maps.Equal(r.Counts, want) || len(r.Items) != min(n, ledger.MaxItems) || r.Note != "" {
		l.Errorf("%s: %v, counted %v, named %d, noted %q, want %d recovered", what, err, r.Counts, len(r.Items), r.Note, n)
	}
	l.wantList(what, n)
}

func (l *loss) wantList(what string, n int) {
	l.Helper()
	list, err := l.server.config.Lists.Open(7)
	if err != nil {
		l.Fatalf("%s: %v", what, err)
	}
	defer func() { _ = list.Close() }()                                                                                        // it was read only
	if list.End().Counts[ledger.Recovered] != uint64(n) || list.Head() != (receipt.Head{Epoch: 7, From: "west", To: "east"}) { //nolint:gosec // positive
		l.Errorf("%s: the list is %+v, %+v, want %d", what, list.Head(), list.End(), n)
	}
	for read := 0; ; read++ {
		if _, err := list.Next(); err == io.EOF { //nolint:errorlint // as it is
			if read != n {
				l.Errorf("%s: the list has %d items, want %d", what, read, n)
			}
			return
		}
	}
}

// However often what was lost is looked at, one list has all of it, and the receipt counts
// it: also where a later look finds nothing missing any more.
func TestLooksMakeOneList(t *testing.T) {
	const missing = ledger.MaxItems + 200
	l := newLoss(t, missing, filepath.Join(t.TempDir(), "receipts"))
	l.wants("a look with a fork that is not known", missing)
	l.wants("another one", missing)
	l.c.Parted = true
	l.wants("one with a fork that is", missing)
	l.wants("and another one", missing)

	l.c.Target = closed{l.c.Target}
	if _, err := l.server.bring(t.Context(), l.of, l.c); err == nil {
		t.Error("a look that fails is none")
	}
	l.wantList("after a look that failed", missing)
}

// closed is an engine that is away.
type closed struct{ engine.Engine }

func (closed) Read(context.Context, crdt.Key, crdt.Token) (crdt.Record, error) {
	return crdt.Record{}, engine.ErrClosed
}

// A disk that takes no list keeps nothing from being brought home, nor from being counted,
// and the receipt says so.
func TestNoRoomForAList(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a file")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l := newLoss(t, 3, dir)
	l.c.Intact = nil
	r, err := l.server.bring(t.Context(), l.of, l.c)
	if err != nil || r.Counts[ledger.Recovered] != 3 || len(r.Items) != 3 {
		t.Errorf("bring = %+v, %v, want three writes", r, err)
	}
	if !strings.Contains(r.Note, "3 writes were missing: 3 recovered") || !strings.Contains(r.Note, "the list of all could not be kept") {
		t.Errorf("the note is %q", r.Note)
	}
	l = newLoss(t, 3, "")
	l.server.config.Lists = nil
	if r, err := l.server.bring(t.Context(), l.of, l.c); err != nil || r.Counts[ledger.Recovered] != 3 || r.Note != "" {
		t.Errorf("without a folder: %+v, %v", r, err)
	}
}
