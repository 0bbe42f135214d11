package steered

import (
	"testing"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// Where logs parted is agreed on as text, and read back as it was; nothing else is read.
func FuzzFork(f *testing.F) {
	var at engine.Positions
	at[3] = engine.Position{Actor: crdt.Actor(7<<20 | 5), N: 1 << 50}
	f.Add(forkOf(at))
	f.Add("AAAA")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		at, err := parseFork(text)
		if err != nil || text == "" {
			return
		}
		if again, err := parseFork(forkOf(at)); err != nil || again != at {
			t.Errorf("parseFork of what forkOf made: %v, %v, want %v", again, err, at)
		}
	})
}

func TestForkIsReadBack(t *testing.T) {
	var at engine.Positions
	for i := range at {
		at[i] = engine.Position{Actor: crdt.Actor(i), N: uint64(i) << 40}
	}
	if back, err := parseFork(forkOf(at)); err != nil || back != at {
		t.Errorf("parseFork(forkOf(%v)) = %v, %v", at, back, err)
	}
	if _, err := parseFork("AAAA"); err == nil {
		t.Error("parseFork of three bytes = no error")
	}
}
