package engine_test

import (
	"slices"
	"testing"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

func TestPartitions(t *testing.T) {
	s := engine.PartitionsOf(63, 5, 0, 5, crdt.Partitions, 1<<15)
	if got, want := slices.Collect(s.All()), []uint16{0, 5, 63}; !slices.Equal(got, want) || s.Len() != 3 {
		t.Errorf("All = %v, Len = %d, want %v", got, s.Len(), want)
	}
	for p, want := range map[uint16]bool{0: true, 1: false, 5: true, 63: true, crdt.Partitions: false, 1<<16 - 1: false} {
		if s.Has(p) != want {
			t.Errorf("Has(%d) = %v, want %v", p, s.Has(p), want)
		}
	}
	if n := len(slices.Collect(engine.EveryPartition.All())); n != crdt.Partitions || engine.EveryPartition.Len() != n {
		t.Errorf("EveryPartition has %d, Len %d, want %d", n, engine.EveryPartition.Len(), crdt.Partitions)
	}
	for range s.All() {
		break // a set that is left early is no fault
	}
}
