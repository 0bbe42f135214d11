package router

import (
	"fmt"

	"github.com/roam-sessions/roam/internal/tally"
)

// A Rung says how good an answer is. Lower rungs are chosen only when the ones
// above can't be had.
type Rung uint8

const (
	// Normal: all that the client has seen is in the answer; a write is where
	// writes belong.
	Normal Rung = iota
	// Stale: the answer may lack something that the client has seen, or a
	// Region has not been heard for longer than Config.StrictBound.
	Stale
	// LocalOnly: the answer is, or is partly, in this Region's side store; the
	// primary takes it back when it can be reached.
	LocalOnly
	// Sealed: the session travels in the client's cookie. Package roam gives it; no
	// Region does.
	Sealed
	// Refused: no answer that could be trusted. The session is as it was.
	Refused

	// Rungs is how many there are.
	Rungs = iota
)

// String returns the rung's name as metrics and pages show it.
func (r Rung) String() string { return tally.RungName(int(r)) }

// MarshalText makes JSON show the rung's name.
func (r Rung) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// A Class says what a route may be given.
type Class uint8

const (
	// Safe routes rather show something old than nothing.
	Safe Class = iota
	// Strict routes, those about privilege or money, refuse what may be old.
	Strict
)

// String returns the class's name.
func (c Class) String() string { return [...]string{"safe", "strict"}[c] }

// A Mode says what a read does about a write that it should see and may not.
type Mode uint8

const (
	// ByToken compares the local copy with the client's token and waits for or
	// fetches what is missing. Nothing is ever missed while its Region answers.
	ByToken Mode = iota
	// ByPrimary reads where the write went, once after each write, and locally
	// from then on: with a lag longer than the time between two reads, the
	// second one may miss.
	ByPrimary
	// ByRetry reads again after 100–200 ms if a session that was just created
	// is not here yet. It helps against neither a longer lag nor a stale hit.
	ByRetry
	// Accept reads locally and no more. Whoever misses logs in again; her
	// cookie is kept, so the next read may find the session.
	Accept
)

// ParseMode returns the mode called s: token, primary, retry or accept.
func ParseMode(s string) (Mode, error) {
	for m := ByToken; m <= Accept; m++ {
		if m.String() == s {
			return m, nil
		}
	}
	return 0, fmt.Errorf("read-after-write %q: want token, primary, retry or accept", s)
}

// String returns the mode's name in a configuration.
func (m Mode) String() string { return [...]string{"token", "primary", "retry", "accept"}[m] }
