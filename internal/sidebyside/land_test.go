//go:build integration

package sidebyside_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	roamvalkey "github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

const (
	// visitors are as many sessions as are in use.
	visitors = 1000
	// fields and fieldBytes are what a session has.
	fields, fieldBytes = 8, 50
	// nearBytes hold all visitors, and much more.
	nearBytes = 64 << 20
)

// text is a value of fieldBytes bytes, of a number.
func text(n int) string { return fmt.Sprintf("%-*d", fieldBytes, n) }

func fieldName(f int) string { return fmt.Sprint("field", f) }

func open(b *testing.B, here crdt.Region, c roamvalkey.Config) *roamvalkey.Engine {
	b.Helper()
	e, err := roamvalkey.Open(b.Context(), here, c)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = e.Close() }) // never fails
	return e
}

// openNear returns an engine with a near-cache that is trusted.
func openNear(b *testing.B, addr string) *roamvalkey.Engine {
	b.Helper()
	e := open(b, 1, roamvalkey.Config{Addrs: []string{addr}, NearBytes: nearBytes})
	for begun := time.Now(); !e.NearCache().Trusted; time.Sleep(time.Millisecond) {
		if time.Since(begun) > 10*time.Second {
			b.Fatal("the near-cache is not trusted after 10 s")
		}
	}
	return e
}

// client returns valkey-go set up as the engine sets it up.
func client(b *testing.B, addr string) valkey.Client {
	b.Helper()
	return dial(b, valkey.ClientOption{
		InitAddress: []string{addr}, DisableCache: true, PipelineMultiplex: 1, MaxFlushDelay: 20 * time.Microsecond,
	})
}

func dial(b *testing.B, o valkey.ClientOption) valkey.Client {
	b.Helper()
	c, err := valkey.NewClient(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	return c
}

func stamp() crdt.Stamp { return crdt.TimeOf(time.Now()).Stamp() + 1 }

// A crowd is sessions of one engine that are known by their numbers, so that millions
// of them need no list.
type crowd struct {
	engine   *roamvalkey.Engine
	deadline crdt.Time
}

func newCrowd(e *roamvalkey.Engine) crowd {
	return crowd{e, crdt.TimeOf(time.Now().Add(12 * time.Hour))}
}

// key returns the key of the i-th session; partitions take turns.
func (c crowd) key(i int) crdt.Key {
	var e crdt.IDEntropy
	e[1] = byte(i % crdt.Partitions)
	binary.BigEndian.PutUint64(e[3:], uint64(i)) //nolint:gosec // not negative
	return crdt.SessionKey(crdt.NewSessionID(c.deadline, 1, e))
}

// born are the fields of a session at its birth.
var born = sync.OnceValue(func() (out []crdt.Change) {
	for f := range fields {
		out = append(out, crdt.Put(fieldName(f), []byte(text(f))))
	}
	return out
})

// birth returns the operation that makes a session.
func birth() crdt.Op {
	return crdt.Op{Stamp: stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}, User: "ann", Changes: born()}
}

// bear makes the i-th session.
func (c crowd) bear(ctx context.Context, i int) error {
	_, err := c.engine.Apply(ctx, c.key(i), birth())
	return err
}

// load has sessions from, inclusive, to n there as bear has, without a log: a link of
// Region 2 would bring them so, a batch at a time for each partition. From must be a
// multiple of crdt.Partitions, and what is below it be there.
func (c crowd) load(b *testing.B, from, n int) {
	b.Helper()
	const batchSize = 32 // a full round of all partitions' is 50 ms of the server's time
	by := crdt.NewActor(2, 1)
	fill(b, "sessions made", crdt.Partitions, n-from, func(ctx context.Context, partition int, made func(int)) error {
		first := uint64(from/crdt.Partitions) + 1                                    //nolint:gosec // not negative
		batch := engine.Batch{Partition: uint16(partition), Actor: by, First: first} //nolint:gosec // below crdt.Partitions
		for i := from + partition; i < n; i += crdt.Partitions {
			_, f, err := crdt.Apply(crdt.Record{Key: c.key(i)}, birth(), crdt.Origin{Actor: by, Now: crdt.TimeOf(time.Now())})
			if err != nil {
				return err
			}
			if batch.Frags = append(batch.Frags, f); len(batch.Frags) < batchSize && i+crdt.Partitions < n {
				continue
			}
			if err := c.ingest(ctx, batch); err != nil {
				return err
			}
			made(len(batch.Frags))
			batch.First, batch.Frags = batch.First+uint64(len(batch.Frags)), nil
		}
		return nil
	})
}

// ingest takes in a batch. It is tried again where the machine was too busy for the
// server to answer in time: what is there already is passed over.
func (c crowd) ingest(ctx context.Context, batch engine.Batch) error {
	const tries = 5
	for try := 1; ; try++ {
		got, err := c.engine.Ingest(ctx, batch.Actor.Region(), batch)
		switch {
		case err == nil && (got.Hole || len(got.Gaps) > 0):
			return fmt.Errorf("ingest = %+v, want neither hole nor gaps", got)
		case err == nil || try == tries || !errors.Is(err, engine.ErrUnavailable):
			return err
		}
	}
}

// read reads the i-th session.
func (c crowd) read(ctx context.Context, i int) error {
	r, err := c.engine.Read(ctx, c.key(i), crdt.Token{})
	if err == nil && len(r.Fields) != fields {
		err = fmt.Errorf("session %d has %d fields", i, len(r.Fields))
	}
	return err
}

// put sets one field of the i-th session.
func (c crowd) put(ctx context.Context, i int) error {
	_, err := c.engine.Apply(ctx, c.key(i), crdt.Op{
		Stamp: stamp(), Changes: []crdt.Change{crdt.Put(fieldName(0), []byte(text(i)))},
	})
	return err
}

// each does s for each number below n, many at a time so that pipelines are full.
func each(b *testing.B, what string, n int, s side) {
	b.Helper()
	const atOnce = 256
	fill(b, what, atOnce, n, func(ctx context.Context, worker int, made func(int)) error {
		for i := worker; i < n; i += atOnce {
			if err := s(ctx, i); err != nil {
				return err
			}
			made(1)
		}
		return nil
	})
}

// fill has so many workers do their shares of n at the same time, and tells how far they
// are.
func fill(b *testing.B, what string, workers, n int, share func(ctx context.Context, worker int, made func(int)) error) {
	b.Helper()
	var made atomic.Int64
	begun := time.Now()
	failed := make([]error, workers)
	done, told := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(told)
		tell := time.NewTicker(5 * time.Second)
		defer tell.Stop()
		for {
			select {
			case <-tell.C:
				say("%s: %d of %d after %v", what, made.Load(), n, time.Since(begun).Round(time.Second))
			case <-done:
				return
			}
		}
	}()
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			failed[worker] = share(b.Context(), worker, func(n int) { made.Add(int64(n)) })
		})
	}
	wg.Wait()
	close(done)
	<-told
	for _, err := range failed {
		if err != nil {
			b.Fatalf("%s: %v", what, err) // others failed of the same, most likely
		}
	}
}

// info returns a number that the server tells about itself.
func info(b *testing.B, s *valkeytest.Server, section, name string) (n float64) {
	b.Helper()
	for line := range strings.Lines(s.Do("INFO", section)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			if _, err := fmt.Sscan(value, &n); err != nil {
				b.Fatalf("INFO %s: %s: %v", section, line, err)
			}
			return n
		}
	}
	b.Fatalf("INFO %s has no %s", section, name)
	return 0
}
