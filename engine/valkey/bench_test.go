//go:build integration

package valkey_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	roamvalkey "github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// Sessions of the benchmarks: eight fields of 50 bytes.
const (
	benchFields = 8
	benchValue  = 50
	benchKeys   = 1000
)

type bench struct {
	e      *roamvalkey.Engine
	client valkey.Client
	keys   []crdt.Key
	plain  []string
}

func newBench(b testing.TB) *bench { x, _ := newStats(b); return x }

func newStats(b testing.TB) (*bench, *valkeytest.Server) {
	b.Helper()
	s := valkeytest.Start(b)
	return newBenchOn(b, s), s
}

func newBenchOn(b testing.TB, s *valkeytest.Server) *bench {
	b.Helper()
	e := open(b, 1, roamvalkey.Config{Addrs: []string{s.Addr}})
	c, err := valkey.NewClient(valkey.ClientOption{InitAddress: []string{s.Addr}, DisableCache: true, PipelineMultiplex: 1, MaxFlushDelay: 20_000})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	out := &bench{e: e, client: c}
	for i := range benchKeys {
		k := newKey()
		op := crdt.Op{Stamp: now().Stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}, User: "ann"}
		for f := range benchFields {
			op.Changes = append(op.Changes, crdt.Put(fmt.Sprint("field", f), make([]byte, benchValue)))
		}
		if _, err := e.Apply(b.Context(), k, op); err != nil {
			b.Fatal(err)
		}
		name := fmt.Sprint("plain", i)
		set := c.B().Hset().Key(name).FieldValue()
		for f := range benchFields {
			set = set.FieldValue(fmt.Sprint("field", f), string(make([]byte, benchValue)))
		}
		if err := c.Do(b.Context(), set.Build()).Error(); err != nil {
			b.Fatal(err)
		}
		out.keys, out.plain = append(out.keys, k), append(out.plain, name)
	}
	return out
}

// each runs do in so many goroutines at a time.
func (x *bench) each(b *testing.B, do func(i int) error) {
	b.Helper()
	for _, n := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("clients=%d", n), func(b *testing.B) {
			var next atomic.Int64
			b.SetParallelism(max(1, n/2)) // of two cores
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := do(int(next.Add(1)) % benchKeys); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func BenchmarkRead(b *testing.B) {
	x := newBench(b)
	x.each(b, func(i int) error { _, err := x.e.Read(b.Context(), x.keys[i], crdt.Token{}); return err })
}

func BenchmarkPlainHgetall(b *testing.B) {
	x := newBench(b)
	x.each(b, func(i int) error {
		_, err := x.client.Do(b.Context(), x.client.B().Hgetall().Key(x.plain[i]).Build()).AsStrMap()
		return err
	})
}

func BenchmarkPut(b *testing.B) {
	x := newBench(b)
	x.each(b, func(i int) error {
		_, err := x.e.Apply(b.Context(), x.keys[i], crdt.Op{
			Stamp: now().Stamp() + 1, Changes: []crdt.Change{crdt.Put("field0", make([]byte, benchValue))},
		})
		return err
	})
}

func BenchmarkTouch(b *testing.B) {
	x := newBench(b)
	x.each(b, func(i int) error { _, err := x.e.Apply(b.Context(), x.keys[i], crdt.Op{Touch: true}); return err })
}

func BenchmarkPlainSet(b *testing.B) {
	x := newBench(b)
	value := string(make([]byte, benchFields*benchValue))
	x.each(b, func(i int) error {
		return x.client.Do(b.Context(), x.client.B().Set().Key("s"+x.plain[i]).Value(value).ExSeconds(3600).Build()).Error()
	})
}

// sessions is how many there are in BenchmarkReadOfMany.
func sessions(b *testing.B) int {
	b.Helper()
	text := os.Getenv("SESSIONS")
	if text == "" {
		return 200_000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 10_000 {
		b.Fatalf("SESSIONS=%q: want a number from 10000 on", text)
	}
	return n
}

func BenchmarkReadOf10k(b *testing.B) { readOf(b, 10_000) }

func BenchmarkReadOfMany(b *testing.B) { readOf(b, sessions(b)) }

// readOf reads at random from so many sessions, with 16 clients.
func readOf(b *testing.B, n int) {
	b.Helper()
	e := open(b, 1, roamvalkey.Config{Addrs: []string{valkeytest.Start(b).Addr}, LogBytes: 1 << 20})
	fields := make([]crdt.Change, benchFields)
	for f := range fields {
		fields[f] = crdt.Put(fmt.Sprint("field", f), make([]byte, benchValue))
	}
	keys := make([]crdt.Key, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				keys[i] = newKey()
				op := crdt.Op{Stamp: now().Stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}, Changes: fields}
				if _, err := e.Apply(b.Context(), keys[i], op); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.SetParallelism(8) // of two cores
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := e.Read(b.Context(), keys[rand.IntN(n)], crdt.Token{}); err != nil { //nolint:gosec // spreads reads
				b.Error(err)
				return
			}
		}
	})
}

// at50 runs do in 50 goroutines at a time, each with a number of its own.
func at50(b *testing.B, do func(client, i int) error) {
	b.Helper()
	var next, clients atomic.Int64
	b.SetParallelism(25) // of two cores
	b.RunParallel(func(pb *testing.PB) {
		client := int(clients.Add(1)) - 1
		for pb.Next() {
			if err := do(client, int(next.Add(1))%benchKeys); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkPutAt50(b *testing.B) {
	x := newBench(b)
	at50(b, func(_, i int) error {
		_, err := x.e.Apply(b.Context(), x.keys[i], crdt.Op{
			Stamp: now().Stamp() + 1, Changes: []crdt.Change{crdt.Put("field0", make([]byte, benchValue))},
		})
		return err
	})
}

// BenchmarkPlainSetAt50 is of 50 connections, as pools of one a request have them.
func BenchmarkPlainSetAt50(b *testing.B) {
	x, s := newStats(b)
	value := string(make([]byte, benchFields*benchValue))
	var clients []valkey.Client
	for range 2 * 50 {
		c, err := valkey.NewClient(valkey.ClientOption{
			InitAddress: []string{s.Addr}, DisableCache: true, ForceSingleClient: true, PipelineMultiplex: -1,
			ReadBufferEachConn: 16 << 10, WriteBufferEachConn: 16 << 10,
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(c.Close)
		clients = append(clients, c)
	}
	b.ResetTimer()
	at50(b, func(client, i int) error {
		c := clients[client%len(clients)]
		return c.Do(b.Context(), c.B().Set().Key("s"+x.plain[i]).Value(value).ExSeconds(3600).Build()).Error()
	})
}

// BenchmarkIngest is of batches of 128 one-field fragments.
func BenchmarkIngest(b *testing.B) {
	x := newBench(b)
	const n = 128
	by := crdt.NewActor(2, 7)
	k := newKey()
	r := crdt.Record{Key: k}
	first, stamp := uint64(1), now().Stamp()
	for b.Loop() {
		b.StopTimer()
		batch := engine.Batch{Partition: k.Partition(), Actor: by, First: first}
		for range n {
			stamp++
			op := crdt.Op{Stamp: stamp, Changes: []crdt.Change{crdt.Put("field0", make([]byte, benchValue))}}
			if first == 1 && len(batch.Frags) == 0 {
				op.Birth, op.Auth = &crdt.Birth{}, &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}
			}
			var f crdt.Fragment
			var err error
			if r, f, err = crdt.Apply(r, op, crdt.Origin{Actor: by, Now: now()}); err != nil {
				b.Fatal(err)
			}
			batch.Frags = append(batch.Frags, f)
		}
		first += n
		b.StartTimer()
		if got, err := x.e.Ingest(b.Context(), 2, batch); err != nil || got.Hole || len(got.Gaps) > 0 {
			b.Fatalf("Ingest = %+v, %v", got, err)
		}
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "fragments/s")
}

// BenchmarkMemory is what a session takes of the server, and what a plain string of
// the same fields does. Servers give memory in pieces of certain sizes, so some
// sessions fit better than others.
func BenchmarkMemory(b *testing.B) {
	for _, c := range []struct{ fields, value int }{{4, 50}, {8, 50}, {8, 112}, {16, 60}} {
		b.Run(fmt.Sprintf("%dx%d", c.fields, c.value), func(b *testing.B) { memoryOf(b, c.fields, c.value) })
	}
}

func memoryOf(b *testing.B, fields, value int) {
	b.Helper()
	const n = 5000
	s := valkeytest.Start(b)
	e := open(b, 1, roamvalkey.Config{Addrs: []string{s.Addr}, LogBytes: 1 << 20})
	used := func() (bytes float64) {
		for line := range strings.Lines(s.Do("INFO", "memory")) {
			if text, ok := strings.CutPrefix(strings.TrimSpace(line), "used_memory:"); ok {
				_, _ = fmt.Sscan(text, &bytes) // INFO tells numbers
			}
		}
		return bytes
	}
	op := crdt.Op{Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}}
	size := 0
	for f := range fields {
		name := fmt.Sprint("field", f)
		op.Changes = append(op.Changes, crdt.Put(name, make([]byte, value)))
		size += len(name) + value
	}
	// The log reaches its bound first: it is none of the sessions'.
	fill := func() {
		for range n {
			op.Stamp = now().Stamp()
			if _, err := e.Apply(b.Context(), newKey(), op); err != nil {
				b.Fatal(err)
			}
		}
	}
	for b.Loop() {
		fill()
		before := used()
		fill()
		session := (used() - before) / n
		before = used()
		for i := range n {
			s.Do("SET", fmt.Sprintf("session:%032d", i), strings.Repeat("x", size), "EX", "3600")
		}
		plain := (used() - before) / n
		b.ReportMetric(session, "B/session")
		b.ReportMetric(plain, "B/plain")
		b.ReportMetric(session/plain, "ratio")
	}
}

// BenchmarkReadNear is of records that are near.
func BenchmarkReadNear(b *testing.B) {
	x, s := newStats(b)
	near := openNear(b, s.Addr)
	for _, k := range x.keys {
		if _, err := near.Read(b.Context(), k, crdt.Token{}); err != nil {
			b.Fatal(err)
		}
	}
	x.each(b, func(i int) error { _, err := near.Read(b.Context(), x.keys[i], crdt.Token{}); return err })
}

// BenchmarkPlainGet is of a string of as many bytes as a session's values.
func BenchmarkPlainGet(b *testing.B) {
	x := newBench(b)
	value := string(make([]byte, benchFields*benchValue))
	for _, name := range x.plain {
		if err := x.client.Do(b.Context(), x.client.B().Set().Key("s"+name).Value(value).Build()).Error(); err != nil {
			b.Fatal(err)
		}
	}
	x.each(b, func(i int) error {
		return x.client.Do(b.Context(), x.client.B().Get().Key("s"+x.plain[i]).Build()).Error()
	})
}
