package judge

import (
	"slices"
	"time"

	"github.com/roam-sessions/roam/internal/judge/alarm"
)

// A Sight is what a member knows of something. The zero is that it knows nothing.
type Sight uint8

// What a member may know.
const (
	Unseen Sight = iota
	Up
	Down
)

// Observations are all that a verdict comes from, the state left out.
type Observations struct {
	Lease   Lease
	Reports []Report // of members; of several by one the newest counts
	// Alarms are those that feed the judge, from alarm.Set.Raised.
	Alarms []alarm.Raised
}

// A Lease says which Region is the primary, as members have agreed.
type Lease struct {
	Holder string // empty: all Regions take writes, and there is nothing to fail over
	Epoch  uint64 // of the lease: higher for each new holder
	Since  time.Time
	// From is the holder before; empty: there was none, or it is not known. Unplanned: it was
	// lost, and did not hand the lease over.
	From      string
	Unplanned bool
}

// A Report is what one member saw in one period.
type Report struct {
	Member string
	At     time.Time // when it came, by the clock that Judge is given
	Views  []View
	Writes []Writes // of its own Region's servers; a witness has none
}

// A View is what a member sees of a Region, its own included.
type View struct {
	Region string
	// In: what the Region's node sends comes here. Down: nothing has, for a period.
	In Sight
	// Out: what is sent from here comes there. Only the Region's node can know, so Up
	// and Down are what it last said, and Unseen is that it said nothing: a member
	// that hears nothing can't tell which direction is dead.
	Out Sight
	// Engine: the Region's engine does its work, as its node says.
	Engine Sight
	// Beat is the last heartbeat of the primary that the Region's engine has. Only
	// what a member says of its own Region counts as that Region's; of all it is
	// taken what the primary has written.
	Beat Beat
	// Clock is how far the clock of the Region's server is ahead of the member's; nil:
	// it could not be asked.
	Clock *time.Duration
}

// A Beat is a replication heartbeat: the primary writes one each 100 ms or so, and
// what a secondary has of them says how far behind it is.
type Beat struct {
	Epoch uint64    // of the lease it was written under
	N     uint64    // counts up within the epoch
	At    time.Time // by the clock of the primary's server
}

// after reports whether b is a later heartbeat than other.
func (b Beat) after(other Beat) bool {
	return b.Epoch > other.Epoch || b.Epoch == other.Epoch && b.N > other.N
}

// Writes are how the writes of one Region's servers to another Region, or to their
// own, went in a period.
type Writes struct {
	To     string
	Count  int
	Failed int // of Count
	P99    time.Duration
}

// share returns how many of the writes failed, 0 to 1.
func (w Writes) share() float64 { return float64(w.Failed) / float64(w.Count) }

// view returns what the report says of a Region.
func (r Report) view(region string) View {
	for _, v := range r.Views {
		if v.Region == region {
			return v
		}
	}
	return View{}
}

// writes returns the writes to a Region if there are enough of them.
func (r Report) writes(to string, atLeast int) (Writes, bool) {
	i := slices.IndexFunc(r.Writes, func(w Writes) bool { return w.To == to })
	if i < 0 || r.Writes[i].Count < atLeast {
		return Writes{}, false
	}
	return r.Writes[i], true
}
