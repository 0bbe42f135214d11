package steer

import (
	"github.com/roam-sessions/roam/internal/lease"
	"github.com/roam-sessions/roam/internal/ledger"
)

// A past is what a Local remembers of its server.
type past struct {
	primary bool   // it was one when it was seen last
	run     string // of its process then
	lost    ledger.Loss
	epoch   uint64 // whose lease it had when that was lost
}

// saw takes in a look at the server, which has taken the lease of an epoch last.
func (p *past) saw(s Server, gave uint64) {
	switch {
	case !s.Known:
		return
	case p.run != "" && s.Run != p.run:
		p.lost, p.epoch = ledger.Restart, gave
	case p.primary && !s.Primary:
		p.lost, p.epoch = ledger.Demotion, gave
	}
	p.primary, p.run = s.Primary, s.Run
}

// loses finds out whether the server may not have any more what it took in the epoch that
// this Region has: it has started anew, and has what its disk had; or somebody has made it
// follow another one, which nobody here does. That is known of the server's own past, by
// what is agreed on, or by heartbeats, which come from an epoch's holder alone. A server
// that came to be a replica between two epochs of its Region is promoted again once that
// is written down in an open receipt.
func (l *Local) loses() {
	s, h, me := l.state, l.state.Handover, l.config.Region
	epoch, run, again := s.Lease.Epoch, s.Lease.Run, s.Lease.From == me
	if h.Pending() && h.To == me {
		epoch, run, again = h.Epoch, "", false
	} else if s.Lease.Holder != me {
		return
	}
	if epoch == 0 || !l.server.Known || l.fell == epoch || h.Step == ledger.Draining && l.server.Marked >= epoch {
		return // with the mark it has all of the epoch, whoever has promoted another one by now
	}
	if loss := l.lostBy(epoch, run, again); loss != "" {
		l.fell, l.loss = epoch, loss
	}
}

// lostBy returns by what the server may not have what it took in an epoch of this Region; again:
// the epoch before was its own, too.
func (l *Local) lostBy(epoch uint64, run string, again bool) ledger.Loss {
	_, owes := l.state.Owes(l.config.Region)
	switch seen := l.server; {
	case l.past.lost != "" && l.past.epoch == epoch:
		return l.past.lost
	case !seen.Primary && (seen.Beat.Epoch == epoch || again && !owes):
		return ledger.Demotion
	case run != "" && seen.Run != run:
		return ledger.Restart
	}
	return ""
}

// whole reports whether the server has all that it took in an epoch, as far as is known.
func (l *Local) whole(epoch uint64) bool { return l.fell != epoch }

// lossOf returns what is to be said of a server whose Region has held the lease until now
// and is to have the next epoch as well.
func lossOf(region string, of ledger.Lease, s Server) ledger.Loss {
	switch {
	case region != of.Holder || of.Loss != "":
		return of.Loss
	case !s.Primary:
		return ledger.Demotion
	case of.Run != "" && s.Run != of.Run:
		return ledger.Restart
	}
	return ""
}

// release tells that the servers have stopped, for good.
func (l *Local) release(now lease.Time) []Act {
	r := ledger.Release{Epoch: l.state.Lease.Epoch, Region: l.config.Region, Why: l.state.Lease.Why}
	if !l.whole(r.Epoch) {
		r.Loss = l.loss
		r.Why = map[ledger.Loss]string{
			ledger.Restart: "its server has started anew", ledger.Demotion: "somebody made its server follow another one",
		}[l.loss]
	}
	return l.propose(ledger.Command{Release: &r}, now)
}
