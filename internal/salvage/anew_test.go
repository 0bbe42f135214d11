//go:build integration

package salvage_test

import (
	"maps"
	"testing"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/salvage"
)

// emptied has the primary start empty and take more writes, which all others copy, and
// returns its engine and what it took before. Its log begins anew then: the same numbers
// are other writes.
func (w *trio) emptied(keys []crdt.Key) (*valkey.Engine, map[lost]bool) {
	w.Helper()
	stop := w.keep(w.engine(1, w.old))
	w.write(w.engine(1, w.old), keys, 60)
	stop()
	before := map[lost]bool{}
	for l := range w.acked {
		before[l] = true
	}
	w.old.Kill()
	w.old.Restart()
	again := w.engine(1, w.old)
	stop = w.keep(again)
	w.write(again, keys[:20], 30)
	stop()
	w.until("the other one has all of it", func() bool {
		tail, err := again.Tail(w.Context())
		known, errKnown := w.engine(2, w.home).Known(w.Context(), tail)
		return err == nil && errKnown == nil && known == tail
	})
	return again, before
}

// A primary has started empty and gone on, and another one takes over then, which has
// copied that: what the primary took before is missing there, though not by its number.
func TestPrimaryWasEmptiedBefore(t *testing.T) {
	w := newTrio(t, "--save", "")
	keys := newKeys()
	old, before := w.emptied(keys)
	w.door.Hold(true)
	if err := w.chain(w.home).Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	home := w.engine(2, w.home)
	missing := w.missing(home)
	for l := range before { // a session may have been ended since, which needs none of it
		missing[l] = true
	}
	fork, err := home.Tail(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(missing) < 100 || len(missing) == len(w.acked) {
		t.Fatalf("%d of %d writes are missing, want some", len(missing), len(w.acked))
	}
	w.write(home, keys[:30], 30)
	w.wantSalvaged(salvage.Config{Old: old, Spool: w.spool, Fork: fork, Parted: true}, missing)
}

// A primary has started empty and is to go on: what it lacks is brought home from its
// node's spool, and listed, and what it has taken since is neither.
func TestBroughtHomeToTheSameServer(t *testing.T) {
	w := newTrio(t, "--save", "")
	old, _ := w.emptied(newKeys())
	missing := w.missing(old)
	c := salvage.Config{Target: old, Home: true, Spool: w.spool}
	out, err := salvage.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if got := listed(out); !maps.Equal(got, missing) || !out.Open || len(out.Holes) > 0 {
		t.Errorf("it lists %d writes, %d were missing: %s", len(got), len(missing), out.Summary())
	}
	if left := w.missing(old); len(left) > 0 {
		t.Errorf("%d acknowledged writes are missing after it", len(left))
	}
	if out, err := salvage.Run(t.Context(), c); err != nil || len(out.Items) > 0 || out.Adopted > 0 {
		t.Errorf("a second run lists %d writes, and changes %d records: %v", len(out.Items), out.Adopted, err)
	}
}
