package shop

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/roam-sessions/roam"
)

// A status is what the bar shows and what scripts are given.
type status struct {
	Region  string     `json:"region"`
	Rung    string     `json:"rung"`
	State   string     `json:"state"`
	User    string     `json:"user"`
	Session string     `json:"session"` // fingerprint; empty before the first write
	Served  string     `json:"served"`  // the Region that answered; empty: none was asked
	Left    bool       `json:"left"`
	Lost    int        `json:"lost"`
	Created *time.Time `json:"created,omitempty"`
	Visits  int64      `json:"visits"`
	Theme   string     `json:"theme"`
	Cart    []line     `json:"cart"`
	// Revocations is how many logouts some Region has not confirmed.
	Revocations int `json:"revocations_waiting"`
}

// status reads it all from a request's session.
func (s *Shop) status(sess *roam.Session) status {
	st := status{
		Region: s.config.Region, Rung: sess.Rung().String(), State: sess.State().String(),
		User: sess.User(), Session: sess.Fingerprint(), Served: sess.Served(), Left: sess.Left(),
		Lost: sess.Lost(), Visits: visits.Get(sess), Theme: themeOf(sess), Cart: lines(sess),
		Revocations: s.store.PendingRevocations(),
	}
	if at := sess.Created(); !at.IsZero() {
		st.Created = &at
	}
	return st
}

// nothing is the status of a request whose session can't be reached.
func (s *Shop) nothing() status {
	return status{Region: s.config.Region, Rung: roam.Refused.String(), State: "not reached", Theme: "auto"}
}

// pieces returns how many pieces are in the cart.
func (st status) pieces() int {
	n := 0
	for _, l := range st.Cart {
		n += l.Quantity
	}
	return n
}

func (s *Shop) apiSession(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, s.status(roam.FromContext(r.Context())))
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(append(b, '\n')) // the client may be gone
}
