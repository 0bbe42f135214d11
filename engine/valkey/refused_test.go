package valkey

import (
	"slices"
	"testing"
	"time"
)

// Connections are made anew when servers have refused for a second, then ever more seldom,
// and as at first when there was peace.
func TestRefusals(t *testing.T) {
	var r refusals
	begun := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	refuse := func(from, to time.Duration) (due []time.Duration) {
		for at := from; at <= to; at += 100 * time.Millisecond {
			if r.note(begun.Add(at)) {
				due = append(due, at-from)
			}
		}
		return due
	}
	want := []time.Duration{time.Second, 3 * time.Second, 7 * time.Second, 15 * time.Second, 31 * time.Second, 61 * time.Second, 91 * time.Second}
	if due := refuse(0, 100*time.Second); !slices.Equal(due, want) {
		t.Errorf("in 100 s of refusals connections are made anew after %v, want %v", due, want)
	}
	if due := refuse(105*time.Second, 106*time.Second); due != nil {
		t.Errorf("five seconds later they are after %v, want not yet: it is the same trouble", due)
	}
	if due := refuse(200*time.Second, 201*time.Second); !slices.Equal(due, want[:1]) {
		t.Errorf("much later they are after %v, want %v", due, want[:1])
	}
	if due := refuse(300*time.Second, 300*time.Second+900*time.Millisecond); due != nil {
		t.Errorf("while a switchover lasts they are after %v, want not", due)
	}
}
