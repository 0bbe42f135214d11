package crdt

import (
	"crypto/subtle"
	"time"
)

const (
	// margin is how long after a session's deadline its tombstone stays: twice
	// the 60 s that two clocks may differ by. By then every reader refuses the
	// ID by its deadline, so nothing can come back.
	margin = 120 * time.Second
	// touchShare: a session is touched when a tenth of its idle time has
	// passed. A session then idles out up to a tenth early, never late, and
	// reading pages does not write.
	touchShare = 10
	// minSlack is the least time that a copy which looks idle is kept, so that a
	// touch on its way here does not meet nothing.
	minSlack = 60 * time.Second
)

// A Verdict is what a record says to somebody who presents a proof.
type Verdict uint8

const (
	// Live: the session is the presenter's.
	Live Verdict = iota
	// Absent: nothing is known here, or not enough to show. No proof that there
	// is nothing elsewhere.
	Absent
	// Ended: the session was destroyed.
	Ended
	// Expired: past its deadline or its idle time.
	Expired
	// Revoked: authentication began before the user's sessions were revoked.
	Revoked
	// WrongSecret: the proof is not this session's, or no longer.
	WrongSecret
)

// String returns the verdict's name.
func (v Verdict) String() string {
	return [...]string{"live", "absent", "ended", "expired", "revoked", "wrong secret"}[v]
}

// Judge says whether the session r is live at now for somebody who presents a
// secret with the hash proof, given the user's revocation vector.
func (r Record) Judge(now Time, proof Hash, epochs Vector) Verdict {
	end, _ := r.Key.Deadline()
	switch {
	case r.Dead:
		return Ended
	case now >= end:
		return Expired
	case r.Born.Dot.IsZero() || r.Auth.Dot.IsZero():
		return Absent
	case r.expired(now):
		return Expired
	case r.User != "" && !r.Auth.Epochs.Covers(epochs):
		return Revoked
	case !r.Auth.proves(now, proof):
		return WrongSecret
	}
	return Live
}

func (a Auth) proves(now Time, proof Hash) bool {
	cur := subtle.ConstantTimeCompare(a.Cur[:], proof[:])
	prev := subtle.ConstantTimeCompare(a.Prev[:], proof[:])
	if now >= a.Grace || a.Prev == (Hash{}) { // none before: zero proves nothing
		prev = 0
	}
	return cur|prev == 1
}

// expired reports whether the session is past its absolute deadline or its idle
// time. A touch by a fast clock counts as one made now.
func (r Record) expired(now Time) bool {
	if r.Abs != 0 && now >= r.Abs {
		return true
	}
	return r.Born.Idle > 0 && now >= min(r.Touch, now).Add(r.Born.Idle)
}

// TouchDue reports whether a use at now is worth writing down.
func (r Record) TouchDue(now Time) bool {
	idle := r.Born.Idle
	return idle > 0 && now.Sub(r.Touch) > idle/touchShare
}

// KeepUntil returns the moment from which a copy of r may be dropped by the
// clock alone, and whether there is one. Sessions are kept a slack beyond their
// idle time, tombstones until every clock is past the deadline in the ID.
func (r Record) KeepUntil() (Time, bool) {
	end, ok := r.Key.Deadline()
	if !ok {
		return r.userKeepUntil()
	}
	if idle := r.Born.Idle; idle > 0 && !r.Dead {
		return min(r.Touch.Add(idle+max(idle/4, minSlack)), end.Add(margin)), true
	}
	return end.Add(margin), true
}

// userKeepUntil returns when the last field of a user's record may go.
func (r Record) userKeepUntil() (Time, bool) {
	var last Time
	for _, f := range r.Fields {
		last = max(last, f.keepUntil())
	}
	return last, true
}

// keepUntil returns when a field of a user's record means nothing more: an index
// entry when its session can't be served, an epoch when no session can be older.
func (f Field) keepUntil() Time {
	if f.Name[:1] == indexPrefix {
		if id, err := ParseSessionID([]byte(f.Name[1:])); err == nil {
			return id.Deadline().Add(margin)
		}
	}
	return f.Dot.Stamp.Time().Add(MaxLifetime + margin)
}

// Prune returns a user's record without what means nothing more at now. Copies
// that were pruned by different clocks differ until all clocks agree; Join
// brings back what the other still has, which harms nobody. Sessions come back
// as they are.
func (r Record) Prune(now Time) Record {
	if r.Key.Kind() != KindUser {
		return r
	}
	kept := r.Fields[:0:0]
	for _, f := range r.Fields {
		if f.keepUntil() > now {
			kept = append(kept, f)
		}
	}
	if len(kept) < len(r.Fields) {
		r.Fields = kept
	}
	return r
}
