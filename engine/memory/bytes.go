package memory

import "github.com/roam-sessions/roam/crdt"

// What a record takes besides its names and values. TestBytesAreTheHeap
// compares the sum with what the runtime says.
const (
	// slotBytes is a slot with its Record (304 B), its share of the map (a key
	// of 17 B and a pointer, at the runtime's load) and of the heap.
	slotBytes = 368
	// fieldBytes is a crdt.Field without what it points at.
	fieldBytes = 64
	// dotBytes is a crdt.Dot in a vector.
	dotBytes = 16
	// entryBytes is a crdt.Fragment without what it points at.
	entryBytes = 264
)

// recordBytes is what r takes in memory; 0 for bottom, which takes nothing.
func recordBytes(r crdt.Record) int64 {
	if r.IsBottom() {
		return 0
	}
	return slotBytes + pointedBytes(r)
}

// fragmentBytes is what f takes in the log. What it shares with the record is
// counted twice, because it stays when the record has moved on.
func fragmentBytes(f crdt.Fragment) int64 { return entryBytes + pointedBytes(f.Effect) }

func pointedBytes(r crdt.Record) int64 {
	n := len(r.User) + dotBytes*(len(r.VV)+len(r.Auth.Epochs)) + fieldBytes*len(r.Fields)
	for _, f := range r.Fields {
		n += len(f.Name) + len(f.Value)
	}
	return int64(n)
}
