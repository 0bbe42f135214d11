package history

import (
	"cmp"
	"fmt"
	"strings"
)

// A Kind says what a request was.
type Kind string

const (
	// Write wrote Field.
	Write Kind = "write"
	// Read showed the session, with Shows of its fields.
	Read Kind = "read"
	// Login logged User in; authentication began at Began.
	Login Kind = "login"
	// End destroyed the session; Have says which Regions had it when the answer came.
	End Kind = "end"
	// Revoke ended all sessions of User, as End does one.
	Revoke Kind = "revoke"
	// Converged is no request: the recorder knows that whatever was acknowledged
	// before Start was in every Region by End.
	Converged Kind = "converged"
)

// An Order is where a write stands among those to its field: the stamp and the
// actor of the field's dot. The zero Order is not known.
type Order struct {
	Stamp uint64 `json:"stamp"`
	Actor uint32 `json:"actor"`
}

// Compare is negative if o is before p, positive if it is after, by stamp and then
// by actor.
func (o Order) Compare(p Order) int {
	return cmp.Or(cmp.Compare(o.Stamp, p.Stamp), cmp.Compare(o.Actor, p.Actor))
}

// IsZero reports whether o is not known.
func (o Order) IsZero() bool { return o == Order{} }

// A Shown is what a read said of one field.
type Shown struct {
	Field string `json:"field"`
	Value string `json:"value,omitempty"`
	// Absent: there was no such field.
	Absent bool `json:"absent,omitempty"`
}

// An Event is one request of one client, and its answer. Which fields count
// depends on Kind; the others are zero.
type Event struct {
	// Client is who sent it: one cookie jar.
	Client string `json:"client,omitempty"`
	// Session is which session it was about.
	Session string `json:"session,omitempty"`
	// User is who logged in or whose sessions were revoked.
	User string `json:"user,omitempty"`
	// Region is the number of the Region that answered.
	Region uint8 `json:"region,omitempty"`
	Kind   Kind  `json:"kind"`
	// Start is when the request was sent and End when its answer was there, in
	// nanoseconds of one clock that all clients share. What has not come has the
	// End at which it was given up, and is Ambiguous.
	Start int64 `json:"start"`
	End   int64 `json:"end"`
	// Began is when the authentication of a Login began.
	Began int64 `json:"began,omitempty"`

	// Field and Value are what a Write wrote. No two writes of a session have one
	// value. Gone: it deleted the field.
	Field string `json:"field,omitempty"`
	Value string `json:"value,omitempty"`
	Gone  bool   `json:"gone,omitempty"`
	// Order is the place of a Write, if the recorder knows it.
	Order Order `json:"order,omitzero"`

	// Live: a Read was shown the session. Shows has the fields that it looked at.
	Live  bool    `json:"live,omitempty"`
	Shows []Shown `json:"shows,omitempty"`

	// Have are the Regions that had an ending when it was acknowledged: bit n is
	// Region n.
	Have uint16 `json:"have,omitempty"`

	// Stale and Lost are what the answer said of itself: that it may lack
	// something the client has seen, or that something is gone for good.
	Stale bool `json:"stale,omitempty"`
	Lost  bool `json:"lost,omitempty"`
	// Refused: nothing was done, and the client was told so.
	Refused bool `json:"refused,omitempty"`
	// Ambiguous: nobody knows whether it was done.
	Ambiguous bool `json:"ambiguous,omitempty"`
}

// String returns the event as a violation prints it.
func (e Event) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[%d–%d] client %s, session %s, Region %d: %s", e.Start, e.End, e.Client, e.Session, e.Region, e.Kind)
	switch e.Kind {
	case Write:
		fmt.Fprintf(&b, " %s=%q at %d/%d", e.Field, e.Value, e.Order.Stamp, e.Order.Actor)
		if e.Gone {
			b.WriteString(" (deleted)")
		}
	case Read:
		fmt.Fprintf(&b, " live %v", e.Live)
		for _, f := range e.Shows {
			if f.Absent {
				fmt.Fprintf(&b, " no %s", f.Field)
				continue
			}
			fmt.Fprintf(&b, " %s=%q", f.Field, f.Value)
		}
	case Login:
		fmt.Fprintf(&b, " of %s, begun at %d", e.User, e.Began)
	case Revoke:
		b.WriteString(" of " + e.User)
	}
	for _, f := range []struct {
		on   bool
		name string
	}{{e.Stale, "stale"}, {e.Lost, "lost"}, {e.Refused, "refused"}, {e.Ambiguous, "ambiguous"}} {
		if f.on {
			b.WriteString(", " + f.name)
		}
	}
	return b.String()
}

// done reports whether e is known to have been done.
func (e *Event) done() bool { return !e.Refused && !e.Ambiguous }
