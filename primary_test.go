package roam_test

import (
	"strings"
	"testing"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine/memory"
)

// A Store writes where it was last told to, and keeps to that when it is told nonsense.
func TestSetPrimary(t *testing.T) {
	var probes []*probe
	for id := range crdt.Region(2) {
		e, err := memory.New(id+1, memory.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() }) // never fails
		probes = append(probes, &probe{Engine: e})
	}
	store, err := roam.Open(t.Context(), roam.Config{
		Here: roam.Region{ID: 1, Name: "here", Engine: probes[0]}, Peers: []roam.Region{{ID: 2, Name: "there", Engine: probes[1]}}, Primary: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() }) // never fails
	sessions, err := roam.NewManager(store, testKey("primary"), roam.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		primary, next crdt.Region
		fault         string
		want          crdt.Region
	}{
		{1, 2, "", 1},
		{2, 0, "", 2},
		{0, 0, "whether one Region takes all writes", 2},
		{3, 0, "primary 3 is not one", 2},
		{1, 3, "next primary 3 is not one", 2},
	} {
		err := store.SetPrimary(c.primary, c.next)
		if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("SetPrimary(%d, %d) = %v, want %q", c.primary, c.next, err, c.fault)
		}
		if got := store.Primary(); got != c.want {
			t.Errorf("Primary = %d after SetPrimary(%d, %d), want %d", got, c.primary, c.next, c.want)
		}
		for _, p := range probes {
			p.calls()
		}
		browser{}.visit(sessions, "/", change(t))
		for i, p := range probes {
			if _, writes := p.calls(); (writes > 0) != (crdt.Region(i+1) == c.want) { //nolint:gosec // a handful
				t.Errorf("%d writes in Region %d, whose primary is %d", writes, i+1, c.want)
			}
		}
	}
}
