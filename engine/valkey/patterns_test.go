package valkey

import (
	"path"
	"testing"

	"github.com/roam-sessions/roam/engine"
)

// Whatever is asked for is matched, and a scan of one partition, or of neighbours, is
// told of no others' keys.
func TestKeyPatterns(t *testing.T) {
	neighbours, apart := engine.PartitionsOf(4, 5, 6, 7), engine.PartitionsOf(0, 21, 63)
	for _, of := range []engine.Partitions{engine.EveryPartition, engine.PartitionsOf(5), neighbours, apart} {
		walk, bySlot := keyPatterns(of, false), keyPatterns(of, true)
		if len(walk) != 1 || len(bySlot) != 2*of.Len() {
			t.Errorf("keyPatterns(%b) = %q, by slot %q; want 1, and 2 of each partition", of, walk, bySlot)
		}
		for p := range engine.EveryPartition.All() {
			for _, kind := range []byte{sessionKeys, userKeys, logKeys, metaKeys} {
				key := partitionKey(kind, p) + "name"
				want := of.Has(p) && (kind == sessionKeys || kind == userKeys)
				if got := anyMatches(t, walk, key); got != want && (of != apart || want) {
					t.Errorf("%q matches %s: %t, want %t", walk, key, got, want)
				}
				if got := anyMatches(t, bySlot, key); got != want {
					t.Errorf("%q matches %s: %t, want %t", bySlot, key, got, want)
				}
			}
		}
	}
	if got := keyPatterns(0, false); len(got) > 0 {
		t.Errorf("keyPatterns of no partition = %q, want none", got)
	}
}

func anyMatches(t *testing.T, patterns []string, key string) bool {
	t.Helper()
	for _, pattern := range patterns {
		matched, err := path.Match(pattern, key)
		if err != nil {
			t.Fatal(err)
		}
		if matched {
			return true
		}
	}
	return false
}
