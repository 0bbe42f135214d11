package memory_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
)

// sizes are the numbers of sessions to measure with; -short leaves out the one
// that takes a gigabyte.
func sizes() []int {
	if testing.Short() {
		return []int{10_000}
	}
	return []int{10_000, 1_000_000}
}

// stocked returns an engine with n sessions of some 150 B.
func stocked(b *testing.B, n int) (*memory.Engine, []crdt.Key, *driver) {
	b.Helper()
	e, err := memory.New(1, memory.Config{MaxBytes: 4 << 30})
	if err != nil {
		b.Fatalf("New = %v, want no error", err)
	}
	b.Cleanup(func() { _ = e.Close() }) // never fails
	d, now := newDriver(), crdt.TimeOf(time.Now())
	keys := make([]crdt.Key, n)
	for i := range keys {
		keys[i] = d.key(now)
		op := d.birth(now, "ann", time.Hour)
		op.Changes = []crdt.Change{crdt.Put("cart", make([]byte, 150))}
		if _, err := e.Apply(b.Context(), keys[i], op); err != nil {
			b.Fatalf("Apply = %v, want no error", err)
		}
	}
	return e, keys, d
}

func BenchmarkRead(b *testing.B) {
	for _, n := range sizes() {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			e, keys, d := stocked(b, n)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Read(b.Context(), keys[d.rng.IntN(n)], crdt.Token{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkApply(b *testing.B) {
	for _, n := range sizes() {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			e, keys, d := stocked(b, n)
			now, value := crdt.TimeOf(time.Now()), make([]byte, 100)
			b.ReportAllocs()
			for b.Loop() {
				op := crdt.Op{Stamp: d.stamp(now), Changes: []crdt.Change{crdt.Put("page", value)}}
				if _, err := e.Apply(b.Context(), keys[d.rng.IntN(n)], op); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkApplyParallel shows what a lock for each partition is worth: with
// one=true all goroutines write to one.
func BenchmarkApplyParallel(b *testing.B) {
	for _, one := range []bool{false, true} {
		b.Run(fmt.Sprintf("one=%v", one), func(b *testing.B) {
			e, keys, d := stocked(b, 10_000)
			if one {
				all := keys
				keys = nil
				for _, k := range all {
					if k.Partition() == 0 {
						keys = append(keys, k)
					}
				}
			}
			stamp, value := d.stamp(crdt.TimeOf(time.Now())), make([]byte, 100)
			var next atomic.Uint64
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					op := crdt.Op{Stamp: stamp, Changes: []crdt.Change{crdt.Put("page", value)}}
					if _, err := e.Apply(b.Context(), keys[next.Add(7)%uint64(len(keys))], op); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkIngest takes in one-field fragments, an operation being one
// fragment: docs/benchmarks.md wants 100,000 a second and core.
func BenchmarkIngest(b *testing.B) {
	const sessions, batch = 10_000, 128
	now := crdt.TimeOf(time.Now())
	d := newDriver()
	origin := memory.NewCore(crdt.NewActor(2, 1), memory.Config{MaxBytes: 4 << 30, LogBytes: 1 << 40})
	write := func(k crdt.Key, op crdt.Op) {
		if _, err := origin.Apply(now, k, op); err != nil {
			b.Fatalf("Apply = %v, want no error", err)
		}
	}
	keys := make([]crdt.Key, sessions)
	for i := range keys {
		keys[i] = d.key(now)
		write(keys[i], d.birth(now, "ann", time.Hour))
	}
	for range 300_000 {
		write(keys[d.rng.IntN(sessions)], d.put(now, "cart", 60))
	}
	var log []engine.Batch
	for p := range uint16(crdt.Partitions) {
		for at, more := (engine.Position{}), true; more; {
			var got engine.Batch
			got, more = origin.Log(p, at, batch, 64<<10)
			at = got.Last()
			log = append(log, got)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	var e *memory.Engine
	for i, done := 0, 0; done < b.N; i++ {
		if i%len(log) == 0 {
			b.StopTimer()
			e = freshEngine(b)
			b.StartTimer()
		}
		got := log[i%len(log)]
		if in, err := e.Ingest(b.Context(), 2, got); err != nil || in.Hole || len(in.Gaps) > 0 {
			b.Fatalf("Ingest = %+v, %v, want it taken in", in, err)
		}
		done += len(got.Frags)
	}
}

func freshEngine(b *testing.B) *memory.Engine {
	b.Helper()
	e, err := memory.New(1, memory.Config{MaxBytes: 4 << 30})
	if err != nil {
		b.Fatalf("New = %v, want no error", err)
	}
	b.Cleanup(func() { _ = e.Close() }) // never fails
	return e
}
