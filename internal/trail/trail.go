package trail

import (
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// Marks is up to where the log had come, or peers held it, and when, in each partition.
// Each process has its own: one that begins anew trims a while later. The zero value has
// none. It may be used by many goroutines.
type Marks struct {
	mu    sync.Mutex // guards parts; nothing is called under it
	parts [crdt.Partitions][]mark
}

// A mark says that the log had come to n at the latest at at.
type mark struct {
	n  uint64
	at time.Time
}

// marksKept is how many marks a span is divided into.
const marksKept = 16

// Note notes that a partition's log has come to entry n now, to be found by Due with the
// same keep. Some time is left out: a sixteenth of keep.
func (m *Marks) Note(p uint16, n uint64, now time.Time, keep time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	marks := m.parts[p]
	if len(marks) > 0 {
		if last := marks[len(marks)-1]; n <= last.n || now.Sub(last.at) < keep/marksKept {
			return
		}
	}
	m.parts[p] = append(marks, mark{n, now})
}

// Due returns which entry a partition's log had come to by keep before now; 0: not known.
func (m *Marks) Due(p uint16, now time.Time, keep time.Duration) (n uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	marks := m.parts[p]
	for len(marks) > 0 && now.Sub(marks[0].at) >= keep {
		n, marks = marks[0].n, marks[1:]
	}
	m.parts[p] = marks
	return n
}

// Ingest takes b in by pieces of at most n entries, and returns what came of all. It ends
// at a gap, since what comes after can't move the cursor, and at an error; what was taken
// in before stays.
func Ingest(b engine.Batch, n int, one func(engine.Batch) (engine.Ingested, error)) (engine.Ingested, error) {
	var out engine.Ingested
	for first := true; first || len(b.Frags) > 0; first = false {
		piece := b
		piece.Frags = b.Frags[:min(n, len(b.Frags))]
		got, err := one(piece)
		if err != nil {
			return engine.Ingested{}, err
		}
		out.Position, out.Hole = got.Position, out.Hole || got.Hole
		if out.Gaps = append(out.Gaps, got.Gaps...); len(got.Gaps) > 0 {
			break
		}
		b.First, b.Frags, b.Rebase = b.First+uint64(len(piece.Frags)), b.Frags[len(piece.Frags):], false
	}
	return out, nil
}
