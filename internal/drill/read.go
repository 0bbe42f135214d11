package drill

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/pause"
)

// readers are how many records are read at a time.
const readers = 32

// read fills in what a Region's server has of some records.
func (r *region) read(ctx context.Context, of map[crdt.Key]crdt.Record) error {
	var mu sync.Mutex // guards of, failed and keys
	var failed error
	var keys []crdt.Key
	for k := range of {
		keys = append(keys, k)
	}
	var all sync.WaitGroup
	for range readers {
		all.Go(func() {
			for {
				mu.Lock()
				if len(keys) == 0 || failed != nil {
					mu.Unlock()
					return
				}
				k := keys[len(keys)-1]
				keys = keys[:len(keys)-1]
				mu.Unlock()
				rec, err := r.readOne(ctx, k)
				mu.Lock()
				if of[k] = rec; err != nil {
					failed = fmt.Errorf("read %v in %s: %w", k, r.name, err)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return failed
}

func (r *region) readOne(ctx context.Context, k crdt.Key) (rec crdt.Record, err error) {
	const tries, each = 3, 2 * time.Second
	for range tries {
		reading, cancel := context.WithTimeout(ctx, each)
		rec, err = r.engine.Read(reading, k, crdt.Token{})
		cancel()
		if err == nil {
			break
		}
	}
	return rec, err
}

// showOf returns what a session shows.
func showOf(rec crdt.Record) Shown {
	out := Shown{Dead: rec.Dead, Count: rec.Count(string(visits))}
	if raw, ok := rec.Value(string(number)); ok {
		_ = cbor.Unmarshal(raw, &out.Newest) // else it shows none
	}
	return out
}

// endedAlone returns the sessions of writes that have ended at a server, and nobody ended
// them. A logout that is under way is waited for: its answer comes later than it is done.
func (w *world) endedAlone(ctx context.Context, writes []Write, has map[crdt.Key]crdt.Record) []string {
	const again = 100 * time.Millisecond
	var out []string
	for end := w.book.now() + visitTime; ; {
		endings, doubts := w.book.since(page{})
		if out = unexplained(writes, endings, doubts, has); len(out) == 0 || w.book.now() > end || !pause.For(ctx, again) {
			return out
		}
	}
}
