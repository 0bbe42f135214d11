package control

import (
	"fmt"
	"sync"

	"github.com/roam-sessions/roam/internal/ledger"
)

// A machine applies what is agreed. The quorum's goroutine calls it; anybody may look.
type machine struct {
	halt  func(error)     // told what this version can't live with
	ended <-chan struct{} // closed when the member ends

	mu      sync.Mutex // guards what follows
	state   ledger.State
	changed chan struct{}                      // closed when the state changes
	applied func(s ledger.State, renewal bool) // told of each change, in order; it must not wait. nil: nobody is yet
}

func newMachine() *machine { return &machine{changed: make(chan struct{})} }

// look returns the state, and what is closed when there is another.
func (m *machine) look() (ledger.State, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state, m.changed
}

// tell tells of the state as it is, and of each change from now on.
func (m *machine) tell(applied func(s ledger.State, renewal bool)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.applied = applied
	applied(m.state, true) // what was renewed before is not known
}

func (m *machine) set(s ledger.State, renewal bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = s
	close(m.changed)
	m.changed = make(chan struct{})
	if m.applied != nil {
		m.applied(s, renewal)
	}
}

// Apply applies a command and returns why it was refused, or nil.
func (m *machine) Apply(index uint64, command []byte) any {
	c, err := ledger.Decode(command)
	if err != nil {
		// A later version wrote it. To go on without it is to differ from others, so that
		// nothing is applied any more, nor kept of what was.
		m.halt(fmt.Errorf("a command that this version does not know: %w", err))
		<-m.ended
		return err
	}
	was, _ := m.look()
	s, err := was.Apply(index, c)
	if err != nil {
		return err
	}
	m.set(s, c.Renew != nil || c.Grant != nil || c.Advance != nil)
	return nil
}

// Snapshot returns the state's bytes.
func (m *machine) Snapshot() []byte {
	s, _ := m.look()
	b, err := s.Snapshot()
	if err != nil {
		m.halt(err)
		<-m.ended
	}
	return b
}

// Restore replaces the state.
func (m *machine) Restore(b []byte) error {
	s, err := ledger.Restore(b)
	if err != nil {
		return err
	}
	m.set(s, true) // what was renewed in between is not known
	return nil
}
