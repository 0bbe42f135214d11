package replica

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine/memory"
)

// session returns a session of partition 0 that ends at the given time.
func session(n int, end crdt.Time, idle time.Duration, value string) crdt.Record {
	var e crdt.IDEntropy // its first two bytes say the partition
	e[2], e[3], e[4] = byte(n>>16), byte(n>>8), byte(n)
	dot := crdt.Dot{Actor: crdt.NewActor(1, 5), Stamp: crdt.Time(1000 + n).Stamp()}
	return crdt.Record{
		Key:    crdt.SessionKey(crdt.NewSessionID(end, 1, e)),
		Born:   crdt.Born{Dot: dot, Created: 1000, Idle: idle},
		Touch:  1000,
		Abs:    end,
		Auth:   crdt.Auth{Dot: dot},
		VV:     crdt.Vector{dot},
		Fields: []crdt.Field{{Name: "=v", Dot: dot, Value: []byte(value)}},
	}
}

func foldOf(bits uint8, cutoff crdt.Time, records ...crdt.Record) *Fold {
	f := &Fold{bits: bits, cutoff: cutoff}
	for _, r := range records {
		f.Add(r)
	}
	return f
}

// TestFoldHalves: sums of few buckets are the same, whether they were folded so
// or are the halves of many, whatever the order.
func TestFoldHalves(t *testing.T) {
	const end = crdt.Time(1 << 40)
	for _, n := range []int{0, 1, bucketRecords, bucketRecords + 1, 500} {
		var recs []crdt.Record
		for i := range n {
			recs = append(recs, session(i, end, 0, "v"))
		}
		fine := foldOf(maxBucketBits, 0, recs...)
		slices.Reverse(recs)
		for bits := range uint8(maxBucketBits + 1) {
			coarse := foldOf(bits, 0, recs...)
			if got, want := fine.at(bits), coarse.at(bits); !slices.Equal(got, want) {
				t.Errorf("%d records in 2^%d buckets: sums %x, want %x", n, bits, got, want)
			}
		}
		if fine.records != n {
			t.Errorf("records = %d, want %d", fine.records, n)
		}
	}
}

// TestSums holds the numbers that both ends of a link must find alike.
func TestSums(t *testing.T) {
	r := session(7, 1<<40, 0, "v")
	dead := crdt.Record{Key: r.Key, Dead: true}
	user := crdt.Record{Key: testKeys()[0], VV: r.VV}
	for _, c := range []struct {
		name   string
		r      crdt.Record
		bucket uint16
		sum    uint64
	}{
		{"session", r, 945, 0x1a22cf6bd193b8ad},
		{"dead", dead, 945, 0x7ec702ec5a0a30f8},
		{"user", user, 691, 0x60b63087a59cb6a1},
	} {
		if got, want := fnv1a(crdt.AppendRecord(nil, c.r)), c.r.Digest(); got != want {
			t.Errorf("%s: fnv1a = %#x, want Digest() = %#x", c.name, got, want)
		}
		if b, s := bucketOf(c.r.Key, maxBucketBits), new(Fold).sumOf(c.r); b != c.bucket || s != c.sum {
			t.Errorf("%s: bucket %d, sum %#x, want %d, %#x", c.name, b, s, c.bucket, c.sum)
		}
	}
}

func TestBucketBits(t *testing.T) {
	for records, want := range map[int]uint8{
		0: 0, 1: 0, 16: 0, 17: 1, 32: 1, 33: 2, 16 << 9: 9, 16<<9 + 1: 10, 16 << 10: 10, 1 << 30: 10,
	} {
		if got := bucketBits(records); got != want {
			t.Errorf("bucketBits(%d) = %d, want %d", records, got, want)
		}
	}
}

// TestClocksDoNotDiffer: two Regions with the same records, whose clocks are 60 s
// apart and which have dropped what is past its time by them, never differ, and do
// not wait for the last one to go either.
func TestClocksDoNotDiffer(t *testing.T) {
	const begin, apart = crdt.Time(1_000_000_000), 60_000
	ahead, behind := memory.NewCore(crdt.NewActor(1, 1), memory.Config{}), memory.NewCore(crdt.NewActor(2, 1), memory.Config{})
	dot := crdt.Dot{Actor: crdt.NewActor(1, 1), Stamp: begin.Stamp()}
	user := crdt.Record{Key: keyIn(0), VV: crdt.Vector{dot}}
	for i := range 100 {
		end := begin + crdt.Time(i)*10_000
		r := session(i, end, time.Duration(i%7)*time.Minute, "v")
		r.Touch = begin + crdt.Time(i)*7000
		id := r.Key.SessionID()
		user.Fields = append(user.Fields, crdt.Field{Name: "@" + string(id[:]), Dot: dot})
		for _, c := range []*memory.Core{ahead, behind} {
			c.Join(begin-apart, r)
		}
	}
	slices.SortFunc(user.Fields, func(a, b crdt.Field) int { return strings.Compare(a.Name, b.Name) })
	ahead.Join(begin, user)
	behind.Join(begin-apart, user)
	counted, unlike := 0, 0
	for now := begin; now < begin+2_000_000; now += 3_000 {
		ahead.Sweep(now, 0, 1000)
		behind.Sweep(now-apart, 0, 1000)
		if (now-begin)%60_000 == 0 { // what a write to it does
			ahead.Join(now, user.Prune(now))
			behind.Join(now-apart, user.Prune(now-apart))
		}
		fold := func(c *memory.Core, at, cutoff crdt.Time) []uint64 {
			f := foldOf(4, cutoff, c.Scan(at, 0)...)
			counted += f.records
			return f.at(4)
		}
		for _, clock := range []crdt.Time{now, now - apart} { // of the origin
			cutoff := clock.Add(clockMargin)
			a, b := fold(ahead, now, cutoff), fold(behind, now-apart, cutoff)
			if !slices.Equal(a, b) {
				t.Fatalf("after %d s, origin's clock %d s behind: sums differ", (now-begin)/1000, (now-clock)/1000)
			}
		}
		if !slices.Equal(fold(ahead, now, 0), fold(behind, now-apart, 0)) {
			unlike++
		}
	}
	if counted < 1000 || unlike < 20 {
		t.Errorf("%d records were folded, %d times the Regions were unlike: too few to show anything", counted, unlike)
	}
}

func BenchmarkFold(b *testing.B) {
	recs := make([]crdt.Record, 4096)
	for i := range recs {
		recs[i] = session(i, 1<<40, time.Hour, fmt.Sprintf("%0200d", i))
	}
	f := &Fold{bits: maxBucketBits, cutoff: 1_000_000}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		f.Add(recs[n%len(recs)])
		n++
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
}
