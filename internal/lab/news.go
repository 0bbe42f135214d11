package lab

import (
	"context"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/pause"
)

// sourceAgain is how long it is until a primary is tried again that can't be reached.
const sourceAgain = 500 * time.Millisecond

// A news tells how old what a Region has is, where its server replicates the primary's,
// whoever that is. It is what a store asks as Links, and may be used by many goroutines.
type news struct {
	mu   sync.Mutex // guards what follows
	own  bool       // this Region is the primary: nothing is older than now
	echo *valkey.Echo
	had  time.Time // all that was written by then is here; zero: not known
}

// become has the news be of another primary; neither own nor an echo: of nobody yet. Kept:
// it goes on where the one before has stopped, so that what is here is as old as it was.
func (n *news) become(own bool, echo *valkey.Echo, kept bool) {
	var had time.Time
	if age, ok := n.Heard(0); ok && kept {
		had = time.Now().Add(-age)
	}
	n.mu.Lock()
	old := n.echo
	n.own, n.echo, n.had = own, echo, had
	n.mu.Unlock()
	if old != nil {
		_ = old.Close() // it never fails
	}
}

// Heard returns how old the last news of the Region that writes is. Not ok: none has come.
func (n *news) Heard(of crdt.Region) (age time.Duration, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.own {
		return 0, true
	}
	if n.echo != nil {
		age, ok = n.echo.Heard(of)
	}
	if !n.had.IsZero() && (!ok || time.Since(n.had) < age) {
		return time.Since(n.had), true
	}
	return age, ok
}

// Lag returns how late a write gets here; zero: not measured yet.
func (n *news) Lag(of crdt.Region) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.echo == nil {
		return 0
	}
	return n.echo.Lag(of)
}

// Everywhere reports whether every Region is known to have a write: nobody knows.
func (n *news) Everywhere(crdt.Dot) bool { return false }

// Close ends the measuring. It never fails.
func (n *news) Close() error {
	n.become(false, nil, false)
	return nil
}

// A head is the Region that takes the writes. Kept: it goes on where the one before has
// stopped.
type head struct {
	region *region
	kept   bool
}

// measure has the news be of each head in turn, until ctx ends.
func (s *seat) measure(ctx context.Context) {
	defer func() { _ = s.news.Close() }() // it never fails
	for {
		var h head
		select {
		case <-ctx.Done():
			return
		case h = <-s.heads:
		}
		s.news.become(h.region == s.region, nil, h.kept)
		for h.region != s.region && len(s.heads) == 0 && ctx.Err() == nil {
			source, err := s.natively.source(ctx, route{s.region, h.region})
			if err == nil {
				s.news.become(false, valkey.NewEcho(ctx, source, s.main, valkey.EchoConfig{}), true)
				break
			}
			pause.For(ctx, sourceAgain) // the loop looks at ctx
		}
	}
}

// follow has the news be of another head soon. Of several the last one counts. It is called
// by one goroutine.
func (s *seat) follow(h head) {
	select {
	case <-s.heads:
	default:
	}
	s.heads <- h
}
