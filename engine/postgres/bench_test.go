//go:build integration

package postgres

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/roam-sessions/roam/crdt"
)

// Sessions of the benchmarks: eight fields of 50 bytes.
const (
	benchFields = 8
	benchValue  = 50
	benchKeys   = 1000
)

// A bench is sessions in an engine, and beside them rows of as many bytes that a program
// of one's own would read and write with the same driver and settings.
type bench struct {
	e    *Engine
	pool *pgxpool.Pool
	keys []crdt.Key
	read string
	put  string
}

func newBench(b *testing.B) *bench {
	b.Helper()
	e := openFor(b, 1, Config{})
	schema := e.config.Schema
	x := &bench{
		e: e, pool: e.pool,
		read: `SELECT data FROM ` + schema + `.plain WHERE id = $1`,
		put:  `UPDATE ` + schema + `.plain SET data = $2 WHERE id = $1`,
	}
	if _, err := e.pool.Exec(b.Context(), `CREATE TABLE `+schema+`.plain (id integer PRIMARY KEY, data bytea) WITH (fillfactor = 85)`); err != nil {
		b.Fatal(err)
	}
	for i := range benchKeys {
		k := newKey()
		op := birth()
		for f := range benchFields {
			op.Changes = append(op.Changes, crdt.Put(fmt.Sprint("field", f), make([]byte, benchValue)))
		}
		if _, err := e.Apply(b.Context(), k, op); err != nil {
			b.Fatal(err)
		}
		size := len(crdt.AppendRecord(nil, must1(e.Read(b.Context(), k, crdt.Token{}))))
		if _, err := e.pool.Exec(b.Context(), `INSERT INTO `+schema+`.plain VALUES ($1, $2)`, i, make([]byte, size)); err != nil {
			b.Fatal(err)
		}
		x.keys = append(x.keys, k)
	}
	return x
}

func must1[T any](out T, err error) T {
	if err != nil {
		panic(err) // of a benchmark
	}
	return out
}

// inTurn does ours and plain in turn, and reports how long each takes and the ratio.
func (x *bench) inTurn(b *testing.B, ours, plain func(i int) error) {
	b.Helper()
	var took [2]time.Duration
	i := 0
	for b.Loop() {
		for which, do := range []func(int) error{plain, ours} {
			begun := time.Now()
			if err := do(i % benchKeys); err != nil {
				b.Fatal(err)
			}
			took[which] += time.Since(begun)
		}
		i++
	}
	b.ReportMetric(float64(took[0].Microseconds())/float64(i), "plain-µs")
	b.ReportMetric(float64(took[1].Microseconds())/float64(i), "ours-µs")
	b.ReportMetric(float64(took[1])/float64(took[0]), "ratio")
	b.ReportMetric(0, "ns/op") // of both
}

// BenchmarkRead beside a SELECT of as many bytes by a primary key.
func BenchmarkRead(b *testing.B) {
	x := newBench(b)
	x.inTurn(b, func(i int) error {
		_, err := x.e.Read(b.Context(), x.keys[i], crdt.Token{})
		return err
	}, func(i int) error {
		var data []byte
		return x.pool.QueryRow(b.Context(), x.read, i).Scan(&data)
	})
}

// BenchmarkPut beside an UPDATE of as many bytes by a primary key: one round trip, no
// log, no merge.
func BenchmarkPut(b *testing.B) {
	x := newBench(b)
	data := make([]byte, 700)
	x.inTurn(b, func(i int) error {
		_, err := x.e.Apply(b.Context(), x.keys[i], crdt.Op{
			Stamp: now().Stamp() + 1, Changes: []crdt.Change{crdt.Put("field0", make([]byte, benchValue))},
		})
		return err
	}, func(i int) error {
		_, err := x.pool.Exec(b.Context(), x.put, i, data)
		return err
	})
}

// BenchmarkPutParallel is what two cores of clients write together.
func BenchmarkPutParallel(b *testing.B) {
	x := newBench(b)
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			_, err := x.e.Apply(b.Context(), x.keys[(i*7919)%benchKeys], crdt.Op{
				Stamp: now().Stamp() + 1, Changes: []crdt.Change{crdt.Put("field0", make([]byte, benchValue))},
			})
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}
