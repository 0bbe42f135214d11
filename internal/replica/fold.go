package replica

import (
	"encoding/binary"
	"math/bits"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

const (
	// maxBucketBits: a partition has at most 1,024 buckets, whose sums fill 8 KiB.
	maxBucketBits = 10
	// bucketRecords is about how many records share a bucket. Where one differs,
	// so many are sent; a sum costs 8 bytes where a record has hundreds.
	bucketRecords = 16
	// clockMargin is how long before the clock may drop it a record no longer
	// counts: twice the 60 s that two clocks may differ by, the half of it for
	// the time between the two scans.
	clockMargin = 120 * time.Second
)

// A Fold sums up the records of one partition in buckets, so that two Regions
// find where they differ without sending them. It is pure and for one goroutine.
//
// What a clock may drop must not make two Regions differ whose clocks do. So a
// Fold has a cutoff, which the origin takes from its clock and both ends use: a
// record that may be dropped by then doesn't count, nor do the fields of a user's
// record that mean nothing by then. As it is clockMargin ahead, neither end has
// dropped anything that counts. Without a cutoff all counts: a resync must not
// pass over what is about to end, and happens once.
type Fold struct {
	part    uint16
	bits    uint8
	cutoff  crdt.Time
	records int
	few     []bucketSum // until they are enough for more than one bucket
	sums    []uint64    // by bucket; nil: there are few, or none
	buf     []byte      // of the last record, to be used again
}

// bucketSum is a bucket, or a record in it, and its sum.
type bucketSum struct {
	bucket uint16
	sum    uint64
}

// Partition returns the partition whose records are to be added.
func (f *Fold) Partition() uint16 { return f.part }

// Add takes in a record of the partition.
func (f *Fold) Add(r crdt.Record) {
	f.records++
	if f.cutoff > 0 {
		if until, ok := r.KeepUntil(); ok && until <= f.cutoff {
			return
		}
		r = r.Prune(f.cutoff)
	}
	one := bucketSum{bucketOf(r.Key, f.bits), f.sumOf(r)}
	if f.sums == nil && len(f.few) < bucketRecords {
		f.few = append(f.few, one)
		return
	}
	if f.sums == nil {
		f.sums = make([]uint64, 1<<f.bits)
		for _, b := range f.few {
			f.sums[b.bucket] += b.sum
		}
		f.few = nil
	}
	f.sums[one.bucket] += one.sum
}

// at returns the sums of 1<<to buckets, of which there are no more than f has.
// Buckets are numbered by the first bits of a hash, so that neighbours join.
func (f *Fold) at(to uint8) []uint64 {
	out, shift := make([]uint64, 1<<to), f.bits-to
	for _, b := range f.few {
		out[b.bucket>>shift] += b.sum
	}
	for b, sum := range f.sums {
		out[b>>shift] += sum
	}
	return out
}

// bucketBits returns how many bits number the buckets of so many records.
func bucketBits(records int) uint8 {
	buckets := (records + bucketRecords - 1) / bucketRecords
	if buckets <= 1 {
		return 0
	}
	return uint8(min(bits.Len(uint(buckets-1)), maxBucketBits)) //nolint:gosec // at most 10
}

// bucketOf returns the bucket of k among 1<<n.
func bucketOf(k crdt.Key, n uint8) uint16 {
	return uint16(hashOf(k) >> (64 - n)) //nolint:gosec // at most 10 bits are left
}

// sumOf returns what r adds to the sum of its bucket. The key is mixed in, so that
// no two records can make up for each other; and so is whether r is dead, since
// the digest's hash is one that whoever writes a session's values could aim.
func (f *Fold) sumOf(r crdt.Record) uint64 {
	h := hashOf(r.Key)
	if r.Dead {
		h = ^h
	}
	f.buf = crdt.AppendRecord(f.buf[:0], r)
	return scramble(h ^ fnv1a(f.buf))
}

// fnv1a returns what hash/fnv does, and r.Digest() of the bytes of r, without
// making anything.
func fnv1a(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

func hashOf(k crdt.Key) uint64 {
	name := k.Name()
	h := scramble(binary.BigEndian.Uint64(name[:8]) + uint64(k.Kind()))
	return scramble(h ^ binary.BigEndian.Uint64(name[8:]))
}

// scramble is the last step of SplitMix64: every bit of x changes half of them.
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// A bucketSet is a bit for each bucket.
type bucketSet [1 << maxBucketBits / 64]uint64

func (s *bucketSet) add(bucket uint16)      { s[bucket/64] |= 1 << (bucket % 64) }
func (s *bucketSet) has(bucket uint16) bool { return s[bucket/64]&(1<<(bucket%64)) != 0 }

// Folds returns what the records of each partition of f are to be added to, for
// Receiver.Compared.
func (f *Digests) Folds() []Fold {
	out := make([]Fold, len(f.Parts))
	for i, p := range f.Parts {
		out[i] = Fold{part: p.Partition, bits: uint8(bits.Len(uint(len(p.Sums))) - 1), cutoff: p.Cutoff} //nolint:gosec // at most 10
	}
	return out
}

// differing returns the buckets of p whose sums differ from those of f, with the
// sums of f.
func (p PartSums) differing(f *Fold) []BucketSum {
	var out []BucketSum
	for b, sum := range f.at(f.bits) {
		if sum != p.Sums[b] {
			out = append(out, BucketSum{uint16(b), sum}) //nolint:gosec // at most 1,024
		}
	}
	return out
}
