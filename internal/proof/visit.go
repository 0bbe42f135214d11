package proof

import (
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// A State says what became of the session that a request's cookies named.
type State uint8

// The states; package roam tells their users what each means.
const (
	New State = iota
	Live
	Gone
	LoggedOut
	Expired
	Superseded
	Unknown
)

// String returns the state's name.
func (s State) String() string {
	return [...]string{"new", "live", "gone", "logged out", "expired", "superseded", "unknown"}[s]
}

// A Visit is what a request brought in its cookies, and by what it is judged.
type Visit struct {
	Credential Credential // zero: none that we made
	Seen       Seen       // zero: none that we made
	// Sealed are the sealed cookies, by slot; zero: none that we made.
	Sealed [Slots]Sealed
	// Strict: the route refuses what may be old.
	Strict bool
	// Lenient: who can't be told is let through as Unknown, instead of getting
	// an error.
	Lenient bool
	// Idle is how long sessions last unused; 0: for ever.
	Idle time.Duration
}

// A Standing is what a request's cookies have opened.
type Standing struct {
	State      State
	Record     crdt.Record // bottom unless Live
	Credential Credential  // zero unless Live
	Seen       Seen        // by the browser, from now on
	Adopted    bool        // Live by the word of its cookie: see Visit.adopts
	Slow       bool        // Superseded so lately that it may be a slow request
	// Sealed is what the sealed cookies carry and the store has not taken in yet;
	// Record has it. Zero: nothing.
	Sealed Sealed
	// Bare: the session's fields are in no copy that could be had.
	Bare bool
	// Carried are the sealed cookies that Sealed came in.
	Carried SlotSet
	// Spent are sealed cookies that are worth nothing any more.
	Spent   SlotSet
	unnoted bool // the user's record may not have been told of the session
}

// An Answer is what was read for a Visit.
type Answer struct {
	Record crdt.Record
	Token  crdt.Token
	// Doubtful: that nothing was found proves nothing.
	Doubtful bool
	// Partial: no engine told all it has, so the record may be older than the token.
	Partial bool
	// Unread: nobody could tell of the session. Only what is sealed can.
	Unread bool
	// Epochs are the revocations of the record's user that could be read.
	Epochs crdt.Vector
}

// A Verdict is what Judge makes of an Answer.
type Verdict struct {
	Standing Standing
	// Stale: a Region that could be read has not heard of what the cookie proves.
	Stale bool
	// Doubt: the copy that was read lacks what its cookie has seen, and so can't
	// tell. No Standing is to be had.
	Doubt bool
}

// Begin returns the standing of a visit of which nothing was read yet, and
// whether to read: what its credential opens is then for Judge to say.
func (v Visit) Begin(now crdt.Time) (st Standing, read bool) {
	st.Seen, st.Spent = v.Seen, v.spent(now)
	if v.Credential.IsZero() {
		return st, false
	}
	if now >= v.Credential.ID.Deadline() {
		st.State = Expired
		return st, false
	}
	if v.Seen.ID != v.Credential.ID {
		st.Seen.Token = v.Seen.floor()
	}
	// Whoever has the cookie has seen the write that set it.
	st.Seen.Token = st.Seen.Token.With(v.Credential.Dot)
	return st, true
}

// Idled returns the standing of a session that nobody could find, and whether
// the visit's own token shows that it idled out, wherever it is.
func (v Visit) Idled(now crdt.Time) (Standing, bool) {
	st, _ := v.Begin(now)
	st.State = Expired
	return st, v.idledOut(now)
}

// Untold returns the standing of a visit of whose session nobody can tell, on a
// route that lets it through.
func (v Visit) Untold(now crdt.Time) Standing {
	st, _ := v.Begin(now)
	st.State = Unknown
	return st
}

// Judge says what the credential opens, given what was read.
//
// Path read 4/4: from router.Router.Read; the verdict is the session's State.
func (v Visit) Judge(a Answer, now crdt.Time) Verdict {
	out, _ := v.Begin(now)
	out.Seen.Token = a.Token
	sealed, carried := v.carried(now)
	read := a.Record
	a.Record = v.Copy(read, now)
	epochs := a.Epochs
	if a.Record.User != "" {
		epochs = epochs.Join(v.Seen.EpochsOf(crdt.UserKey(a.Record.User)))
	}
	verdict, stale := a.Record.Judge(now, v.Credential.Hash(), epochs), false
	switch {
	case verdict == crdt.WrongSecret && v.adopts(a.Record, now):
		out.Adopted, stale = true, true
		verdict = crdt.Live
	case v.doubts(verdict, a, now):
		if !v.Lenient {
			return Verdict{Doubt: true}
		}
		verdict, a.Doubtful = crdt.Absent, true
	}
	out.State = stateOf(verdict, a.Doubtful)
	out.Slow = out.State == Superseded && now.Sub(a.Record.Auth.Dot.Stamp.Time()) < knowsFor
	switch out.State {
	case Live:
		out.Record, out.Credential, out.Seen.ID = a.Record, v.Credential, v.Credential.ID
		out.Sealed, out.Carried = sealed, carried
		out.Bare = sealed.Bare && read.Born.Dot.IsZero()
		out.unnoted = sealed.Record.User != "" && read.User == ""
	case LoggedOut, Expired: // what is sealed revives nothing
		out.Spent |= carried
	default:
	}
	return Verdict{Standing: out, Stale: stale}
}

// adopts reports whether the credential speaks for a rotation that the copy read
// has not heard of: its cookie is the proof. For a minute, on safe routes only,
// and of the login that the copy shows or a later one of the same user: no other
// user's credential, and none from before the login, opens what is a user's.
func (v Visit) adopts(r crdt.Record, now crdt.Time) bool {
	c := v.Credential
	related := r.User == "" || c.Gen >= r.Auth.Gen && c.Login == TagOf(c.ID, r.User, c.Gen)
	return related && !v.Strict && !r.VV.Has(c.Dot) && now.Sub(c.Dot.Stamp.Time()) < knowsFor
}

// doubts reports whether a verdict is of a copy that can't give it: one that
// has not heard of the secret it finds wrong, or of the client's last use of the
// session it finds idle; or of none.
func (v Visit) doubts(verdict crdt.Verdict, a Answer, now crdt.Time) bool {
	if !a.Unread && !a.Partial && a.Token.FreshIn(a.Record.VV) { // but for what is lost for good
		return false
	}
	switch verdict {
	case crdt.WrongSecret:
		// What was set while sealed names no write: any that is missing may be the
		// one that took it in.
		return v.Credential.Dot.IsZero() || !a.Record.VV.Has(v.Credential.Dot)
	case crdt.Expired:
		return !v.idledOut(now)
	case crdt.Absent: // what was sealed stood in for what can't be read, and is past its time
		return a.Unread
	default:
		return false
	}
}

// idledOut reports whether the client's own token shows that the session has
// been idle for too long, wherever it is. Another session's token shows nothing.
func (v Visit) idledOut(now crdt.Time) bool {
	last := max(v.Seen.Token.Floor(), v.Credential.Dot.Stamp)
	return v.Idle > 0 && v.Seen.ID == v.Credential.ID && now.Sub(last.Time()) > v.Idle+v.Idle/4
}

func stateOf(v crdt.Verdict, doubtful bool) State {
	switch v {
	case crdt.Live:
		return Live
	case crdt.Ended, crdt.Revoked:
		return LoggedOut
	case crdt.Expired:
		return Expired
	case crdt.WrongSecret:
		return Superseded
	}
	if doubtful {
		return Unknown
	}
	return Gone
}
