package engine

import (
	"iter"
	"math/bits"

	"github.com/roam-sessions/roam/crdt"
)

// Partitions is a set of partitions, a bit for each.
type Partitions uint64

// EveryPartition is the set of all partitions there are.
const EveryPartition = Partitions(1<<crdt.Partitions - 1)

// PartitionsOf returns the set of some partitions. A number that is of none is left
// out.
func PartitionsOf(partitions ...uint16) Partitions {
	var out Partitions
	for _, p := range partitions {
		if p < crdt.Partitions {
			out |= 1 << p
		}
	}
	return out
}

// Has reports whether a partition is in the set.
func (s Partitions) Has(partition uint16) bool { return s&PartitionsOf(partition) != 0 }

// Len returns how many partitions are in the set.
func (s Partitions) Len() int { return bits.OnesCount64(uint64(s)) }

// All yields the partitions of the set, the least first.
func (s Partitions) All() iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		for ; s != 0; s &= s - 1 {
			if !yield(uint16(bits.TrailingZeros64(uint64(s)))) { //nolint:gosec // below 64
				return
			}
		}
	}
}
