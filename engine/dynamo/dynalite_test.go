//go:build integration

package dynamo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/enginetest"
	"github.com/roam-sessions/roam/internal/dynalitetest"
)

// A server speaks DynamoDB's protocol.
type server struct {
	*dynalitetest.Server
	t testing.TB
}

func startDynalite(t testing.TB, dir string) *server {
	t.Helper()
	return &server{dynalitetest.Start(t, dir), t}
}

func (s *server) kill() { s.Kill() }

func (s *server) start() {
	s.t.Helper()
	s.Restart()
}

// table makes a table and returns the configuration for it.
func (s *server) table() Config {
	s.t.Helper()
	name := dynalitetest.NewName()
	s.Table(name)
	return Config{Table: name, Region: testRegion, Endpoint: s.Endpoint(), Credentials: testCredentials()}
}

func openAt(t testing.TB, here crdt.Region, c Config) *Engine {
	t.Helper()
	var e *Engine
	var err error
	for range 100 { // it is being made for a moment
		if e, err = Open(t.Context(), here, c); !errors.Is(err, engine.ErrUnreachable) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Fatalf("Open(%d, %s) = %v, want an engine", here, c.Table, err)
	}
	t.Cleanup(func() { _ = e.Close() }) // never fails
	return e
}

func TestPromisesOnDynalite(t *testing.T) {
	s := startDynalite(t, "")
	for name, strong := range map[string]bool{"each Region an item": false, "one item": true} {
		t.Run(name, func(t *testing.T) { promisesOn(t, s, strong) })
	}
}

func promisesOn(t *testing.T, s *server, strong bool) {
	t.Helper()
	var c clock
	enginetest.Run(t, func(t *testing.T, here crdt.Region) engine.Engine {
		config := s.table()
		config.Strong, config.Clock = strong, c.now
		return openAt(t, here, config)
	}, enginetest.Options{Now: c.now, Advance: c.advance})
}

func TestSweepOnDynalite(t *testing.T) { sweepOn(t, startDynalite(t, "")) }

// sweepOn has a table swept that others wrote, in which some sessions are past their time.
func sweepOn(t *testing.T, s *server) {
	t.Helper()
	var c clock
	config := s.table()
	config.Strong, config.Clock = true, c.now
	e := openAt(t, 1, config)
	for range 20 {
		born(t, e)
	}
	c.advance(time.Hour + 3*time.Minute)
	user := crdt.UserKey("ann")
	if _, err := e.Apply(t.Context(), user, crdt.Op{Revoke: true}); err != nil {
		t.Fatal(err)
	}
	if n, err := e.Sweep(t.Context()); n != 20 || err != nil {
		t.Errorf("Sweep = %d, %v, want 20", n, err)
	}
	if n, err := e.Sweep(t.Context()); n != 0 || err != nil {
		t.Errorf("second Sweep = %d, %v, want nothing deleted", n, err)
	}
	if r, err := e.Read(t.Context(), user, crdt.Token{}); err != nil || r.IsBottom() {
		t.Errorf("Read of a user = %+v, %v, want what was written", r, err)
	}
}

// Random operations have the same answers as in engine/memory, on a table too.
func TestEqualsMemoryOnDynalite(t *testing.T) {
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // any number will do
	t.Logf("seed %d", seed)
	var at atomic.Int64
	at.Store(int64(testNow))
	c := startDynalite(t, "").table()
	c.Clock = func() time.Time { return crdt.Time(at.Load()).Std() }
	newDiffer(t, seed, openAt(t, 1, c), func(now crdt.Time) { at.Store(int64(now)) }).run(*differences / 10)
}

// A server that is killed under load and comes back loses nothing that was acknowledged,
// counts nothing twice, and what is said not to be written is not.
func TestServerKilledUnderLoad(t *testing.T) {
	s := startDynalite(t, t.TempDir())
	e := openAt(t, 1, s.table())
	k := born(t, e)
	stop := make(chan struct{})
	var acknowledged, unknown, refused atomic.Int64
	var work sync.WaitGroup
	for w := range 4 {
		work.Go(func() {
			for n := 1; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				op := crdt.Op{ID: uint64(w*1_000_000 + n), Stamp: now().Stamp(), Changes: []crdt.Change{crdt.Add("n", 1)}}
				ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
				_, err := e.Apply(ctx, k, op)
				cancel()
				switch {
				case err == nil:
					acknowledged.Add(1)
				case engine.OutcomeKnown(err):
					refused.Add(1)
				default:
					unknown.Add(1)
				}
			}
		})
	}
	for range 4 {
		time.Sleep(400 * time.Millisecond)
		s.kill()
		time.Sleep(200 * time.Millisecond)
		s.start()
	}
	time.Sleep(300 * time.Millisecond)
	close(stop)
	work.Wait()
	var r crdt.Record
	for begun := time.Now(); ; {
		var err error
		if r, err = e.Read(t.Context(), k, crdt.Token{}); err == nil {
			break
		}
		if time.Since(begun) > 20*time.Second {
			t.Fatalf("Read = %v, long after the server is back", err)
		}
	}
	n := r.Count("n")
	t.Logf("count %d: %d acknowledged, %d unknown, %d known not to be", n, acknowledged.Load(), unknown.Load(), refused.Load())
	if n < acknowledged.Load() || n > acknowledged.Load()+unknown.Load() {
		t.Errorf("count = %d, want from %d, which were acknowledged, to %d more", n, acknowledged.Load(), unknown.Load())
	}
	if acknowledged.Load() < 50 || unknown.Load()+refused.Load() == 0 {
		t.Error("the server was not killed under load")
	}
}

// Calls at a server that is killed and comes back can be put in one order.
func TestLinearizableWhileKilled(t *testing.T) {
	s := startDynalite(t, t.TempDir())
	e := openAt(t, 1, s.table())
	done := make(chan error)
	go func() {
		defer close(done)
		for seed := range uint64(6) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			if err := enginetest.Linearizable(ctx, e, newKey(), now(), seed); err != nil {
				done <- fmt.Errorf("seed %d: %w", seed, err)
			}
			cancel()
		}
	}()
	kills := 0
	for {
		select {
		case err, more := <-done:
			if err != nil {
				t.Error(err)
			}
			if !more {
				t.Logf("killed %d times", kills)
				return
			}
		case <-time.After(150 * time.Millisecond):
			s.kill()
			s.start()
			kills++
		}
	}
}
