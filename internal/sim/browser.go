package sim

import (
	"fmt"
	"math/rand/v2"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/proof"
)

// A browser is a client with its cookies. Its tabs share them, so that requests
// overlap and the last answer wins.
type browser struct {
	id       int
	user     string
	jar      jar
	requests int // under way

	knows   []seen // what the browser has seen, as the oracle has it
	knowsOf crdt.SessionID
}

// thief is the number of the first thief, who has an eye on browser 0.
const thief = 1000

// A jar is a browser's cookies.
type jar struct {
	credential proof.Credential
	seen       proof.Seen
	sealed     [proof.Slots]string
}

func newBrowser(id int) *browser {
	// Two browsers belong to one user, so that logging out everywhere has more
	// than one place to reach.
	return &browser{id: id, user: fmt.Sprintf("user%d", id/2)}
}

// send sends a request to the app of a Region. An app that is down does not
// answer.
func (b *browser) send(w *world, act Action) {
	a := w.sites[act.Region].app
	if !a.up {
		return
	}
	b.requests++
	r := &request{
		app: a, browser: b, action: act, sent: w.queue.now,
		visit: proof.Visit{
			Credential: b.jar.credential, Seen: b.jar.seen, Idle: w.idle, Strict: act.Strict,
		},
		alone: b.requests == 1,
	}
	for slot, value := range b.jar.sealed {
		if value != "" {
			r.visit.Sealed[slot], _ = w.keys.OpenSealed(value)
		}
	}
	w.oracle.begins(r)
	w.queue.after(w.net.jittered(w.net.path(act.Region, act.Region)), func() {
		if a.up {
			a.serve(r)
		}
	})
}

// receive takes in an answer.
func (b *browser) receive(r *request, c proof.Cookies) {
	b.requests--
	w := r.app.w
	if c.Credential != nil {
		b.jar.credential = *c.Credential
	}
	if c.ClearCredential {
		b.jar.credential = proof.Credential{}
	}
	if c.Seen != nil {
		b.jar.seen = *c.Seen
	}
	for slot := range proof.Slots {
		if c.ClearSealed.Has(slot) {
			b.jar.sealed[slot] = ""
		}
	}
	if c.Sealing != nil {
		b.jar.sealed[c.Sealing.Slot] = c.Sealing.Value
	}
	w.oracle.received(r, c)
}

// fill fills b with bytes from dice.
func fill(b []byte, dice *rand.Rand) {
	for i := range b {
		b[i] = byte(dice.Uint32())
	}
}
