package steer

import (
	"fmt"
	"time"

	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/lease"
	"github.com/roam-sessions/roam/internal/ledger"
)

// again is how long an act is waited for before it is asked for once more.
const again = lease.Time(500 * time.Millisecond)

// forkTime is how long a Region waits to hear where its log and the next primary's parted,
// before it gives what it has. Who was promoted knows at once, unless it was lost as well.
const forkTime = 5 * time.Second

// A Server is what was last seen of a Region's server.
type Server struct {
	Known   bool   // it answered, a moment ago
	Primary bool   // by its role it takes writes
	Follows string // the Region whose server it follows; empty: none that is known
	Linked  bool   // it hears that one, and has all that it was given at first
	Foreign bool   // it has data, and nothing of this deployment
	Run     string // of its process
	Turned  bool   // it had the other role before, in the same run of its process, or its Service says so
	Marked  uint64 // the epoch that was marked last as over
	Beat    judge.Beat
	Quiet   time.Duration // since Beat last grew, as seen from its node
	// Clock is how far its clock is ahead of its node's; nil: it was not asked.
	Clock *time.Duration
	// Service is what whoever manages it says of it, for people; empty: nobody does. Held: it
	// could not be promoted now. Alone: it is on its own, and nobody follows it.
	Service string
	Held    bool
	Alone   bool
}

// An Act is what is to be done.
type Act struct {
	Kind Kind
	// Lease is of Leases.
	Lease lease.Act
	// Run is of Leases and Mark: the server's process, as it was seen last. Another one is
	// not asked.
	Run string
	// Epoch is of End, Mark and Salvage.
	Epoch uint64
	// Region is whom to follow, to give what was salvaged, or to have lead.
	Region string
	// Detach is of Promote: the server may be taken out of what manages it.
	Detach bool
	// Command is of Propose. Its time is filled in by whoever proposes it.
	Command ledger.Command
}

// A Kind is a kind of Act.
type Kind uint8

// The kinds. Of a Local: Leases, what its lease.Holder asks for, but for Stop; End: have the
// servers let go of an epoch, for good, and tell Ended; Mark: write down at the server that
// it is over, and tell Marked; Promote and Follow: have the server take writes, or follow a
// Region's; Salvage: have what the server and the spool have taken in an epoch be taken in
// by a Region, which may be its own, and propose what came of it. Of a Chief: Consents, ask every member to
// consent to an epoch, and tell Consented; Lead: have a member lead the quorum. Of both:
// Propose.
const (
	Leases Kind = iota + 1
	End
	Mark
	Promote
	Follow
	Salvage
	Consents
	Lead
	Propose
)

// A LocalConfig is what a Local goes by.
type LocalConfig struct {
	// Region is this node's.
	Region string
	// Others are all other members that vote.
	Others []string
	// Lease is what all members go by, with no zeros in it.
	Lease lease.Config
	// MaxQuiet is how long the last beat may be ago at the target of a planned
	// switchover, so that what is to arrive is not late. Default 500 ms.
	MaxQuiet time.Duration
}

// A Local is the part of a Region's node. It does nothing where there are no leases.
type Local struct {
	config LocalConfig
	state  ledger.State
	server Server
	holder *lease.Holder         // of the epoch that is or was held, or armed; nil: none yet
	gave   uint64                // the epoch whose lease the server has taken
	ended  uint64                // the epoch that the server has let go of, for good
	marked uint64                // the epoch whose end was written down
	due    map[string]lease.Time // by what was asked for: when it is again
	owed   uint64                // the epoch whose receipt is open here
	owes   lease.Time            // since when that is known
	past   past
	fell   uint64 // the epoch of which the server may not have all any more, and why
	loss   ledger.Loss
	spared lease.Time // until when a server that somebody made a primary stays one; 0: none is
}

// NewLocal returns that of a node that starts.
func NewLocal(c LocalConfig) *Local {
	if c.MaxQuiet == 0 {
		c.MaxQuiet = again.Sub(0)
	}
	return &Local{config: c, due: map[string]lease.Time{}}
}

// Agreed says what is agreed now.
func (l *Local) Agreed(s ledger.State, now lease.Time) []Act {
	l.state = s
	var acts []Act
	if l.holder != nil && s.Lease.Epoch > l.holder.Epoch() {
		acts = l.leases(l.holder.Granted(s.Lease.Epoch))
	}
	return append(acts, l.Tick(now)...)
}

// Saw says how the server is.
func (l *Local) Saw(s Server, now lease.Time) []Act {
	was := l.server
	l.server = s
	l.past.saw(s, l.gave)
	if was.Primary != s.Primary || was.Marked != s.Marked || was.Run != s.Run || was.Known != s.Known {
		return l.Tick(now)
	}
	return nil
}

// Hurried reports whether the server is to be looked at as often as can be.
func (l *Local) Hurried() bool {
	h := l.state.Handover
	return h.Step == ledger.Draining && h.To == l.config.Region
}

// Holds returns the epoch whose lease the server may have, and whether it may have one.
func (l *Local) Holds() (epoch uint64, ok bool) {
	if l.holder == nil || l.holder.Stopped() || l.gave != l.holder.Epoch() {
		return 0, false
	}
	return l.gave, true
}

// Tick says what time it is.
func (l *Local) Tick(now lease.Time) []Act {
	s, h, me := l.state, l.state.Handover, l.config.Region
	l.loses()
	switch holds := s.Lease.Holder == me; {
	case s.Lease.Epoch == 0:
		return nil
	case holds && (h.Step == ledger.Draining || s.Lease.Deposed || s.Lease.Released):
		return l.leave(now)
	case h.Pending() && h.To == me:
		return l.arm(now)
	case holds:
		return l.reign(now)
	}
	return l.follow(now)
}

// reign holds the lease.
//
// Path fail over 3/4: from Chief.Tick, which had it granted; next router.SetPrimary, in
// applications.
func (l *Local) reign(now lease.Time) []Act {
	epoch := l.state.Lease.Epoch
	if l.holder != nil && l.holder.Epoch() == epoch && l.holder.Stopped() {
		return l.leave(now) // the epoch can't go on: a clock has stepped, say
	}
	if !l.whole(epoch) {
		return l.leave(now)
	}
	if l.server.Known && !l.server.Primary {
		return l.once(Act{Kind: Promote, Detach: l.state.Lease.Detach}, now)
	}
	if l.holder == nil || l.holder.Epoch() != epoch {
		l.holder = lease.NewHolder(l.config.Lease, epoch, l.config.Others, now)
	}
	// One that is armed still has heard of its own beginning only now, after a restart.
	acts := l.leases(append(l.holder.Begin(now), l.holder.Tick(now)...))
	if r, owes := l.state.Owes(l.config.Region); owes && l.gave == epoch {
		// It has the lease again: what its server has is there, what only its node has is not.
		return append(acts, l.once(Act{Kind: Salvage, Epoch: r.Epoch, Region: l.config.Region}, now)...)
	}
	return acts
}

// leave ends the present epoch at the server: it is marked as over there for the target
// of a switchover, or else the quorum is told that nobody need wait.
func (l *Local) leave(now lease.Time) []Act {
	epoch, draining := l.state.Lease.Epoch, l.state.Handover.Step == ledger.Draining
	if l.holder != nil {
		l.holder.Stop()
	}
	switch {
	case l.ended != epoch:
		return l.once(Act{Kind: End, Epoch: epoch}, now)
	case draining && l.marked != epoch && l.server.Known && l.whole(epoch):
		return l.once(Act{Kind: Mark, Epoch: epoch, Run: l.server.Run}, now)
	case !draining && !l.state.Lease.Released, !l.whole(epoch) && l.state.Lease.Loss == "":
		return l.release(now)
	}
	return nil
}

// arm renews the epoch that is reserved, and begins when the present one is seen to be
// over: with that mark all that was written before it is here.
func (l *Local) arm(now lease.Time) []Act {
	h := l.state.Handover
	if l.holder == nil || l.holder.Epoch() != h.Epoch {
		l.holder = lease.NewArmed(l.config.Lease, h.Epoch, l.config.Others, now)
	}
	acts := l.leases(l.holder.Tick(now))
	switch over := l.server.Marked >= l.state.Lease.Epoch; {
	case l.holder.Stopped() || !l.server.Known:
	case l.gave == h.Epoch:
		return append(acts, l.advance(ledger.Repointing, now)...)
	case h.Step == ledger.Arming && l.holder.Ready(now) && l.server.Linked && l.server.Quiet <= l.config.MaxQuiet:
		return append(acts, l.advance(ledger.Draining, now)...)
	case h.Step == ledger.Draining && over && !l.server.Primary:
		return append(acts, l.once(Act{Kind: Promote}, now)...)
	case h.Step == ledger.Draining && over:
		return append(acts, l.leases(l.holder.Begin(now))...)
	}
	return acts
}

func (l *Local) advance(step ledger.Step, now lease.Time) []Act {
	return l.propose(ledger.Command{Advance: &ledger.Advance{Epoch: l.state.Handover.Epoch, Step: step}}, now)
}

// follow has the server follow the holder's, when what it took itself is safe. A server
// that is dead lets go of nothing, and holds up nothing that its node's spool has.
func (l *Local) follow(now lease.Time) []Act {
	if l.holder != nil {
		l.holder.Stop()
	}
	if l.holder != nil && l.ended < l.holder.Epoch() && l.server.Known {
		return l.once(Act{Kind: End, Epoch: l.holder.Epoch()}, now)
	}
	holder := l.state.Lease.Holder
	if r, owes := l.state.Owes(l.config.Region); owes && !l.parted(r, now) {
		return nil
	} else if owes {
		return l.once(Act{Kind: Salvage, Epoch: r.Epoch, Region: holder}, now)
	}
	if l.usurping(now) {
		return nil
	}
	if l.server.Known && !l.server.Foreign && (l.server.Primary || l.server.Follows != holder) {
		return l.once(Act{Kind: Follow, Region: holder}, now)
	}
	return nil
}

// usurping reports whether somebody has made the server a primary and it is not decided yet
// whether that is to be so: it takes no writes meanwhile, as it has no lease.
func (l *Local) usurping(now lease.Time) bool {
	if !usurps(l.server, l.state) {
		l.spared = 0
		return false
	}
	if l.spared == 0 {
		l.spared = now.Add(2 * l.config.Lease.Wait())
	}
	return now < l.spared
}

// parted reports whether it is known where the logs of a receipt parted, or not to be
// expected any more. Before, what the next primary got meanwhile in another way would be
// missing in the list: sessions go on there.
func (l *Local) parted(r ledger.Receipt, now lease.Time) bool {
	if l.owed != r.Epoch {
		l.owed, l.owes = r.Epoch, now
	}
	return r.Fork != "" || now >= l.owes.Add(forkTime)
}

// Clocks says what a try of an epoch has heard of the clocks of the servers.
func (l *Local) Clocks(epoch, try uint64, servers []time.Duration, now lease.Time) []Act {
	return l.ask(epoch, func(h *lease.Holder) []lease.Act { return h.Clocks(try, servers, now) })
}

// Renewed says that the quorum agreed to the renewal of a try.
func (l *Local) Renewed(epoch, try uint64, now lease.Time) []Act {
	return l.ask(epoch, func(h *lease.Holder) []lease.Act { return h.Renewed(try, now) })
}

// Vouched says that a member gave its word in a try.
func (l *Local) Vouched(epoch, try uint64, member string, now lease.Time) []Act {
	return l.ask(epoch, func(h *lease.Holder) []lease.Act { return h.Vouched(try, member, now) })
}

// Refused says that the quorum does not renew an epoch, or that the server does not take
// its lease, for good.
func (l *Local) Refused(epoch uint64, now lease.Time) []Act {
	l.ask(epoch, func(h *lease.Holder) []lease.Act { return h.Refused() })
	return l.Tick(now)
}

// Gave says that the server has taken the lease of an epoch.
func (l *Local) Gave(epoch uint64, now lease.Time) []Act {
	if first := l.gave < epoch; first {
		l.gave = epoch
		return l.Tick(now)
	}
	return nil
}

// Ended says that the server has let go of an epoch, for good.
func (l *Local) Ended(epoch uint64, now lease.Time) []Act {
	l.ended = max(l.ended, epoch)
	return l.Tick(now)
}

// Marked says that the end of an epoch is written down at the server.
func (l *Local) Marked(epoch uint64, now lease.Time) []Act {
	l.marked = max(l.marked, epoch)
	return l.Tick(now)
}

func (l *Local) ask(epoch uint64, what func(*lease.Holder) []lease.Act) []Act {
	if l.holder == nil || l.holder.Epoch() != epoch {
		return nil
	}
	return l.leases(what(l.holder))
}

// leases turns a holder's acts into ours. That it stops is seen at the next tick.
func (l *Local) leases(acts []lease.Act) []Act {
	var out []Act
	for _, a := range acts {
		if a.Kind != lease.Stop {
			out = append(out, Act{Kind: Leases, Lease: a, Run: l.server.Run})
		}
	}
	return out
}

func (l *Local) propose(c ledger.Command, now lease.Time) []Act {
	return l.once(Act{Kind: Propose, Command: c}, now)
}

// once returns an act, unless it was asked for a moment ago.
func (l *Local) once(a Act, now lease.Time) []Act {
	key := fmt.Sprint(a.Kind, a.Epoch, a.Region)
	if step := a.Command.Advance; step != nil {
		key += fmt.Sprint(step.Epoch, step.Step)
	}
	if at, is := l.due[key]; is && now < at {
		return nil
	}
	clear(l.due) // what was asked for before is not needed now
	l.due[key] = now + again
	return []Act{a}
}
