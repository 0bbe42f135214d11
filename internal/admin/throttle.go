package admin

import (
	"sync"
	"time"
)

const (
	// failBurst is how many failures a network may have at once, and failEvery how long
	// it takes until one more is forgiven.
	failBurst = 10
	failEvery = 6 * time.Second
	// maxNetworks bounds those that are remembered: half a megabyte. When all of them have
	// failed of late, the others share one allowance.
	maxNetworks = 4096
	// others stands for those.
	others = "others"
)

// A throttle bounds failures. Its zero is ready. It may be used by many goroutines.
type throttle struct {
	mu sync.Mutex // guards what follows
	// clear is when all that a network did is forgiven.
	clear map[string]time.Time
}

// take counts a failure of a network, and returns how long it must wait if it has had too
// many; then this one is not counted.
func (t *throttle) take(network string, now time.Time) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.clear == nil {
		t.clear = map[string]time.Time{}
	}
	if _, known := t.clear[network]; !known && len(t.clear) >= maxNetworks {
		for n, at := range t.clear {
			if !at.After(now) {
				delete(t.clear, n)
			}
		}
		if len(t.clear) >= maxNetworks {
			network = others
		}
	}
	at := t.clear[network]
	if at.Before(now) {
		at = now
	}
	at = at.Add(failEvery)
	if over := at.Sub(now) - failBurst*failEvery; over > 0 {
		return over
	}
	t.clear[network] = at
	return 0
}
