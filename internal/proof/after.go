package proof

import "github.com/roam-sessions/roam/crdt"

// An Ending is how a request ends: what its browser is to know.
type Ending struct {
	Brought Seen        // with the request
	Seen    Seen        // by its end
	Set     *Credential // that the request made; nil for none
	Ended   bool        // the request ended its session
}

// Cookies are what an answer does to its browser's cookies.
type Cookies struct {
	Credential      *Credential // to set; nil: leave it
	ClearCredential bool
	Seen            *Seen // to set; nil: leave it
}

// After says which cookies go out: the credential only where the request made it
// or ended its session (DESIGN R9), and the token whenever it has changed.
//
// Path write 5/5: the answer carries what its browser has now seen.
func After(e Ending, now crdt.Time) Cookies {
	out := Cookies{Credential: e.Set, ClearCredential: e.Set == nil && e.Ended}
	seen := e.Seen
	if at := seen.Epochs.Max(); at > 0 && now.Sub(at.Time()) > knowsFor {
		seen.User, seen.Epochs = crdt.Key{}, nil
	}
	if !seen.IsZero() && !seen.Equal(e.Brought) {
		out.Seen = &seen
	}
	return out
}
