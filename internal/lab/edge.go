package lab

import (
	"math/rand/v2"
	"net/http"
	"strings"
)

const (
	// RegionHeader names the Region that a request asks for, or the policy that
	// chooses one; in an answer, the Region that gave it.
	RegionHeader = "Roam-Region"
	// edgeCookie remembers a browser's choice. It is no secret and proves nothing.
	edgeCookie = "edge"
	// switchPath sets that cookie: /_edge?to=eu-west-1.
	switchPath = "/_edge"

	// Nearest sends requests to the first Region that is alive.
	Nearest = "nearest"
	// Random sends each request to any Region that is alive.
	Random = "random"
)

// An edge sends each request to one Region, as DNS or a load balancer would: to
// the one that it asks for, to any, or to the nearest; never to a dead one.
type edge struct {
	names []string // the nearest first
	serve func(region string) http.Handler
	alive func(region string) bool
}

func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == switchPath {
		e.choose(w, r)
		return
	}
	to, ok := e.route(e.wish(r))
	if !ok {
		http.Error(w, "No Region is alive. Revive one in the console.", http.StatusBadGateway)
		return
	}
	w.Header().Set(RegionHeader, to)
	e.serve(to).ServeHTTP(w, r)
}

// wish returns what the request asks for; a header speaks louder than a cookie.
func (e *edge) wish(r *http.Request) string {
	if to := r.Header.Get(RegionHeader); to != "" {
		return to
	}
	if c, err := r.Cookie(edgeCookie); err == nil {
		return c.Value
	}
	return Nearest
}

// route returns the Region for a wish. A wish for one that is dead or unknown is
// one for the nearest.
func (e *edge) route(wish string) (string, bool) {
	var up []string
	for _, name := range e.names {
		if !e.alive(name) {
			continue
		}
		if name == wish {
			return name, true
		}
		up = append(up, name)
	}
	switch {
	case len(up) == 0:
		return "", false
	case wish == Random:
		return up[rand.IntN(len(up))], true //nolint:gosec // which Region is no secret
	}
	return up[0], true
}

// choose remembers where a browser wants its requests to go.
func (e *edge) choose(w http.ResponseWriter, r *http.Request) {
	to := r.URL.Query().Get("to")
	known := to == Nearest || to == Random
	for _, name := range e.names {
		known = known || name == to
	}
	if !known {
		http.Error(w, "Unknown Region. Choose one of: "+strings.Join(append([]string{Nearest, Random}, e.names...), ", "), http.StatusBadRequest)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: edgeCookie, Value: to, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
