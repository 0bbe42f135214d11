//go:build integration

package postgres

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/pause"
)

// A peer is another Region that takes in an engine's log, in memory.
type peer struct {
	t      *testing.T
	core   *memory.Core
	mu     sync.Mutex // guards core and what follows
	actors []crdt.Actor
	seen   engine.Positions
}

func newPeer(t *testing.T) *peer {
	t.Helper()
	return &peer{t: t, core: memory.NewCore(crdt.NewActor(2, 1), memory.Config{})}
}

// follow follows the log, again where that ends for a fault, until the function that it
// returns is called.
func (p *peer) follow(e *Engine) (stop func()) {
	ctx, cancel := context.WithCancel(p.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			err := e.Follow(ctx, p.positions(), p.take)
			if !errors.Is(err, engine.ErrUnavailable) && !errors.Is(err, engine.ErrUnreachable) && ctx.Err() == nil {
				p.t.Errorf("Follow = %v, want a failure of package engine", err)
				return
			}
			pause.For(ctx, 10*time.Millisecond)
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

func (p *peer) positions() (out engine.Positions) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for part := range uint16(crdt.Partitions) {
		out[part] = p.core.Position(1, part)
	}
	return out
}

func (p *peer) take(b engine.Batch) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.actors = append(p.actors, b.Actor)
	got, err := p.core.Ingest(now(), 1, b)
	if err != nil || got.Hole || len(got.Gaps) > 0 {
		p.t.Errorf("Ingest(%d entries from %d of %v, fork %d) = %+v, %v, want it taken in", len(b.Frags), b.First, b.Actor, b.Fork, got, err)
	}
	return nil
}

// upTo waits until the peer has all of the log.
func (p *peer) upTo(e *Engine) {
	p.t.Helper()
	head, err := e.Head(p.t.Context())
	if err != nil {
		p.t.Fatalf("Head = %v, want no error", err)
	}
	for begun := time.Now(); p.positions() != head; time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > 20*time.Second {
			p.t.Fatalf("the log is not taken in: %v, want %v", p.positions(), head)
		}
	}
}

// same wants the peer to have the same records.
func (p *peer) same(e *Engine, of map[crdt.Key]crdt.Dot) {
	p.t.Helper()
	for k := range of {
		got := p.core.Read(now(), k)
		want, err := e.Read(p.t.Context(), k, crdt.Token{})
		if err != nil || got.Digest() != want.Digest() {
			p.t.Errorf("peer has %+v, and the engine %+v, %v", got, want, err)
		}
	}
}

// followLeniently follows the log and notes only how far it came.
func (p *peer) followLeniently(e *Engine) (stop func()) {
	ctx, cancel := context.WithCancel(p.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = e.Follow(ctx, engine.Positions{}, func(b engine.Batch) error { // until ctx ends
			p.mu.Lock()
			defer p.mu.Unlock()
			p.seen[b.Partition] = b.Last()
			return nil
		})
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// last returns how far followLeniently has come.
func (p *peer) last(part uint16) engine.Position {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[part]
}
