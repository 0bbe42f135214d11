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
	"github.com/roam-sessions/roam/internal/postgrestest"
)

// Another process's writes are heard of at once: far sooner than a follower looks by
// itself.
func TestNewsOfAnotherProcess(t *testing.T) {
	a := open(t, 1, Config{})
	b := open(t, 1, Config{DSN: a.config.DSN, Schema: a.config.Schema})
	heard := make(chan crdt.Dot)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = a.Follow(ctx, engine.Positions{}, func(b engine.Batch) error { // until ctx ends
			for _, f := range b.Frags {
				select {
				case heard <- f.Dot:
				case <-ctx.Done():
				}
			}
			return nil
		})
	})
	defer wg.Wait()
	defer cancel()
	for begun := time.Now(); !a.listening.Load(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > 10*time.Second {
			t.Fatal("nobody listens")
		}
	}
	const writes = 10
	k, op := newKey(), birth()
	begun := time.Now()
	for range writes {
		dot, err := b.Apply(t.Context(), k, op)
		if err != nil {
			t.Fatal(err)
		}
		if got := <-heard; got != dot {
			t.Fatalf("heard of %v, want %v", got, dot)
		}
		op = put("a", "1")
	}
	if took := time.Since(begun); took > writes*newsWait/4 {
		t.Errorf("%d writes were heard of in %v: they were not told", writes, took)
	}
}

// A connection that listened is made anew, and what came meanwhile is heard of.
func TestListenerComesBack(t *testing.T) {
	e := open(t, 1, Config{})
	s := postgrestest.Use(t, shared)
	p := newPeer(t)
	stop := p.follow(e)
	defer stop()
	k := newKey()
	for i := range 3 {
		op := put("a", "1")
		if i == 0 {
			op = birth()
		}
		if _, err := e.Apply(t.Context(), k, op); err != nil {
			t.Fatal(err)
		}
		p.upTo(e)
		for begun := time.Now(); !e.listening.Load(); time.Sleep(time.Millisecond) {
			if time.Since(begun) > 10*time.Second {
				t.Fatal("nobody listens")
			}
		}
		s.Do(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%`+e.config.Schema+`%'`)
	}
}

// Close ends calls under way, and waits for them.
func TestCloseUnderLoad(t *testing.T) {
	e := open(t, 1, Config{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			k, op := newKey(), birth()
			for {
				if _, err := e.Apply(t.Context(), k, op); err != nil {
					if !errors.Is(err, engine.ErrClosed) && !errors.Is(err, engine.ErrUnavailable) {
						t.Errorf("Apply while the engine is closed = %v, want ErrClosed", err)
					}
					return
				}
				op = put("a", "1")
			}
		})
	}
	time.Sleep(50 * time.Millisecond) // under load
	if err := e.Close(); err != nil {
		t.Errorf("Close = %v, want no error", err)
	}
	wg.Wait()
	if err := e.Close(); err != nil {
		t.Errorf("Close again = %v, want no error", err)
	}
}
