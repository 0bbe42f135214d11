package control

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/lease"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/steer"
)

// act begins to do something, for the loop, which hears of what comes of it.
func (m *Member) act(ctx context.Context, acts *sync.WaitGroup, a steer.Act) {
	do := func(what func(context.Context) letter) {
		acts.Go(func() {
			doing, cancel := context.WithTimeout(ctx, actTime)
			defer cancel()
			if l := what(doing); l != nil {
				m.mail.put(l)
			}
		})
	}
	server := m.config.Server
	switch a.Kind {
	case steer.Leases:
		m.lease(do, a.Lease, a.Run)
	case steer.End:
		do(func(ctx context.Context) letter {
			if err := server.End(ctx, a.Epoch); err != nil {
				m.config.Log.Warn("end a lease", "epoch", a.Epoch, "err", err)
				return nil
			}
			return func() []steer.Act { return m.local.Ended(a.Epoch, m.now()) }
		})
	case steer.Mark:
		do(func(ctx context.Context) letter {
			if err := server.Mark(ctx, a.Epoch, a.Run); err != nil {
				m.config.Log.Warn("mark the end of a lease", "epoch", a.Epoch, "err", err)
				return nil
			}
			return func() []steer.Act { return m.local.Marked(a.Epoch, m.now()) }
		})
	case steer.Promote:
		do(func(ctx context.Context) letter { return m.turned(ctx, "nobody", server.Promote(ctx, a.Detach)) })
	case steer.Follow:
		do(func(ctx context.Context) letter {
			if s, _ := m.machine.look(); s.Lease.Holder != a.Region {
				return nil // it came late: who follows loses what it has taken since
			}
			return m.turned(ctx, a.Region, server.Follow(ctx, a.Region))
		})
	case steer.Salvage:
		m.salvage(ctx, acts, a)
	case steer.Propose:
		do(func(ctx context.Context) letter {
			if _, err := m.Propose(ctx, a.Command); err != nil {
				m.config.Log.Info("propose", "err", err)
			}
			return nil
		})
	case steer.Consents:
		m.consents(do, a.Epoch)
	case steer.Lead:
		do(func(ctx context.Context) letter {
			peer, _ := m.config.peer(a.Region)
			if err := m.quorum.Transfer(ctx, peer.ID); err != nil {
				m.config.Log.Info("have another member lead", "member", a.Region, "err", err)
			}
			return nil
		})
	}
}

// turned looks at the server anew after its role was to change.
func (m *Member) turned(ctx context.Context, follows string, err error) letter {
	if errors.Is(err, ErrUnderWay) {
		return nil
	}
	if err != nil {
		m.config.Log.Warn("the server is to change whom it follows", "follows", follows, "err", err)
		return nil
	}
	m.config.Log.Info("the server has changed whom it follows", "follows", follows)
	s, err := m.config.Server.Look(ctx)
	if err != nil {
		return nil // it is looked at all the time
	}
	s.Known = true
	return func() []steer.Act {
		m.server = s
		return m.local.Saw(s, m.now())
	}
}

// lease does what a lease.Holder asks for.
func (m *Member) lease(do func(func(context.Context) letter), a lease.Act, run string) {
	switch a.Kind {
	case lease.AskClocks:
		do(func(ctx context.Context) letter {
			clocks, grant, err := m.config.Server.Clocks(ctx, run)
			if err != nil {
				return nil // it is asked again
			}
			return func() []steer.Act {
				m.grant, m.grantTry = grant, a.Try
				return m.local.Clocks(a.Epoch, a.Try, clocks, m.now())
			}
		})
	case lease.Renew:
		do(func(ctx context.Context) letter {
			if !m.hears(ctx) {
				return nil
			}
			_, err := m.Propose(ctx, ledger.Command{Renew: &ledger.Renew{Epoch: a.Epoch, Region: m.config.Self, Run: run}})
			switch {
			case err == nil:
				return func() []steer.Act { return m.local.Renewed(a.Epoch, a.Try, m.now()) }
			case errors.Is(err, ledger.ErrStale):
				m.config.Log.Info("the lease is not renewed", "err", err)
				return func() []steer.Act { return m.local.Refused(a.Epoch, m.now()) }
			}
			return nil
		})
	case lease.AskWord:
		for _, p := range m.config.others() {
			do(func(ctx context.Context) letter {
				if !m.client.vouch(ctx, p, a.Epoch) {
					return nil
				}
				return func() []steer.Act { return m.local.Vouched(a.Epoch, a.Try, p.Name, m.now()) }
			})
		}
	case lease.Grant:
		if m.grantTry != a.Try {
			return // the clocks that it goes by are not these
		}
		do(m.give(a, m.grant))
	}
}

// give gives the server the lease of an epoch. Before the first time it is agreed how far
// its log went then, for the receipt of what it lacks.
func (m *Member) give(a lease.Act, grant GrantFunc) func(context.Context) letter {
	part, owed := m.parts(a.Epoch)
	return func(ctx context.Context) letter {
		if owed {
			at, err := m.config.Server.Tail(ctx)
			if err == nil {
				part.At = at
				_, err = m.Propose(ctx, ledger.Command{Fork: &part})
			}
			if err != nil {
				m.config.Log.Warn("agree how far the log went", "epoch", part.Epoch, "err", err)
				return nil // it is tried again
			}
		}
		switch err := grant(ctx, a.Epoch, a.Lasts); {
		case err == nil:
			return func() []steer.Act { return m.local.Gave(a.Epoch, m.now()) }
		case errors.Is(err, engine.ErrNotPrimary):
			m.config.Log.Warn("the server does not take the lease", "err", err)
			return func() []steer.Act { return m.local.Refused(a.Epoch, m.now()) }
		}
		return nil // it is tried again
	}
}

// mostParts is how often it is tried to agree how far the log went. Without it all of a log
// is compared, and people write meanwhile.
const mostParts = 2

// parts returns what is to be agreed before the server may have an epoch; false: nothing.
// Once it has had it, it is too late.
func (m *Member) parts(epoch uint64) (ledger.Fork, bool) {
	l := m.state.Lease
	if l.Epoch != epoch || l.Holder != m.config.Self || m.server.Beat.Epoch == epoch {
		return ledger.Fork{}, false
	}
	for _, r := range m.state.Receipts {
		if r.To != m.config.Self || r.From != l.From || !r.At.Equal(l.Since) || r.Fork != "" || !r.Closed.IsZero() {
			continue
		}
		if m.parted.epoch != epoch {
			m.parted = parting{epoch: epoch}
		}
		m.parted.tries++
		return ledger.Fork{Epoch: r.Epoch}, m.parted.tries <= mostParts
	}
	return ledger.Fork{}, false
}

// A parting is how often it was tried to agree how far the log went at the beginning of an
// epoch.
type parting struct {
	epoch uint64
	tries int
}

// hears waits until the quorum's leader is heard, and reports whether it is. Where it is not
// its answer will not be either: a renewal that is agreed all the same is of no use here, and
// has whoever is to be the next wait for as long as a lease lasts.
func (m *Member) hears(ctx context.Context) bool {
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	for m.quorum.Status().Silent > silence {
		select {
		case <-ctx.Done():
			return false
		case <-ticks.C:
		}
	}
	return true
}

// salvage has what the server took be taken in elsewhere, one run at a time.
func (m *Member) salvage(ctx context.Context, acts *sync.WaitGroup, a steer.Act) {
	if m.salvaging {
		return
	}
	receipt, owes := m.state.Owes(m.config.Self)
	if !owes || receipt.Epoch != a.Epoch {
		return
	}
	m.salvaging = true
	order := Order{Receipt: receipt, To: a.Region, Epoch: m.state.Lease.Epoch, Alone: m.reports[a.Region].bytes.Server.Alone}
	for _, region := range m.state.Setup.Regions {
		if _, owes := m.state.Owes(region); owes {
			order.Owing = append(order.Owing, region)
		}
	}
	acts.Go(func() {
		err := m.config.Server.Salvage(ctx, order, func(ctx context.Context, s ledger.Salvage) error {
			_, err := m.Propose(ctx, ledger.Command{Salvage: &s})
			return err
		})
		switch {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, engine.ErrUnreachable): // for as long as a server is dead
			m.config.Log.Debug("salvage", "epoch", a.Epoch, "err", err)
		default:
			m.config.Log.Warn("salvage", "epoch", a.Epoch, "err", err)
		}
		m.mail.put(func() []steer.Act {
			m.salvaging = false
			return nil
		})
	})
}

// consents asks all members to consent to an epoch.
func (m *Member) consents(do func(func(context.Context) letter), epoch uint64) {
	for _, p := range m.config.Members {
		do(func(ctx context.Context) letter {
			if !m.consented(ctx, p, epoch) {
				return nil
			}
			return func() []steer.Act {
				if m.chief == nil {
					return nil
				}
				return m.chief.Consented(p.Name, epoch, m.observe(), m.now())
			}
		})
	}
}

// consented asks a member, which may be this one, to consent to an epoch.
func (m *Member) consented(ctx context.Context, p Peer, epoch uint64) bool {
	if p.Name != m.config.Self {
		return m.client.consent(ctx, p, epoch)
	}
	ok, err := m.voting.consent(epoch, m.now())
	if err != nil {
		m.config.Log.Error("give a consent", "err", err)
	}
	return ok
}
