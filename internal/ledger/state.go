package ledger

import (
	"slices"
	"time"

	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/judge/alarm"
	"github.com/roam-sessions/roam/internal/judge/routing"
)

// Bounds of what is kept. The oldest goes first.
const (
	MaxEvents   = 500
	MaxReceipts = 50
	// MaxItems bounds the writes that a receipt names; the others are only counted. They
	// come in one command, and fifty receipts must fit into a snapshot.
	MaxItems = 500
	// maxText bounds what people write and what errors say.
	maxText = 500
)

// A State is all that members have agreed on. It is plain data and never changed: Apply
// returns another one. The zero is that of a deployment that nobody has founded.
type State struct {
	// Index is that of the last command that changed it.
	Index uint64 `json:"index"`
	Setup Setup  `json:"setup"`
	Lease Lease  `json:"lease"`
	// Joined are the members that have taken part, with their numbers. One that comes with
	// empty hands has lost its files.
	Joined map[string]uint64 `json:"joined,omitempty"`
	// Newest is the highest epoch that was ever granted or reserved.
	Newest   uint64   `json:"newest"`
	Handover Handover `json:"handover"`
	// Mode is what an operator lets the judge do; empty: what roam.yaml says.
	Mode  judge.Mode `json:"mode,omitempty"`
	Watch Watch      `json:"watch"`
	// Readmits counts how often a Region was let be promoted again: what a judge found that
	// did not know of the last time is not kept.
	Readmits uint64        `json:"readmits,omitempty"`
	Routing  routing.State `json:"routing"`
	Events   []Event       `json:"events,omitempty"`
	// Seq is the number of the last event.
	Seq      uint64    `json:"seq"`
	Receipts []Receipt `json:"receipts,omitempty"`
}

// A Setup is what roam.yaml says, as far as agreed decisions depend on it.
type Setup struct {
	// Version counts the files; zero: there is none yet.
	Version uint64 `json:"version"`
	File    string `json:"file,omitempty"`
	// Regions are the names of all of them.
	Regions []string `json:"regions,omitempty"`
	// Leases: one Region takes all writes, by lease. Primary is the one to begin with.
	Leases   bool              `json:"leases,omitempty"`
	Primary  string            `json:"primary,omitempty"`
	Controls []routing.Control `json:"controls,omitempty"`
	Rules    []routing.Rule    `json:"rules,omitempty"`
}

// A Lease says which Region may hold it now.
type Lease struct {
	Epoch  uint64    `json:"epoch"` // zero: there are no leases
	Holder string    `json:"holder,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	// From held the one before; empty: nobody did.
	From      string `json:"from,omitempty"`
	Unplanned bool   `json:"unplanned,omitempty"`
	// Renewals counts those of all epochs, so that a grant can tell that there was one.
	Renewals uint64 `json:"renewals"`
	// Run is that of the process of the holder's server, since it had nothing to lose or a
	// receipt says so; empty: nobody has said.
	Run string `json:"run,omitempty"`
	// Released: the holder's servers have stopped, for good. Loss is why what they had may be
	// gone.
	Released bool `json:"released,omitempty"`
	Loss     Loss `json:"loss,omitempty"`
	// Deposed: it is not to be renewed any more, and Wish is to have the next.
	Deposed bool      `json:"deposed,omitempty"`
	Wish    string    `json:"wish,omitempty"`
	Why     string    `json:"why,omitempty"`
	Lag     float64   `json:"lag,omitempty"` // of Wish, as known, in seconds
	At      time.Time `json:"at,omitzero"`   // when it was deposed
	// Detach: the holder's server, or that of Wish once it is the holder, may be taken out of
	// what manages it, as an operator has said.
	Detach bool `json:"detach,omitempty"`
}

// A Loss is why a server may not have any more what it took in an epoch. Whoever has the
// next one, there is a receipt then.
type Loss string

// The kinds of Loss: the server's process has started anew, and has what its disk had; or
// somebody made it follow another one, whose data it has.
const (
	Restart  Loss = "restart"
	Demotion Loss = "demotion"
)

// A Step is how far a planned switchover is.
type Step string

// The steps. Arming: the target renews its epoch, and catches up. Draining: the present
// holder stops its servers and marks the end. Repointing: the target has begun, and the
// servers of the other Regions follow it. Then it is Done, or has Failed, which can happen
// before the target has begun only.
const (
	Arming     Step = "arming"
	Draining   Step = "draining"
	Repointing Step = "repointing"
	Done       Step = "done"
	Failed     Step = "failed"
)

// A Handover is a planned switchover, the last one that there was.
type Handover struct {
	ID    uint64 `json:"id"` // of the command that planned it; zero: there was none
	From  string `json:"from,omitempty"`
	To    string `json:"to,omitempty"`
	Epoch uint64 `json:"epoch,omitempty"` // To's
	Step  Step   `json:"step,omitempty"`
	By    string `json:"by,omitempty"`
	Run   string `json:"run,omitempty"` // of the process of To's server, as heard last

	Planned time.Time `json:"planned,omitzero"`
	Armed   time.Time `json:"armed,omitzero"`
	Begun   time.Time `json:"begun,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	Why     string    `json:"why,omitempty"` // it failed
}

// Pending reports whether the target may begin and has not.
func (h Handover) Pending() bool { return h.Step == Arming || h.Step == Draining }

// A Watch is what the judge and the alarms must not forget.
type Watch struct {
	Judge  judge.State    `json:"judge"`
	Alarms alarm.Statuses `json:"alarms,omitempty"`
	// Away are the Regions that the judge wants users to leave.
	Away []string `json:"away,omitempty"`
}

// A Kind says what an Event is about.
type Kind string

// The kinds of events.
const (
	KindFounded    Kind = "founded"
	KindSetup      Kind = "setup"      // another roam.yaml, a Region more or less
	KindPromoted   Kind = "promoted"   // a Region became the primary
	KindDeposed    Kind = "deposed"    // one is to be it no more
	KindReleased   Kind = "released"   // one stopped by itself
	KindDetached   Kind = "detached"   // one may be taken out of what manages its server
	KindSwitchover Kind = "switchover" // a planned one goes on, has ended or failed
	KindReceipt    Kind = "receipt"    // one was opened, or is complete
	KindReadmitted Kind = "readmitted" // a Region may be promoted again
	KindMode       Kind = "mode"
	KindRouting    Kind = "routing"
	KindAlarm      Kind = "alarm"
	KindVerdict    Kind = "verdict" // the judge found something else than before
	KindNames      Kind = "names"   // what says outside of Roam where the writer is does, or can't
)

// An Event is something that happened.
type Event struct {
	Seq    uint64    `json:"seq"`
	At     time.Time `json:"at"`
	Kind   Kind      `json:"kind"`
	Region string    `json:"region,omitempty"` // whom it is about
	Other  string    `json:"other,omitempty"`  // of two
	Epoch  uint64    `json:"epoch,omitempty"`
	Text   string    `json:"text"`
}

// A Fate is what became of a write.
type Fate string

// The fates of writes that a primary took and its successor had not. Superseded: what it
// changed was changed later, or has ended.
const (
	Recovered  Fate = "recovered"
	Superseded Fate = "superseded"
	Lost       Fate = "lost"
	Unknown    Fate = "unknown"
)

// An Item is one write of a Receipt.
type Item struct {
	Session string    `json:"session"` // a hash, as logs have it
	Kind    string    `json:"kind"`
	At      time.Time `json:"at"`
	Fate    Fate      `json:"fate"`
}

// A Receipt tells what an unplanned failover cost: writes that were acknowledged and that
// the new primary did not have.
type Receipt struct {
	Epoch uint64    `json:"epoch"` // that ended
	From  string    `json:"from"`
	To    string    `json:"to"`
	At    time.Time `json:"at"`
	Why   string    `json:"why,omitempty"`
	// Lag is how far To was behind when it was chosen, in seconds, as members knew. What
	// was written in that time is unknown until From's server or node is back.
	Lag float64 `json:"lag"`
	// Fork is how far To's server had followed From's, as its engine says it; empty: not
	// known, so that all is compared.
	Fork string `json:"fork,omitempty"`

	Counts map[Fate]uint64 `json:"counts,omitempty"`
	Items  []Item          `json:"items,omitempty"`
	// Closed is when all that From had was looked at. Note says what could not be.
	Closed time.Time `json:"closed,omitzero"`
	Note   string    `json:"note,omitempty"`
}

// Idle reports whether nobody can hold a lease: the next grant need not wait.
func (s State) Idle() bool { return s.Lease.Released && !s.Handover.Pending() }

// Next returns the epoch below which nobody is to be given a member's word: the present
// one, or the next if that is over.
func (s State) Next() uint64 {
	if s.Lease.Released || s.Lease.Deposed {
		return s.Lease.Epoch + 1
	}
	return s.Lease.Epoch
}

// Has reports whether there is a Region of that name.
func (s State) Has(region string) bool { return slices.Contains(s.Setup.Regions, region) }

// Owes returns the receipt of what a Region took that its successor lacks, if its writes
// were not looked at yet. Its server must not be given other data before. Of several it
// is the oldest.
func (s State) Owes(region string) (Receipt, bool) {
	for _, r := range s.Receipts {
		if r.From == region && r.Closed.IsZero() {
			return r, true
		}
	}
	return Receipt{}, false
}

// Away returns the Regions that users should leave, in the order of the file: those whose
// control for users is off, and where there is none those that the judge says so of.
func (s State) Away() []string {
	var out []string
	for _, region := range s.Setup.Regions {
		away := slices.Contains(s.Watch.Away, region)
		for _, c := range s.Setup.Controls {
			if c.Region == region && !c.Writer {
				away = !s.Routing.On[c.Name]
			}
		}
		if away {
			out = append(out, region)
		}
	}
	return out
}

// Panel returns the routing controls and rules. They were checked when they came in.
func (s State) Panel() (routing.Panel, error) { return routing.New(s.Setup.Controls, s.Setup.Rules) }
