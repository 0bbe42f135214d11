package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/roam-sessions/roam/internal/ledger"
)

// isNew reports whether this member was never started: it has no file, and the others do
// not know that it ever joined. One whose file is lost has promised what it does not know,
// so that a majority must be asked, for as long as ctx lasts.
func (m *Member) isNew(ctx context.Context, path string) (bool, error) {
	switch _, err := os.Stat(path); {
	case err == nil:
		return false, nil
	case !errors.Is(err, fs.ErrNotExist):
		return false, fmt.Errorf("file of the member: %w", err)
	}
	others := m.config.others()
	for {
		if len(others) == 0 {
			return true, nil
		}
		no, yes := m.haveHeard(ctx, others)
		switch {
		case yes != "":
			return false, fmt.Errorf("%w: %s knows that %s has joined, and %s is not there; give the member another id in roam.yaml",
				ErrAmnesia, yes, m.config.Self, path)
		case 2*(no+1) > len(m.config.Members):
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("ask other members whether this one is new: %w", ctx.Err())
		case <-time.After(lookEvery):
		}
	}
}

// haveHeard asks others whether they know that this member has joined: how many do not,
// and one that does.
func (m *Member) haveHeard(ctx context.Context, others []Peer) (no int, yes string) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, p := range others {
		wg.Go(func() {
			asking, cancel := context.WithTimeout(ctx, actTime)
			defer cancel()
			ok, err := m.client.yes(asking, p, joinedPath, about{Who: m.config.Self})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
			case ok:
				yes = p.Name
			default:
				no++
			}
		})
	}
	wg.Wait()
	return no, yes
}

// join has agreed that this member has joined, once.
func (m *Member) join(ctx context.Context) {
	self, _ := m.config.peer(m.config.Self)
	for {
		s, changed := m.machine.look()
		if s.Joined[m.config.Self] == self.ID {
			return
		}
		if s.Setup.Version > 0 {
			asking, cancel := context.WithTimeout(ctx, actTime)
			_, err := m.Propose(asking, ledger.Command{Join: &ledger.Join{Member: m.config.Self, ID: self.ID}})
			cancel()
			if err == nil {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-time.After(actTime):
		}
	}
}
