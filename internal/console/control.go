package console

// A Control is what the control plane knows and does, as the Regions' members know it that
// can be asked. It is null where there is none.
type Control struct {
	Leader string `json:"leader"` // the Region whose member leads the quorum; empty for nobody
	Epoch  uint64 `json:"epoch"`  // of the lease
	Holder string `json:"holder"` // the Region that may have it
	Since  string `json:"since"`  // RFC 3339, UTC
	Held   bool   `json:"held"`   // the holder's server has it, as far as its node knows
	// LastsMs is how long the lease lasts unless it is renewed, by the last renewal that
	// was agreed; 0 when it should be over.
	LastsMs  int64     `json:"lastsMs"`
	Ending   string    `json:"ending,omitempty"` // why it is not renewed any more
	Handover *Handover `json:"handover"`         // the last planned switchover; null when there was none
	Name     string    `json:"name"`             // that leads to the writer
	Names    []Name    `json:"names"`            // what each Region's name server says of it
	Left     []string  `json:"left"`             // Regions that lost the lease, and are not promoted before they are readmitted
	Receipts []Receipt `json:"receipts"`         // the last ones, the newest first
	Notes    []Note    `json:"notes"`            // the last events, the newest first
}

// A Handover is a planned switchover.
type Handover struct {
	From  string `json:"from"`
	To    string `json:"to"`
	Epoch uint64 `json:"epoch"`
	Step  string `json:"step"` // arming, draining, repointing, done or failed
	Why   string `json:"why,omitempty"`
	// How long after it was planned each step was over; null for one that is not.
	ArmedMs *float64 `json:"armedMs"` // the target renews and has caught up
	BegunMs *float64 `json:"begunMs"` // the target takes the writes
	EndedMs *float64 `json:"endedMs"` // the others follow it, or it has failed
}

// A Name is what one Region's name server said, asked by UDP.
type Name struct {
	Region  string `json:"region"`
	Writer  string `json:"writer,omitempty"` // the Region that the name leads to
	TTLMs   int64  `json:"ttlMs"`
	Problem string `json:"problem,omitempty"` // why there is no answer
}

// A Receipt tells what a failover cost: writes that one Region took and the next primary did
// not have.
type Receipt struct {
	Epoch  uint64            `json:"epoch"` // that ended
	From   string            `json:"from"`
	To     string            `json:"to"`
	At     string            `json:"at"`   // RFC 3339, UTC
	Open   bool              `json:"open"` // not all that From had was looked at
	Counts map[string]uint64 `json:"counts"`
	Note   string            `json:"note,omitempty"`
}

// A Note is an event of the control plane.
type Note struct {
	Seq    uint64 `json:"seq"`
	At     string `json:"at"` // RFC 3339, UTC
	Kind   string `json:"kind"`
	Region string `json:"region,omitempty"`
	Text   string `json:"text"`
}
