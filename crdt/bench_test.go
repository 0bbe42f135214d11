package crdt_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// eight returns a session of eight values of 112 bytes, and a one-field fragment
// that comes next.
func eight(b *testing.B) (crdt.Record, crdt.Fragment) {
	b.Helper()
	op := birth(start, time.Hour)
	for i := range 8 {
		op.Changes = append(op.Changes, crdt.Put(fmt.Sprint("field", i), make([]byte, 112)))
	}
	at := crdt.Origin{Actor: actor(1, 1), Now: start}
	r, _ := must(b, crdt.Record{Key: sessionKey()}, op, at)
	_, f := must(b, r, put(r.VV.Max()+1, "field3", "new"), at)
	return r, f
}

func BenchmarkJoin(b *testing.B) {
	r, f := eight(b)
	b.ReportAllocs()
	for b.Loop() {
		crdt.Join(r, f.Effect)
	}
}

func BenchmarkMerge(b *testing.B) {
	r, f := eight(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, o := crdt.Merge(r, f); o != crdt.Applied {
			b.Fatalf("Merge = %v, want applied", o)
		}
	}
}

func BenchmarkApplyPut(b *testing.B) {
	r, _ := eight(b)
	op, at := put(r.VV.Max()+1, "field3", "new"), crdt.Origin{Actor: actor(1, 1), Now: start}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := crdt.Apply(r, op, at); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendRecord(b *testing.B) {
	r, _ := eight(b)
	buf := encode(r)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = crdt.AppendRecord(buf[:0], r)
	}
}

func BenchmarkDecodeRecord(b *testing.B) {
	r, _ := eight(b)
	buf := encode(r)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := crdt.DecodeRecord(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	r, _ := eight(b)
	epochs := crdt.Vector{dot(actor(1, 1), 5), dot(actor(2, 1), 5)}
	b.ReportAllocs()
	for b.Loop() {
		if v := r.Judge(start, secret(1), epochs); v != crdt.Live {
			b.Fatalf("Judge = %v, want live", v)
		}
	}
}
