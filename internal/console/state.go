package console

// A State is a snapshot of a deployment. Counters begin at 0 when the
// deployment starts and grow until it ends. It is plain data: whoever got one
// must not change what its slices and pointers lead to.
type State struct {
	Topology       string `json:"topology"`          // ActiveActive or ActivePassive
	Primary        string `json:"primary,omitempty"` // the Region that takes writes; empty when active-active
	ReadAfterWrite string `json:"readAfterWrite"`    // token, primary, retry or accept
	UptimeMs       int64  `json:"uptimeMs"`          // since the deployment started, or started anew with another topology
	Shop           string `json:"shop,omitempty"`    // URL of the shop in the nearest Region
	// LastEvent is the Seq of the newest event. It is never behind what
	// Source.Events has returned.
	LastEvent uint64   `json:"lastEvent"`
	Regions   []Region `json:"regions"` // always in the same order
	Links     []Link   `json:"links"`   // one each way between any two Regions, always in the same order
	Totals    Totals   `json:"totals"`
	Control   *Control `json:"control"` // null where there is no control plane
}

// The topologies.
const (
	// ActiveActive: every Region takes writes.
	ActiveActive = "active-active"
	// ActivePassive: one Region takes writes, the others have copies.
	ActivePassive = "active-passive"
)

// A Region is one Region's part of a State. What a dead Region cannot be asked
// for is as it was when it died.
type Region struct {
	Name       string `json:"name"`
	ID         uint8  `json:"id"` // 1 to 15
	Alive      bool   `json:"alive"`
	Primary    bool   `json:"primary"`        // takes writes
	Shop       string `json:"shop,omitempty"` // URL of the shop in this Region
	Records    int64  `json:"records"`        // sessions and users, those that ended and are remembered too
	Bytes      int64  `json:"bytes"`          // of the records
	LogEntries int64  `json:"logEntries"`     // kept for peers that may ask for them

	Requests        uint64  `json:"requests"`        // that the shop here has served
	ReadsLocal      uint64  `json:"readsLocal"`      // answered by this Region's engine
	ReadsRemote     uint64  `json:"readsRemote"`     // for which another Region was asked
	Writes          uint64  `json:"writes"`          // by requests served here, wherever they went
	WritesPerSecond float64 `json:"writesPerSecond"` // over the last few seconds
	Rungs           Rungs   `json:"rungs"`

	// Of recent writes by requests served here, the waits for other Regions
	// included. Null when there were none.
	WriteP50Ms *float64 `json:"writeP50Ms"`
	WriteP99Ms *float64 `json:"writeP99Ms"`

	PendingRevocations int      `json:"pendingRevocations"` // logouts from here that some Region has not heard of
	OpenBreakers       []string `json:"openBreakers"`       // Regions that this one does not ask for now, as they did not answer
}

// Rungs counts answers by how good they were.
type Rungs struct {
	Normal    uint64 `json:"normal"`
	Stale     uint64 `json:"stale"`
	LocalOnly uint64 `json:"localOnly"`
	Sealed    uint64 `json:"sealed"`
	Refused   uint64 `json:"refused"`
}

// A Link is one direction between two Regions.
type Link struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Calls is the fate of what From asks of To: writes and remote reads. An
	// answer comes back by the opposite direction.
	Calls Plane `json:"calls"`
	// Replication is the fate of the stream that carries From's log to To. Its
	// acknowledgements come back by the opposite direction.
	Replication Plane `json:"replication"`

	Connected bool `json:"connected"` // whether the replication stream stands
	// LagMs is how old, at most, what To has of From is: 0 when it is known to
	// have all, null when nobody knows, as before the first contact.
	LagMs        *float64 `json:"lagMs"`
	LagEntries   uint64   `json:"lagEntries"`   // of From's log that To is not known to have
	UnackedBytes int64    `json:"unackedBytes"` // sent and not acknowledged
	HeardMs      *float64 `json:"heardMs"`      // since To last heard From on this stream; null for never
	SentEntries  uint64   `json:"sentEntries"`
	Resyncs      uint64   `json:"resyncs"` // times that To was sent whole records, as the log no longer reached back
	Pulls        uint64   `json:"pulls"`   // records that To asked for, as it had found a gap
	LastError    string   `json:"lastError,omitempty"`
}

// A Plane is what happens to one kind of traffic on a link.
type Plane struct {
	DelayMs  float64 `json:"delayMs"`  // one way
	JitterMs float64 `json:"jitterMs"` // at most this much on top of DelayMs
	Loss     float64 `json:"loss"`     // share of messages that are lost, 0 to 1
	Cut      bool    `json:"cut"`      // nothing passes, and nobody is told
	Changed  bool    `json:"changed"`  // whether anything above differs from how the deployment began
}

// Totals are sums over all Regions.
type Totals struct {
	Requests           uint64  `json:"requests"`
	ReadsLocal         uint64  `json:"readsLocal"`
	ReadsRemote        uint64  `json:"readsRemote"`
	Writes             uint64  `json:"writes"`
	WritesPerSecond    float64 `json:"writesPerSecond"`
	Rungs              Rungs   `json:"rungs"`
	PendingRevocations int     `json:"pendingRevocations"`
}

// Sum returns the totals of regions, for State.Totals.
func Sum(regions []Region) Totals {
	var t Totals
	for _, r := range regions {
		t.Requests += r.Requests
		t.ReadsLocal += r.ReadsLocal
		t.ReadsRemote += r.ReadsRemote
		t.Writes += r.Writes
		t.WritesPerSecond += r.WritesPerSecond
		t.Rungs.Normal += r.Rungs.Normal
		t.Rungs.Stale += r.Rungs.Stale
		t.Rungs.LocalOnly += r.Rungs.LocalOnly
		t.Rungs.Sealed += r.Rungs.Sealed
		t.Rungs.Refused += r.Rungs.Refused
		t.PendingRevocations += r.PendingRevocations
	}
	return t
}

// An Event is something that happened. It names sessions and users by
// fingerprints alone.
type Event struct {
	Seq    uint64 `json:"seq"`  // 1 for the first; each event has one more than the one before
	At     string `json:"at"`   // RFC 3339, UTC
	Kind   string `json:"kind"` // one of the Kind constants; a page shows others too
	Region string `json:"region,omitempty"`
	Text   string `json:"text"`           // one plain sentence
	Rung   string `json:"rung,omitempty"` // how good the answer was, where there was one
}

// Kinds of events.
const (
	KindLogin    = "login"
	KindLogout   = "logout"
	KindRevoke   = "revoke" // every session of a user
	KindWrite    = "write"
	KindLink     = "link"      // one came up, broke or was changed by hand
	KindRegion   = "region"    // one died or came back
	KindTakeBack = "take-back" // what was kept elsewhere was merged
	KindLost     = "lost"      // a write that was acknowledged and is nowhere
	KindRung     = "rung"      // answers got better or worse
	KindTopology = "topology"
	KindControl  = "control" // members of the control plane agreed on something
)
