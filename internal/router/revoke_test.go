package router

import (
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// What waits to be told again has a bound, goes when all have it, and goes when
// nobody would serve the session any more.
func TestPendingRevocations(t *testing.T) {
	p := newRevocations()
	end := func(i int) ending {
		id := crdt.NewSessionID(start.Add(time.Hour), west, crdt.IDEntropy{3: byte(i), 4: byte(i >> 8), 5: byte(i >> 16)})
		return ending{record: crdt.Record{Key: crdt.SessionKey(id), Dead: true}, waiting: 1<<east | 1<<north}
	}
	p.add(ending{record: end(0).record}) // everybody has it
	if n := p.len(); n != 0 {
		t.Errorf("len = %d with nobody waiting, want 0", n)
	}
	for i := range maxPending + 10 {
		p.add(end(i))
	}
	if n := p.len(); n != maxPending {
		t.Errorf("len = %d, want the bound %d", n, maxPending)
	}
	p.confirm(end(1), east)
	if n := p.len(); n != maxPending {
		t.Errorf("len = %d after one of two Regions, want %d", n, maxPending)
	}
	p.confirm(end(1), north)
	if n := p.len(); n != maxPending-1 {
		t.Errorf("len = %d after both, want %d", n, maxPending-1)
	}
	if p.expire(start.Add(time.Hour)); p.len() != maxPending-1 {
		t.Errorf("len = %d at the deadline, want %d: clocks differ", p.len(), maxPending-1)
	}
	if p.expire(start.Add(time.Hour + 3*time.Minute)); p.len() != 0 {
		t.Errorf("len = %d past every clock's deadline, want 0", p.len())
	}
}
