package postgres

import (
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// marks is up to where the log had come, or peers held it, and when. Each process has
// its own, and trims by them: a process that begins anew trims a while later.
type marks struct {
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

func (r *marks) note(p uint16, n uint64, now time.Time, keep time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	marks := r.parts[p]
	if len(marks) > 0 {
		if last := marks[len(marks)-1]; n <= last.n || now.Sub(last.at) < keep/marksKept {
			return
		}
	}
	r.parts[p] = append(marks, mark{n, now})
}

// due returns where a partition's log had come to by keep before now; 0: not known.
func (r *marks) due(p uint16, now time.Time, keep time.Duration) (n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	marks := r.parts[p]
	for len(marks) > 0 && now.Sub(marks[0].at) >= keep {
		n, marks = marks[0].n, marks[1:]
	}
	r.parts[p] = marks
	return n
}
