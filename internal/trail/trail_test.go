package trail

import (
	"errors"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// What is due is what was noted by then, at the latest a sixteenth of the span before.
func TestMarks(t *testing.T) {
	const keep = 16 * time.Second
	begun := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var m Marks
	for i := range 40 {
		m.Note(3, uint64(i)+1, begun.Add(time.Duration(i)*time.Second/2), keep) //nolint:gosec // small
	}
	for after, want := range map[time.Duration]uint64{keep - 1: 0, keep: 1} {
		if got := m.Due(3, begun.Add(after), keep); got != want {
			t.Errorf("Due after %v = %d, want %d", after, got, want)
		}
	}
	if got := m.Due(3, begun.Add(keep+5*time.Second), keep); got != 11 {
		t.Errorf("Due 5 s later = %d, want 11, which was noted at 5 s", got)
	}
	if got := m.Due(3, begun.Add(keep+5*time.Second), keep); got != 0 {
		t.Errorf("Due again = %d, want nothing new", got)
	}
	if got := m.Due(2, begun.Add(time.Hour), keep); got != 0 {
		t.Errorf("Due of another partition = %d", got)
	}
	m.Note(3, 5, begun.Add(time.Hour), keep)
	if got := m.Due(3, begun.Add(3*time.Hour), keep); got != 39 {
		t.Errorf("Due in the end = %d, want 39: a log does not go back", got)
	}
}

// All entries come in once and in order, by pieces, until a gap or an error.
func TestIngest(t *testing.T) {
	whole := engine.Batch{First: 11, Rebase: true, Frags: make([]crdt.Fragment, 7)}
	for name, c := range map[string]struct {
		gapAt, failAt uint64 // the number of a piece's first entry; 0: never
		calls         int
	}{
		"all": {0, 0, 3}, "a gap": {14, 0, 2}, "an error": {0, 14, 2},
	} {
		failed, next, calls := errors.New("no"), uint64(11), 0
		out, err := Ingest(whole, 3, func(b engine.Batch) (engine.Ingested, error) {
			if calls++; b.First != next || len(b.Frags) > 3 || b.Rebase != (b.First == 11) {
				t.Errorf("%s: a piece of %d from %d, rebase %v, want from %d", name, len(b.Frags), b.First, b.Rebase, next)
			}
			next += uint64(len(b.Frags))
			got := engine.Ingested{Position: engine.Position{N: next - 1}, Hole: b.First == 11}
			if b.First == c.gapAt {
				got.Gaps = make([]crdt.Key, 1)
			}
			if b.First == c.failAt {
				return got, failed
			}
			return got, nil
		})
		if calls != c.calls || (err != nil) != (c.failAt > 0) {
			t.Errorf("%s: %d calls, %v, want %d", name, calls, err, c.calls)
		}
		if err == nil && (out.Position.N != next-1 || !out.Hole || len(out.Gaps) != min(1, int(c.gapAt))) { //nolint:gosec // small
			t.Errorf("%s: %+v", name, out)
		}
	}
	if _, err := Ingest(engine.Batch{First: 1}, 3, func(engine.Batch) (engine.Ingested, error) { return engine.Ingested{}, nil }); err != nil {
		t.Errorf("an empty batch = %v", err)
	}
}
