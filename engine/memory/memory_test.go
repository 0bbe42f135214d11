package memory_test

import (
	"flag"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/enginetest"
	"github.com/roam-sessions/roam/engine/memory"
)

var seed = flag.Uint64("seed", 0, "seed of random tests; 0: by the clock")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, here crdt.Region, c memory.Config) *memory.Engine {
	t.Helper()
	e, err := memory.New(here, c)
	if err != nil {
		t.Fatalf("New(%d, %+v) = %v, want no error", here, c, err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Close() = %v, want no error", err)
		}
	})
	return e
}

// A clock stands until it is moved.
type clock struct {
	mu  sync.Mutex // guards now
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestPromises(t *testing.T) {
	enginetest.Run(t, func(t *testing.T, here crdt.Region) engine.Engine {
		return open(t, here, memory.Config{})
	}, enginetest.Options{Seed: *seed})
}

// With a clock of its own an engine keeps the promises about time too.
func TestPromisesAsTimePasses(t *testing.T) {
	c := newClock()
	enginetest.Run(t, func(t *testing.T, here crdt.Region) engine.Engine {
		return open(t, here, memory.Config{Clock: c.Now, SweepInterval: time.Millisecond})
	}, enginetest.Options{Seed: *seed, Now: c.Now, Advance: c.Advance})
}
