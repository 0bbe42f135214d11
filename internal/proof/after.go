package proof

import "github.com/roam-sessions/roam/crdt"

// An Ending is how a request ends: what its browser is to know.
type Ending struct {
	Brought Seen        // with the request
	Seen    Seen        // by its end
	Set     *Credential // that the request made; nil for none
	Ended   bool        // the request ended its session
	Spent   SlotSet     // sealed cookies that are worth nothing any more
	Sealing *Sealing    // what the session was sealed into; nil if it was not
}

// Cookies are what an answer does to its browser's cookies.
type Cookies struct {
	Credential      *Credential // to set; nil: leave it
	ClearCredential bool
	Seen            *Seen    // to set; nil: leave it
	Sealing         *Sealing // to set; nil: none
	ClearSealed     SlotSet
}

// After says which cookies go out: the credential only where the request made it
// or ended its session (DESIGN R9), the token whenever it has changed, a sealed
// one where nobody could take the write. Of the sealed ones only those are
// cleared that came with the request: another may be newer.
//
// Path write 5/5: the answer carries what its browser has now seen.
func After(e Ending, now crdt.Time) Cookies {
	out := Cookies{Credential: e.Set, ClearCredential: e.Set == nil && e.Ended, ClearSealed: e.Spent}
	if e.Sealing != nil && !e.Ended {
		out.Sealing, out.ClearSealed = e.Sealing, e.Spent.without(e.Sealing.Slot)
	}
	seen := e.Seen
	if at := seen.Epochs.Max(); at > 0 && now.Sub(at.Time()) > knowsFor {
		seen.User, seen.Epochs = crdt.Key{}, nil
	}
	if !seen.IsZero() && !seen.Equal(e.Brought) {
		out.Seen = &seen
	}
	return out
}
