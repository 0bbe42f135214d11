package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/quorum"
	"github.com/roam-sessions/roam/internal/steer"
)

// A start is how a member begins.
type start uint8

const (
	resumes start = iota // it has its file
	founds               // nobody has agreed on anything yet
	enters               // others have, and add it
)

// begins has others be able to ask this member, and tells how it begins.
func (m *Member) begins(ctx context.Context, path string) (start, error) {
	_, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("file of the member: %w", err)
	}
	m.unread.Store(err == nil)
	m.config.Serve(m.rpc())
	if err == nil {
		return resumes, nil
	}
	return m.beginsAnew(ctx, path)
}

// beginsAnew tells how a member begins that has no file. One that has lost it has promised what
// it does not know, so that others must be asked, for as long as ctx lasts: all of them before
// something new is founded. Where only some answer, those may be as new; one that has a file
// and has not read it yet does not answer.
func (m *Member) beginsAnew(ctx context.Context, path string) (start, error) {
	others := m.config.others()
	for len(others) > 0 {
		answers, founded, joined := m.askAround(ctx, others)
		switch {
		case joined != "":
			return 0, fmt.Errorf("%w: %s knows that %s has joined, and %s is not there; give the member another id in roam.yaml",
				ErrAmnesia, joined, m.config.Self, path)
		case founded && 2*answers >= len(others):
			return enters, nil
		case answers == len(others): // one that is away may know more
			return founds, nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("ask other members whether this one is new: %w", ctx.Err())
		case <-time.After(lookEvery):
		}
	}
	return founds, nil
}

// askAround asks others whether they know that this member has joined: how many answer,
// whether one knows of a deployment, and who knows that it has.
func (m *Member) askAround(ctx context.Context, others []Peer) (answers int, founded bool, joined string) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, p := range others {
		wg.Go(func() {
			asking, cancel := context.WithTimeout(ctx, actTime)
			defer cancel()
			r, err := m.client.question(asking, p, joinedPath, about{Who: m.config.Self})
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			answers++
			founded = founded || r.Founded
			if r.OK {
				joined = p.Name
			}
		})
	}
	wg.Wait()
	return answers, founded, joined
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

// gather has the members of the quorum be those that the file names, once a new one is
// heard from. It is the leader's to do.
func (m *Member) gather(ctx context.Context, acts *sync.WaitGroup) {
	if m.chief == nil || m.gathering {
		return
	}
	var steps []quorum.Change
	voters := m.quorum.Status().Voters
	for _, p := range m.config.Members {
		h, ok := m.reports[p.Name]
		if !slices.Contains(voters, p.ID) && ok && time.Since(h.arrived) < 2*period {
			steps = append(steps, quorum.Change{Kind: quorum.AddVoter, ID: p.ID})
		}
	}
	for _, id := range voters {
		if !slices.ContainsFunc(m.config.Members, func(p Peer) bool { return p.ID == id }) {
			steps = append(steps, quorum.Change{Kind: quorum.Remove, ID: id})
		}
	}
	if len(steps) == 0 {
		return
	}
	m.gathering = true
	acts.Go(func() {
		changing, cancel := context.WithTimeout(ctx, 5*actTime)
		defer cancel()
		err := m.quorum.Change(changing, steps...)
		m.config.Log.Info("change the members of the quorum", "steps", steps, "err", err)
		m.mail.put(func() []steer.Act {
			m.gathering = false
			return nil
		})
	})
}
