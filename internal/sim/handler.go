package sim

import (
	"fmt"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/proof"
	"github.com/roam-sessions/roam/internal/router"
)

// fields is how many values, counters and elements there are of each kind: few,
// so that writes meet.
const fields = 3

// handle does what the request came for.
func (r *request) handle() {
	switch r.action.Do {
	case Put, Add, Mark, Unmark:
		r.change()
	case Login:
		r.login()
		return
	case Renew:
		r.wish.Renew = r.standing.State == proof.Live
	case Logout:
		if r.standing.State == proof.Live {
			r.destroy(func(err error) {
				if r.err = err; err == nil {
					r.standing, r.ended = r.standing.End(), true
				}
				r.respond()
			})
			return
		}
	case RevokeAll:
		if r.standing.State == proof.Live && r.standing.Record.User != "" {
			r.revoke()
			return
		}
	default:
	}
	r.commit()
}

// change makes a change of a value, a counter or a set.
func (r *request) change() {
	name := r.changes()
	switch r.action.Do {
	case Put:
		r.wish.Changes = []crdt.Change{crdt.Put(name, valueOf(r.action.Serial))}
	case Add:
		r.wish.Changes = []crdt.Change{crdt.Add(name, 1)}
	case Mark:
		r.wish.Changes = []crdt.Change{crdt.Mark("set", name)}
	default:
		r.wish.Changes = []crdt.Change{crdt.Unmark("set", name)}
	}
}

// changes returns the name of what the request changes.
func (r *request) changes() string { return string(rune('a' + r.action.Arg%fields)) }

// fieldName returns the name of the field that holds it; of a counter, without
// the actor's part.
func (r *request) fieldName() string {
	switch r.action.Do {
	case Put:
		return "." + r.changes()
	case Add:
		return "#" + r.changes() + "\x00"
	}
	return "&set\x00" + r.changes()
}

// password returns how long it takes to check it.
func (a Action) password() time.Duration { return time.Duration(a.Arg % uint64(5*time.Second)) } //nolint:gosec // below 5 s

func valueOf(serial int) []byte { return []byte(fmt.Sprint(serial)) }

// login begins an authentication, waits for the password to be checked, and
// wishes for the login.
func (r *request) login() {
	user := r.browser.user
	key := crdt.UserKey(user)
	r.app.read(router.Query{Key: key}, func(ans router.Answer, err error) {
		if err != nil {
			r.fail(err)
			return
		}
		epochs := ans.Record.Epochs().Join(r.standing.Seen.EpochsOf(key))
		r.wish.Login = &proof.Login{User: user, At: r.app.now(), Epochs: epochs}
		r.did.login = &login{user: user, sent: r.sent, began: r.app.w.queue.now, browser: r.browser}
		r.app.w.queue.after(r.action.password(), func() {
			if r.app.life == r.life {
				r.commit()
			}
		})
	})
}
