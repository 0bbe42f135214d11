package node

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/judge/alarm"
)

const (
	// canaryEvery is between two writes that change nothing: twenty a second say
	// something of their p99 and of how many fail.
	canaryEvery = 50 * time.Millisecond
	// canaryTimeout is how long one may take, as an application's call does.
	canaryTimeout = 500 * time.Millisecond
	// canaryMost bounds those that are under way.
	canaryMost = 16
)

// A canary asks for writes that change nothing, where this Region's writes go, as an
// application does: the record that they are of is not there, which the server finds out
// behind all that a write has to pass, its lease first.
type canary struct {
	key crdt.Key

	mu     sync.Mutex // guards what follows
	to     string
	took   []time.Duration
	failed int
}

func newCanary(region crdt.Region) *canary {
	return &canary{key: crdt.SessionKey(crdt.NewSessionID(crdt.TimeOf(time.Now().Add(100*365*24*time.Hour)), region, crdt.IDEntropy{}))}
}

// sing asks until ctx ends, at an engine of a Region.
func (c *canary) sing(ctx context.Context, to string, e engine.Engine) {
	c.mu.Lock()
	c.to, c.took, c.failed = to, nil, 0
	c.mu.Unlock()
	ticks := time.NewTicker(canaryEvery)
	defer ticks.Stop()
	var singing sync.WaitGroup
	defer singing.Wait()
	room := make(chan struct{}, canaryMost)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		select {
		case room <- struct{}{}:
		default: // all are waiting: the period has failures enough
			continue
		}
		singing.Go(func() {
			defer func() { <-room }()
			asking, cancel := context.WithTimeout(ctx, canaryTimeout)
			defer cancel()
			began := time.Now()
			_, err := e.Apply(asking, c.key, crdt.Op{Stamp: crdt.TimeOf(began).Stamp(), Touch: true})
			if ctx.Err() == nil {
				c.note(time.Since(began), engine.IsRefusal(err))
			}
		})
	}
}

func (c *canary) note(took time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.took = append(c.took, took)
	if !ok {
		c.failed++
	}
}

// measured returns what was heard since it was last called.
func (c *canary) measured(now time.Time, self string) control.Measured {
	c.mu.Lock()
	to, took, failed := c.to, c.took, c.failed
	c.took, c.failed = nil, 0
	c.mu.Unlock()
	if to == "" || len(took) == 0 {
		return control.Measured{}
	}
	slices.Sort(took)
	p99 := took[len(took)*99/100]
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return control.Measured{
		Writes: []judge.Writes{{To: to, Count: len(took), Failed: failed, P99: p99}},
		Data: []alarm.Datum{
			{Metric: alarm.WriteP99, Region: to, From: self, At: now, Value: ms(p99)},
			{Metric: alarm.ErrorRate, Region: to, From: self, At: now, Value: float64(failed) / float64(len(took))},
		},
	}
}
