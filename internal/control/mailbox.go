package control

import (
	"sync"

	"github.com/roam-sessions/roam/internal/steer"
)

// A letter is something that the loop is told: it changes what the loop owns, and returns
// what is to be done.
type letter func() []steer.Act

// A mailbox holds letters until the loop takes them. Nobody waits who puts one in: it is
// bounded by how much can be under way.
type mailbox struct {
	ready chan struct{}

	mu      sync.Mutex // guards what follows
	letters []letter
}

func newMailbox() *mailbox { return &mailbox{ready: make(chan struct{}, 1)} }

func (b *mailbox) put(l letter) {
	b.mu.Lock()
	b.letters = append(b.letters, l)
	b.mu.Unlock()
	select {
	case b.ready <- struct{}{}:
	default: // it is rung for already
	}
}

func (b *mailbox) take() []letter {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.letters
	b.letters = nil
	return out
}
