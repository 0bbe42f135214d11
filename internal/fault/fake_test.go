package fault

import (
	"context"
	"flag"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

var seed = flag.Uint64("seed", 1, "seed of the tests' randomness")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is the least engine there can be, and counts what it is asked.
type fake struct {
	mu      sync.Mutex
	records map[crdt.Key]crdt.Record
	calls   map[Method]int
	slow    time.Duration // how long Apply takes
	closed  bool
}

func newFake() *fake {
	return &fake{records: map[crdt.Key]crdt.Record{}, calls: map[Method]int{}}
}

func (f *fake) enter(m Method) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return engine.ErrClosed
	}
	f.calls[m]++
	return nil
}

func (f *fake) count(m Method) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[m]
}

func (f *fake) record(k crdt.Key) crdt.Record {
	if r, ok := f.records[k]; ok {
		return r
	}
	return crdt.Record{Key: k}
}

func (f *fake) Read(_ context.Context, k crdt.Key, _ crdt.Token) (crdt.Record, error) {
	if err := f.enter(Read); err != nil {
		return crdt.Record{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.record(k), nil
}

func (f *fake) Apply(_ context.Context, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	if err := f.enter(Apply); err != nil {
		return crdt.Dot{}, err
	}
	if f.slow > 0 {
		<-time.After(f.slow)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	r, fragment, err := crdt.Apply(f.record(k), op, crdt.Origin{Actor: crdt.NewActor(1, 1), Now: crdt.TimeOf(time.Now())})
	if err != nil {
		return crdt.Dot{}, err
	}
	f.records[k] = r
	return fragment.Dot, nil
}

func (f *fake) Join(_ context.Context, r crdt.Record) error {
	if err := f.enter(Join); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.records[r.Key] = crdt.Join(f.record(r.Key), r)
	return nil
}

func (f *fake) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}

// Scan is a power for tests of Unwrap.
func (f *fake) Scan(context.Context, engine.Partitions, func(crdt.Record) bool) error { return nil }

// alice is a key of which every Apply of revoke writes.
func alice() crdt.Key { return crdt.UserKey("alice") }

func revoke() crdt.Op { return crdt.Op{Revoke: true} }
