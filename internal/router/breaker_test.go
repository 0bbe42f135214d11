package router_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/router"
)

// A breaker that opened lets one call at a time look whether the Region is back;
// one that nobody used for long knows nothing any more, and lets all through.
func TestBreakerForgets(t *testing.T) {
	var b router.Breaker
	now, silent := time.Unix(1_800_000_000, 0), errors.New("no answer")
	fail := func() (n int) {
		for b.Allow(now) {
			b.Learn(now, silent, false)
			n++
		}
		return n
	}
	if n := fail(); n != 5 || !b.IsOpen() {
		t.Fatalf("%d failures opened it: %v; want 5, true", n, b.IsOpen())
	}
	now = now.Add(10 * time.Second)
	if first, second := b.Allow(now), b.Allow(now); !first || second {
		t.Errorf("10 s later two calls may be made: %v and %v; want the first alone", first, second)
	}
	now = now.Add(30 * time.Second)
	if !b.Would(now) || !b.Allow(now) || !b.Allow(now) {
		t.Error("40 s later a call may not be made, want that any may")
	}
	if n := fail(); n != 5 || !b.IsOpen() {
		t.Errorf("%d failures opened it again: %v; want 5, true", n, b.IsOpen())
	}
}

// A Region that answers is there, whatever it says: one that is full refuses births
// and can still be read.
func TestBreakerHearsRefusals(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, c := range []struct {
		err  error
		open bool
	}{
		{crdt.ErrExists, false},
		{fmt.Errorf("apply: %w", engine.ErrFull), false},
		{engine.ErrNotPrimary, false},
		{engine.ErrRefilling, false},
		{engine.ErrUnreachable, true},
		{fmt.Errorf("%w: %w", engine.ErrUnavailable, engine.ErrFull), true},
	} {
		var b router.Breaker
		for range 20 {
			if b.Allow(now) {
				b.Learn(now, c.err, false)
			}
		}
		if b.IsOpen() != c.open {
			t.Errorf("after many times %v the breaker is open: %v, want %v", c.err, b.IsOpen(), c.open)
		}
	}
}
