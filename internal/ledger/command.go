package ledger

import (
	"errors"
	"math"
	"time"

	"github.com/roam-sessions/roam/internal/judge/routing"
)

// The kinds of refusals. A refused command has changed nothing.
var (
	// ErrStale says that it was about an epoch that is over, or not that Region's.
	ErrStale = errors.New("the epoch is over")
	// ErrConflict says that something was agreed since whoever asks looked.
	ErrConflict = errors.New("something has changed meanwhile")
	// ErrBusy says that a planned switchover is under way.
	ErrBusy = errors.New("a switchover is under way")
	// ErrInvalid says that it makes no sense.
	ErrInvalid = errors.New("it makes no sense")
)

// A Command is one change. One of its pointers is set.
type Command struct {
	// At is the time by the clock of whoever proposes it.
	At time.Time `json:"at"`

	Describe *Describe `json:"describe,omitempty"`
	Join     *Join     `json:"join,omitempty"`
	Renew    *Renew    `json:"renew,omitempty"`
	Release  *Release  `json:"release,omitempty"`
	Depose   *Depose   `json:"depose,omitempty"`
	Detach   *Detach   `json:"detach,omitempty"`
	Grant    *Grant    `json:"grant,omitempty"`
	Plan     *Plan     `json:"plan,omitempty"`
	Advance  *Advance  `json:"advance,omitempty"`
	Fork     *Fork     `json:"fork,omitempty"`
	Salvage  *Salvage  `json:"salvage,omitempty"`
	Readmit  *Readmit  `json:"readmit,omitempty"`
	Steer    *Steer    `json:"steer,omitempty"`
	Route    *Route    `json:"route,omitempty"`
	Watched  *Watched  `json:"watched,omitempty"`
}

// A Describe says what the deployment is from now on. The first one founds it.
type Describe struct {
	// Setup's Version is one more than the present one, or the command is refused.
	Setup Setup `json:"setup"`
	// Epoch is the first one of a deployment that is founded: above all that its servers
	// have ever heard of. At least 1.
	Epoch uint64 `json:"epoch,omitempty"`
	By    string `json:"by,omitempty"`
}

// A Join says that a member takes part, under a number.
type Join struct {
	Member string `json:"member"`
	ID     uint64 `json:"id"`
}

// A Renew renews an epoch: the present one for its holder, or for the target of a planned
// switchover the one that is reserved.
type Renew struct {
	Epoch  uint64 `json:"epoch"`
	Region string `json:"region"`
	// Run is that of the process of the Region's server. The first one of an epoch counts; the
	// last one before it has begun.
	Run string `json:"run,omitempty"`
}

// A Release says that the holder's servers have stopped, for good.
type Release struct {
	Epoch  uint64 `json:"epoch"`
	Region string `json:"region"`
	Why    string `json:"why,omitempty"`
	Loss   Loss   `json:"loss,omitempty"`
}

// A Depose has an epoch not be renewed any more, so that it ends. Asked again it names
// another successor.
type Depose struct {
	Epoch uint64  `json:"epoch"`
	Wish  string  `json:"wish"` // who is to have the next
	Why   string  `json:"why,omitempty"`
	Lag   float64 `json:"lag,omitempty"` // of Wish, in seconds
	// Detach is an operator's word that Wish may have its server be taken out of what
	// manages it, if it is promoted in no other way. The data part then.
	Detach bool `json:"detach,omitempty"`
}

// A Detach says of the present holder what Depose.Detach says of the next.
type Detach struct {
	Epoch  uint64 `json:"epoch"`
	Region string `json:"region"`
	By     string `json:"by,omitempty"`
}

// A Grant gives a Region the next epoch. It is refused with ErrConflict if the newest
// epoch or the count of renewals is another than its proposer saw when nobody could hold a
// lease any more.
type Grant struct {
	Newest   uint64  `json:"newest"`
	Renewals uint64  `json:"renewals"`
	To       string  `json:"to"`
	Why      string  `json:"why,omitempty"`
	Lag      float64 `json:"lag,omitempty"` // of To, in seconds
	Loss     Loss    `json:"loss,omitempty"`
}

// A Plan begins a planned switchover.
type Plan struct {
	To string `json:"to"`
	By string `json:"by,omitempty"`
}

// An Advance takes the planned switchover of an epoch to its next Step: Draining, when the
// target is armed; Repointing, when it has begun; Done; or Failed, while it is Arming.
type Advance struct {
	Epoch uint64 `json:"epoch"`
	Step  Step   `json:"step"`
	Why   string `json:"why,omitempty"`
}

// A Fork says how far the new primary's server had followed the old one's, for the receipt
// of an epoch. The first word counts.
type Fork struct {
	Epoch uint64 `json:"epoch"`
	At    string `json:"at"`
}

// A Salvage adds to the receipt of an epoch.
type Salvage struct {
	Epoch  uint64          `json:"epoch"`
	Counts map[Fate]uint64 `json:"counts,omitempty"` // in all, so far
	Items  []Item          `json:"items,omitempty"`  // in all, so far; what is beyond MaxItems is left out
	Closed bool            `json:"closed,omitempty"`
	Note   string          `json:"note,omitempty"`
}

// A Readmit lets a Region be promoted again that has lost the lease.
type Readmit struct {
	Region string `json:"region"`
	By     string `json:"by,omitempty"`
}

// A Steer says what the judge may do: automatic, advise or off.
type Steer struct {
	Mode string `json:"mode"`
	By   string `json:"by,omitempty"`
}

// A Route changes routing controls. The lease's holder is filled in.
type Route struct {
	Changes  []routing.Change `json:"changes"`
	Override []string         `json:"override,omitempty"`
	By       string           `json:"by,omitempty"`
}

// Note returns a command that has events be told, and changes nothing else.
func Note(events ...Event) Command {
	return Command{Watched: &Watched{Epoch: noEpoch, Events: events}}
}

// noEpoch is none that there ever is: what comes with it is not kept.
const noEpoch = math.MaxUint64

// A Watched tells what the judge and the alarms found, and keeps what they must not forget:
// of another epoch than the present one, or by somebody who had not heard of the last
// Readmit, that is passed over.
type Watched struct {
	Epoch    uint64  `json:"epoch"`
	Readmits uint64  `json:"readmits,omitempty"`
	Watch    Watch   `json:"watch"`
	Events   []Event `json:"events,omitempty"` // numbered when they are taken
}
