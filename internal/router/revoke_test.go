package router

import (
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// What waits to be told again has a bound, goes when all have it, and goes when
// nobody would serve the session any more.
func TestPendingRevocations(t *testing.T) {
	p := &Revocations{}
	end := func(i int) crdt.Record {
		id := crdt.NewSessionID(start.Add(time.Hour), west, crdt.IDEntropy{3: byte(i), 4: byte(i >> 8), 5: byte(i >> 16)})
		return crdt.Record{Key: crdt.SessionKey(id), Dead: true}
	}
	p.Add(end(0), 0) // everybody has it
	if n := p.Len(); n != 0 {
		t.Errorf("len = %d with nobody waiting, want 0", n)
	}
	for i := range maxPending + 10 {
		p.Add(end(i), SetOf(east, north))
	}
	if n := p.Len(); n != maxPending {
		t.Errorf("len = %d, want the bound %d", n, maxPending)
	}
	p.Confirm(end(1), east)
	if n := p.Len(); n != maxPending {
		t.Errorf("len = %d after one of two Regions, want %d", n, maxPending)
	}
	p.Confirm(end(1), north)
	if n := p.Len(); n != maxPending-1 {
		t.Errorf("len = %d after both, want %d", n, maxPending-1)
	}
	if p.Expire(start.Add(time.Hour)); p.Len() != maxPending-1 {
		t.Errorf("len = %d at the deadline, want %d: clocks differ", p.Len(), maxPending-1)
	}
	if p.Expire(start.Add(time.Hour + 3*time.Minute)); p.Len() != 0 {
		t.Errorf("len = %d past every clock's deadline, want 0", p.Len())
	}
}
