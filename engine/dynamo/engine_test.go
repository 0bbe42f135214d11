package dynamo

import (
	"sync"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/enginetest"
)

// A clock can be moved forward.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

func TestPromises(t *testing.T) {
	for name, strong := range map[string]bool{"each Region an item": false, "one item": true} {
		t.Run(name, func(t *testing.T) {
			var c clock
			enginetest.Run(t, func(t *testing.T, here crdt.Region) engine.Engine {
				return newService(t).open(t, here, func(config *Config) { config.Strong, config.Clock = strong, c.now })
			}, enginetest.Options{Now: c.now, Advance: c.advance})
		})
	}
}
