package salvage

import (
	"testing"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// After a write that failed nobody knows what the file holds: the next one goes to another.
func TestSpoolLeavesAFileThatFailed(t *testing.T) {
	s, err := OpenSpool(SpoolConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // nothing is asked of it
	entry := func(n uint64) engine.Batch {
		return engine.Batch{Actor: crdt.NewActor(1, 7), First: n, Frags: []crdt.Fragment{{}}}
	}
	if err := s.Write(entry(1)); err != nil {
		t.Fatal(err)
	}
	_ = s.file.Close() // so that the next write fails
	if err := s.Write(entry(2)); err == nil {
		t.Error("Write to a file that takes nothing has no error")
	}
	if err := s.Write(entry(3)); err != nil {
		t.Errorf("Write after that = %v, want it taken", err)
	}
	var got []uint64
	err = s.Read(t.Context(), engine.Positions{}, func(b engine.Batch) error { got = append(got, b.First); return nil })
	if err != nil || len(got) != 2 || got[0] != 1 || got[1] != 3 {
		t.Errorf("Read = %v, %v, want 1 and 3", got, err)
	}
}

// Two processes can't keep one folder: the second one is told so, and may have it later.
func TestSpoolIsOneProcesses(t *testing.T) {
	c := SpoolConfig{Dir: t.TempDir()}
	s, err := OpenSpool(c)
	if err != nil {
		t.Fatal(err)
	}
	if other, err := OpenSpool(c); err == nil {
		_ = other.Close() // the test has failed
		t.Error("OpenSpool of a folder that is in use = nil, want an error")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = OpenSpool(c); err != nil {
		t.Fatalf("OpenSpool of a folder that is free again = %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
