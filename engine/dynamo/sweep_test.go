package dynamo

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// Sweep deletes what is past its time and nothing that is written meanwhile.
func TestSweep(t *testing.T) {
	s := newService(t)
	s.pageSize = 3
	c := &clock{}
	e := s.open(t, 1, func(config *Config) { config.Clock, config.Strong = c.now, true })
	for range 8 {
		born(t, e)
	}
	user := crdt.UserKey("ann")
	if _, err := e.Apply(t.Context(), user, crdt.Op{Revoke: true}); err != nil {
		t.Fatal(err)
	}
	if n, err := e.Sweep(t.Context()); n != 0 || err != nil {
		t.Errorf("Sweep = %d, %v, want nothing deleted", n, err)
	}
	c.advance(time.Hour + 3*time.Minute)
	s.breakAt("DeleteItem", fault{status: 400, code: "ConditionalCheckFailedException"}, 2) // written meanwhile
	if n, err := e.Sweep(t.Context()); n != 7 || err != nil {
		t.Errorf("Sweep = %d, %v, want 7", n, err)
	}
	s.breakAt("DeleteItem", fault{status: 400, code: "AccessDeniedException"}, 0)
	if n, err := e.Sweep(t.Context()); n != 0 || !errors.Is(err, engine.ErrUnreachable) {
		t.Errorf("Sweep by who may not delete = %d, %v, want ErrUnreachable", n, err)
	}
	s.breakAt("Scan", fault{status: 400, code: "ThrottlingException"}, 1)
	if n, err := e.Sweep(t.Context()); n != 1 || err != nil {
		t.Errorf("second Sweep = %d, %v, want 1", n, err)
	}
	if rows := s.sorted(""); len(rows) != 1 || rows[0]["pk"]["S"] != keyOf(user) {
		t.Errorf("%d items are left, want the user's", len(rows))
	}
}

// left counts the items that are there.
func (s *service) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.items[testTable])
}

// Sweeps that are cut off long before they are through delete everything in time.
func TestSweepsThatAreCutOff(t *testing.T) {
	const sessions, most = 64, 300
	s := newService(t)
	c := &clock{}
	e := s.open(t, 1, func(config *Config) { config.Clock, config.Strong = c.now, true })
	for range sessions {
		born(t, e)
	}
	c.advance(time.Hour + 3*time.Minute)
	deleted, rounds := 0, 0
	for ; s.left() > 0 && rounds < most; rounds++ {
		ctx, cancel := context.WithCancel(t.Context())
		scans := 0
		s.mu.Lock()
		s.fault = func(op string, _ int) *fault {
			if op == "Scan" {
				scans++
			}
			if scans > sweepSegments/6 {
				cancel() // of what is under way the answers are lost
			}
			return nil
		}
		s.mu.Unlock()
		n, err := e.Sweep(ctx)
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("Sweep that is cut off = %d, %v, want that it was", n, err)
		}
		deleted += n
	}
	t.Logf("%d rounds", rounds)
	if left := s.left(); left > 0 || deleted > sessions || deleted < sessions/2 {
		t.Errorf("%d of %d counted as deleted in %d rounds, %d left", deleted, sessions, rounds, left)
	}
}

// One item that nobody can read does not keep a sweep from the others.
func TestSweepGoesOnAfterWhatIsCorrupt(t *testing.T) {
	s := newService(t)
	c := &clock{}
	e := s.open(t, 1, func(config *Config) { config.Clock, config.Strong = c.now, true })
	var keys []crdt.Key
	for range 5 {
		keys = append(keys, born(t, e))
	}
	s.edit(keys[0], int(everybody), func(row map[string]map[string]string) { delete(row, attrVersion) })
	c.advance(time.Hour + 3*time.Minute)
	n, err := e.Sweep(t.Context())
	if !errors.Is(err, engine.ErrCorrupt) {
		t.Errorf("Sweep = %d, %v, want ErrCorrupt", n, err)
	}
	rows := s.sorted("")
	if !slices.ContainsFunc(rows, func(row map[string]map[string]string) bool { return row["pk"]["S"] == keyOf(keys[0]) }) {
		t.Error("what can't be read was deleted")
	}
	if n+len(rows) != 5 || len(rows) > 3 { // others may be in its segment
		t.Errorf("%d deleted, %d left, want the one", n, len(rows))
	}
}
