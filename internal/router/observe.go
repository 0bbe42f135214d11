package router

import (
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// An Act is what was done to a record, as audits and metrics name it.
type Act uint8

// The acts. An operation that does several things is named after the weightiest.
const (
	Read     Act = iota
	Touch        // a use was written down
	Change       // fields were changed
	Note         // a user's record was told of a session
	Rotate       // the secret was replaced
	Create       // an anonymous session was made
	Login        // a session became a user's, or one was made for her
	Destroy      // a session was ended
	Revoke       // all sessions of a user were ended
	TakeBack     // a side store's record came to where writes belong
)

// String returns the act's name.
func (a Act) String() string {
	return [...]string{
		"read", "touch", "change", "note", "rotate", "create", "login", "destroy", "revoke", "take back",
	}[a]
}

// An Observation is one act, done or refused.
type Observation struct {
	Act    Act
	Key    crdt.Key // prints as a fingerprint
	Answer Answer
	Err    error
	Took   time.Duration
}

func (r *Router) observe(act Act, k crdt.Key, a Answer, err error, start time.Time) {
	took := func() time.Duration { return r.config.Clock().Sub(start) }
	r.count(act, a, err, took)
	if r.config.Observe != nil {
		r.config.Observe(Observation{act, k, a, err, took()})
	}
}

func actOf(k crdt.Key, op crdt.Op) Act {
	switch {
	case op.Destroy:
		return Destroy
	case op.Revoke:
		return Revoke
	case op.User != "":
		return Login
	case op.Birth != nil:
		return Create
	case op.Auth != nil:
		return Rotate
	case k.Kind() == crdt.KindUser:
		return Note
	case len(op.Changes) > 0:
		return Change
	}
	return Touch
}
