package lease

import "time"

// A Grantor is the part of the quorum's leader. A member has one from when it becomes
// leader until it is no more.
type Grantor struct {
	config  Config
	renewed Time // the newest renewal that may be, of any epoch
}

// NewGrantor returns that of a leader that was elected now and has applied all that was
// agreed before. Of renewals of others it knows nothing, so the newest is now.
func NewGrantor(c Config, now Time) *Grantor { return &Grantor{config: c, renewed: now} }

// Renewed says that a grant was agreed, or a renewal, now. Two epochs may be renewed at a
// time: the present one, and the one that is reserved for a planned switchover.
func (g *Grantor) Renewed(now Time) { g.renewed = max(g.renewed, now) }

// Wait returns how long the next epoch has to wait; zero or less: not at all. released:
// the holder has agreed with the quorum that its servers have stopped, for good, or there
// never was one.
func (g *Grantor) Wait(released bool, now Time) time.Duration {
	if released {
		return 0
	}
	return g.renewed.Add(g.config.Wait()).Sub(now)
}

// A Round counts consents to an epoch.
type Round struct {
	epoch   uint64
	members int
	agreed  map[string]bool
}

// NewRound returns that of an epoch, among so many members.
func NewRound(epoch uint64, members int) *Round {
	return &Round{epoch: epoch, members: members, agreed: map[string]bool{}}
}

// Consented says that a member has consented to an epoch, and reports whether a majority
// has to the round's.
func (r *Round) Consented(member string, epoch uint64) bool {
	if epoch == r.epoch {
		r.agreed[member] = true
	}
	return r.Agreed()
}

// Agreed reports whether a majority has consented.
func (r *Round) Agreed() bool { return 2*len(r.agreed) > r.members }
