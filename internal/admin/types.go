package admin

import (
	"time"

	"github.com/roam-sessions/roam/internal/events"
	"github.com/roam-sessions/roam/internal/ledger"
)

// A Status is what a member knows, and when it looked.
type Status struct {
	Deployment string    `json:"deployment"`
	At         time.Time `json:"at"`
	Self       string    `json:"self"`             // the member that was asked
	Leader     string    `json:"leader,omitempty"` // left out: nobody that is known
	Index      uint64    `json:"index"`            // of what is agreed: ask with ?after= for a later one
	Topology   uint64    `json:"topology"`         // the version of roam.yaml; zero: nobody has founded the deployment
	Mode       string    `json:"mode,omitempty"`   // what the judge may do; left out: what roam.yaml says
	Lease      *Lease    `json:"lease,omitempty"`  // left out: all Regions take writes
	Handover   *Handover `json:"handover,omitempty"`
	Regions    []Region  `json:"regions"`
	Members    []Seen    `json:"members"`
	Alarms     []Alarm   `json:"alarms"`
	Verdict    *Verdict  `json:"verdict,omitempty"` // the judge's last; the member that leads knows it
	Controls   []Control `json:"controls"`
	Receipts   []Receipt `json:"receipts"` // those that are open, without items
	// Names are what is kept outside of Roam to say where the writer is, by each Region whose
	// node was heard a moment ago; left out: the file names nothing of that kind.
	Names []Name `json:"names,omitempty"`
}

// A Name is how one thing fares that says outside of Roam where the writer is.
type Name struct {
	Region string `json:"region"` // whose node keeps it
	Kind   string `json:"kind"`   // rfc2136, route53, arc, metric
	Name   string `json:"name"`
	// State is published, pending (it is being made so, and is tried again), refused
	// (somebody has to look) or idle (another Region's node keeps it, or nobody may).
	State  string    `json:"state"`
	Epoch  uint64    `json:"epoch,omitempty"`  // that it is to be of
	Target string    `json:"target,omitempty"` // where it is to lead
	Since  time.Time `json:"since,omitzero"`   // when that state began
	Why    string    `json:"why,omitempty"`
	Next   string    `json:"next,omitempty"` // what somebody does about it
}

// A Lease says which Region takes all writes.
type Lease struct {
	Epoch     uint64    `json:"epoch"`
	Holder    string    `json:"holder"`
	Since     time.Time `json:"since"`
	From      string    `json:"from,omitempty"` // who had it before
	Unplanned bool      `json:"unplanned"`      // it was a failover
	Why       string    `json:"why,omitempty"`
	Renewals  uint64    `json:"renewals"`
	Released  bool      `json:"released"`       // its servers have stopped for good
	Deposed   bool      `json:"deposed"`        // it is not renewed any more
	Wish      string    `json:"wish,omitempty"` // who is to have the next
	// Held is the epoch whose lease the server of the member that was asked may have.
	Held uint64 `json:"held,omitempty"`
}

// A Handover is the last planned switchover.
type Handover struct {
	ID      uint64    `json:"id"`
	From    string    `json:"from"`
	To      string    `json:"to"`
	Epoch   uint64    `json:"epoch"`
	Step    string    `json:"step"` // arming, draining, repointing, done, failed
	By      string    `json:"by,omitempty"`
	Planned time.Time `json:"planned"`
	Armed   time.Time `json:"armed,omitzero"`
	Begun   time.Time `json:"begun,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	Why     string    `json:"why,omitempty"` // it failed
}

// Over reports whether nothing of it is left to be done.
func (h Handover) Over() bool {
	return h.Step == string(ledger.Done) || h.Step == string(ledger.Failed)
}

// A Region is what is known of one.
type Region struct {
	Name   string `json:"name"`
	Role   string `json:"role"`   // primary, secondary; peer where all take writes
	Heard  bool   `json:"heard"`  // by the member that was asked, a moment ago
	Engine bool   `json:"engine"` // its server answers its node
	// Primary is what its server says of itself; Follows, the Region whose server it
	// follows, and Linked that it hears that one.
	Primary bool     `json:"primary"`
	Follows string   `json:"follows,omitempty"`
	Linked  bool     `json:"linked"`
	LagMS   *float64 `json:"lag_ms,omitempty"` // behind the primary; left out: not known
	// DegradedShare is the share of its answers, 0 to 1, that were not normal, as
	// applications report; left out: too few were reported of late.
	DegradedShare *float64 `json:"degraded_share,omitempty"`
	Away          bool     `json:"away"` // users should leave it
	// Candidate: it may be promoted by itself. One that has lost the lease may not, until
	// it is readmitted.
	Candidate bool   `json:"candidate"`
	Owes      uint64 `json:"owes,omitempty"` // an epoch in which it took what was not taken in yet
	// Service is what whoever manages its server says, for people; left out: its node does.
	Service string `json:"service,omitempty"`
}

// A Seen is what is known of a member of the control plane.
type Seen struct {
	Name    string    `json:"name"`
	ID      uint64    `json:"id"`
	Witness bool      `json:"witness"`
	Self    bool      `json:"self"`
	Leads   bool      `json:"leads"`
	Heard   time.Time `json:"heard,omitzero"` // when its last report came
	Hears   []string  `json:"hears"`          // the links into it that worked then
	Version string    `json:"version,omitempty"`
	SkewMS  float64   `json:"skew_ms"` // its clock is so far ahead, or its words took so long
}

// An Alarm is one and its state.
type Alarm struct {
	Name   string    `json:"name"`
	State  string    `json:"state"` // OK, ALARM, INSUFFICIENT_DATA
	Since  time.Time `json:"since,omitzero"`
	Reason string    `json:"reason,omitempty"`
}

// A Verdict is what the judge found.
type Verdict struct {
	At       time.Time `json:"at"`
	Epoch    uint64    `json:"epoch"`
	Ruled    bool      `json:"ruled"` // false: nothing is to change, and Held says why
	Kind     string    `json:"kind"`
	Findings []Finding `json:"findings"`
	Held     []Finding `json:"held"`
}

// A Finding is one thing to do, or to know.
type Finding struct {
	Kind   string  `json:"kind"`
	From   string  `json:"from,omitempty"`
	To     string  `json:"to,omitempty"`
	Act    bool    `json:"act"` // it is carried out
	Rule   string  `json:"rule"`
	Reason string  `json:"reason"`
	LagMS  float64 `json:"lag_ms,omitempty"`
}

// A Check is one thing that was looked at before something is begun.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Next   string `json:"next,omitempty"`
}

// A Move asks for a switchover, or a failover.
type Move struct {
	To     string `json:"to"`
	DryRun bool   `json:"dry_run,omitempty"` // the checks alone
	// Force: a failover in spite of checks that fail. Not those without which it can't be.
	Force bool `json:"force,omitempty"`
	// Detach: a failover for which the Region's server may be taken out of the Global Datastore,
	// or what else manages it, if it is promoted in no other way. It needs Force, and may be
	// asked for of the Region that holds the lease already.
	Detach bool   `json:"detach,omitempty"`
	By     string `json:"by,omitempty"` // who asks, beside the name of the token
}

// A Moving is what became of a Move.
type Moving struct {
	OK     bool    `json:"ok"` // all checks are well
	Checks []Check `json:"checks"`
	Begun  bool    `json:"begun"`           // else it was a dry run
	ID     uint64  `json:"id,omitempty"`    // the status tells of the handover with this id
	Epoch  uint64  `json:"epoch,omitempty"` // the one that is to be; of a failover it is at least this
}

// A Mode asks that the judge may do more, or less.
type Mode struct {
	Mode string `json:"mode"` // automatic, advise, off
	By   string `json:"by,omitempty"`
}

// A By says who asks, beside the name of the token.
type By struct {
	By string `json:"by,omitempty"`
}

// A Done is the index of what was agreed. A status with at least that index shows it.
type Done struct {
	Index uint64 `json:"index"`
}

// A Receipt is what an unplanned failover cost.
type Receipt struct {
	Epoch  uint64            `json:"epoch"` // that ended
	From   string            `json:"from"`
	To     string            `json:"to"`
	At     time.Time         `json:"at"`
	Why    string            `json:"why,omitempty"`
	LagMS  float64           `json:"lag_ms"`          // how far To was behind: that much is at stake
	Counts map[string]uint64 `json:"counts"`          // by fate: recovered, superseded, lost, unknown
	Closed time.Time         `json:"closed,omitzero"` // left out: it is open, and figures may change
	Note   string            `json:"note,omitempty"`
}

// Receipts are all that are kept, the oldest first.
type Receipts struct {
	Receipts []Receipt `json:"receipts"`
}

// A Detailed is a Receipt with some of its items.
type Detailed struct {
	Receipt Receipt `json:"receipt"`
	Items   []Item  `json:"items"`
	Total   int     `json:"total"` // items that are kept; counts may be higher
	Offset  int     `json:"offset"`
}

// An Item is one write of a Receipt.
type Item struct {
	Session string    `json:"session"` // a hash, as logs have it
	Kind    string    `json:"kind"`
	At      time.Time `json:"at"`
	Fate    string    `json:"fate"`
}

// A Line is one of the whole list of a receipt. The first has a Head, the last an End, and
// each between them an Item: without its End a list was cut short.
type Line struct {
	Head *ListHead `json:"head,omitempty"`
	Item *Item     `json:"item,omitempty"`
	End  *ListEnd  `json:"end,omitempty"`
}

// A ListHead says what a list has.
type ListHead struct {
	Receipt Receipt           `json:"receipt"`
	Counts  map[string]uint64 `json:"counts"` // by fate; of an open receipt they may be newer than its own
	Named   uint64            `json:"named"`  // items that follow
	More    uint64            `json:"more"`   // that were only counted: there were too many
}

// A ListEnd says that this was all.
type ListEnd struct {
	Named uint64 `json:"named"`
}

// Events are some of the newest.
type Events struct {
	Events []events.Message `json:"events"`
	Newest uint64           `json:"newest"`           // the number of the last event there is
	Missed uint64           `json:"missed,omitempty"` // how many after the one asked for are gone
}

// A Control is one routing control.
type Control struct {
	Name    string    `json:"name"`
	Region  string    `json:"region"`
	Writer  bool      `json:"writer"` // it says where writes go
	On      bool      `json:"on"`
	Changed time.Time `json:"changed,omitzero"`
}

// A Rule is one safety rule.
type Rule struct {
	Name      string   `json:"name"`
	Controls  []string `json:"controls"`
	Gates     []string `json:"gates,omitempty"`
	Type      string   `json:"type"` // ATLEAST, AND, OR
	Threshold int      `json:"threshold,omitempty"`
	Inverted  bool     `json:"inverted"`
	WaitMS    int64    `json:"wait_ms"`
}

// Controls are all routing controls and rules.
type Controls struct {
	Index    uint64    `json:"index"`
	Controls []Control `json:"controls"`
	Rules    []Rule    `json:"rules"`
}

// A Change turns one control on or off.
type Change struct {
	Control string `json:"control"`
	On      bool   `json:"on"`
}

// Changes are made all, or none.
type Changes struct {
	Changes  []Change `json:"changes"`
	Override []string `json:"override,omitempty"` // safety rules that are not asked
	By       string   `json:"by,omitempty"`
}

// A Topology is what came of a new roam.yaml.
type Topology struct {
	Version uint64   `json:"version"` // of a dry run: the one that it would have
	Regions []string `json:"regions"`
	Added   []string `json:"added"`
	Removed []string `json:"removed"`
	DryRun  bool     `json:"dry_run"`
}

// A Webhook is how one fares.
type Webhook struct {
	Name      string    `json:"name"`
	Told      uint64    `json:"told"` // the last event that it was told of, or did not want
	Delivered uint64    `json:"delivered"`
	Tries     uint64    `json:"tries"`
	Dropped   uint64    `json:"dropped"`
	Status    int       `json:"status,omitempty"` // of its last answer
	Error     string    `json:"error,omitempty"`  // of the last try
	At        time.Time `json:"at,omitzero"`      // of the last try
}

// Webhooks are all of this member. The one that leads delivers.
type Webhooks struct {
	Webhooks []Webhook `json:"webhooks"`
}

// A Tested is what became of a test.
type Tested struct {
	OK     bool    `json:"ok"`
	Status int     `json:"status,omitempty"`
	TookMS float64 `json:"took_ms"`
	Error  string  `json:"error,omitempty"`
}

// A Taken says that a report was taken in.
type Taken struct {
	OK bool `json:"ok"`
}

// A Health says that this process answers, and nothing else.
type Health struct {
	OK bool `json:"ok"`
}
