package roam_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
)

// No failure of engines ever looks like a missing session to a browser: for each
// kind of error, each mode and each class, wherever it strikes, nothing is
// written and no credential is set or cleared, unless a Region that has the
// session could be asked.
func TestErrorIsNoMissingSession(t *testing.T) {
	kinds := []error{
		engine.ErrUnavailable, engine.ErrUnreachable, engine.ErrNotPrimary, engine.ErrFull,
		engine.ErrCorrupt, engine.ErrClosed, context.DeadlineExceeded, errors.New("something else"),
	}
	for _, kind := range kinds {
		for _, mode := range []roam.Mode{roam.ByToken, roam.ByPrimary, roam.ByRetry, roam.Accept} {
			for _, primary := range []crdt.Region{0, 1} {
				for failing := range 8 { // a set of reader, holder and side
					t.Run(fmt.Sprint(kind, " ", mode, " ", primary, " ", failing), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { strike(t, kind, mode, primary, failing) })
					})
				}
			}
		}
	}
}

// What fails: the engine of the Region that reads, the one that has the session,
// the side store of the Region that reads.
const (
	reader = 1 << iota
	holder
	side
)

// strike makes the session in Region 0 and has its browser turn up in Region 1,
// which has never heard of it, while some engines fail for whoever asks there.
func strike(t *testing.T, kind error, mode roam.Mode, primary crdt.Region, failing int) {
	var store *wire
	l := newLand(t, 2, mode, func(from int, c *roam.Config) {
		c.Primary = primary
		if from == 1 {
			store = sideStore(t)
			c.Here.Side = store
		}
	})
	l.engines[1].SetPrimary(primary == 0)
	b := browser{}
	l.apps[0].visit(b, "/", l.apps[0].login(t, "alice"))
	credential := b[credentialName]
	if failing&reader != 0 {
		l.wires[1][1].fail(kind)
	}
	if failing&holder != 0 {
		l.wires[1][0].fail(kind)
	}
	if failing&side != 0 {
		store.fail(kind)
	}
	for round := range 8 { // breakers open meanwhile, and probe
		for _, path := range []string{"/", "/strict"} {
			before := l.writes.Load()
			res := l.apps[1].visit(b, path, change(t))
			served := len(l.apps[1].failures) == 0
			l.apps[1].failures = nil
			if setsCredential(res) != "" || b[credentialName] != credential {
				t.Fatalf("round %d, %s: the credential is %q", round, path, setsCredential(res))
			}
			if wrote := l.writes.Load() != before; wrote && !served {
				t.Errorf("round %d, %s: an answer that failed has written", round, path)
			}
			if served && failing&holder != 0 {
				t.Errorf("round %d, %s: served with nobody to tell of the session", round, path)
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	l.wires[1][1].heal()
	l.wires[1][0].heal()
	store.heal()
	time.Sleep(10 * time.Second)
	if s, _ := l.apps[0].look(b, "/strict"); s.User() != "alice" {
		t.Errorf("afterwards she is %q, want alice", s.User())
	}
}

// sideStore returns a store of Region 2's own that can be made to fail.
func sideStore(t *testing.T) *wire {
	t.Helper()
	e, err := memory.New(2, memory.Config{Clock: clock})
	if err != nil {
		t.Fatalf("memory.New: %v", err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return &wire{Engine: e, writes: new(atomic.Int64)}
}
