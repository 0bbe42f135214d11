package proof

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

const (
	// Slots is how many sealed cookies a browser may have: two for sealings that
	// come with a new secret, two for others. So the answer to a request from
	// before a login can't overwrite the session that was logged in. And a session
	// that is sealed again goes into the other of two than it came in, so that the
	// answer to an older request, which clears what that one brought, does not
	// clear it.
	Slots        = 2 * slotsOfAKind
	slotsOfAKind = 2
	// sealedFor is how long a sealed session is worth something, from its first
	// sealing on and however often it is sealed again (DESIGN R11): so long may a
	// copy of it be served where nobody can be asked whether it was logged out.
	sealedFor = 15 * time.Minute
	// maxSkew is how far the clock that sealed may be ahead: what two clocks may
	// differ by.
	maxSkew = 60 * time.Second
)

var (
	// ErrTooLarge: the session does not fit into a cookie.
	ErrTooLarge = errors.New("session is too large to seal")
	// ErrTooOld: the session was sealed first too long ago to be sealed again.
	ErrTooOld = errors.New("session has been sealed for too long")
)

// A Sealed is what a sealed cookie carries of a session. It does not print.
type Sealed struct {
	// Record is the session with the stamps its parts were written with. It has
	// no vector: two tabs may have sealed different content under one.
	Record crdt.Record
	// Since is when the session was sealed first.
	Since crdt.Time
	// Bare: the fields did not fit, and only who she is is carried.
	Bare bool
}

// IsZero reports whether s carries nothing.
func (s Sealed) IsZero() bool { return s.Record.Key.IsZero() }

// Format prints that there is a sealed session, whatever the verb.
func (Sealed) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "sealed session") }

// spent reports whether s is worth nothing any more, to anybody.
func (s Sealed) spent(now crdt.Time) bool {
	end, _ := s.Record.Key.Deadline()
	return !s.IsZero() && (now.Sub(s.Since) >= sealedFor || s.Since.Sub(now) > maxSkew || now >= end)
}

// with returns what s and t carry of one session, of which either may be zero.
func (s Sealed) with(t Sealed) Sealed {
	if s.IsZero() {
		return t
	}
	return Sealed{
		Record: crdt.Join(s.Record, t.Record),
		Since:  min(s.Since, t.Since),
		Bare:   s.Bare && t.Bare,
	}
}

// A SlotSet is a set of sealed cookies, by their number from 0.
type SlotSet uint8

// Has reports whether slot is in s.
func (s SlotSet) Has(slot int) bool { return s&(1<<slot) != 0 }

func (s SlotSet) with(slot int) SlotSet { return s | 1<<slot }

func (s SlotSet) without(slot int) SlotSet { return s &^ (1 << slot) }

// carried returns what the visit's sealed cookies carry of the session that its
// credential names, and which of them do. Another session's are ignored.
func (v Visit) carried(now crdt.Time) (out Sealed, in SlotSet) {
	for slot, s := range v.Sealed {
		if !s.IsZero() && !s.spent(now) && s.Record.Key == crdt.SessionKey(v.Credential.ID) {
			out, in = out.with(s), in.with(slot)
		}
	}
	return out, in
}

// spent returns the visit's sealed cookies that are worth nothing to anybody.
func (v Visit) spent(now crdt.Time) (out SlotSet) {
	for slot, s := range v.Sealed {
		if s.spent(now) {
			out = out.with(slot)
		}
	}
	return out
}

// StandsIn reports whether a sealed copy may be served where the session or the
// revocations of its user can't be read: on safe routes.
func (v Visit) StandsIn(now crdt.Time) bool {
	_, in := v.carried(now)
	return in != 0 && !v.Strict
}

// Copy returns all that is known of the visit's session: what was read, joined
// with what is sealed. What is dead stays dead.
func (v Visit) Copy(read crdt.Record, now crdt.Time) crdt.Record {
	s, in := v.carried(now)
	if in == 0 {
		return read
	}
	return crdt.Join(s.Record, read)
}

// Import returns the operation that takes in what is sealed, and whether there
// is anything to take in. It adopts, so that peers hear of it (DESIGN R18). Done
// twice, or with what another tab sealed, it adds nothing and loses nothing.
func (st Standing) Import() (Written, bool) {
	if st.Sealed.IsZero() {
		return Written{}, false
	}
	out := Written{Key: st.Sealed.Record.Key, Seen: st.Seen.Token, Base: st.Record, Credential: st.Credential}
	st.adopt(&out)
	return out, true
}

// adopt makes w take in what is sealed, with what was read of the session: an engine
// that has nothing of it, because it lost all, would else have what is sealed alone.
func (st Standing) adopt(w *Written) {
	if st.Sealed.IsZero() {
		return
	}
	w.Op.Adopt = &st.Record
	if st.unnoted {
		w.Note = st.Record.User
	}
}

// Unsealed returns the standing once the store has what was sealed, or once that
// is worth nothing: the sealed cookies go with the answer.
func (st Standing) Unsealed() Standing {
	st.Spent |= st.Carried
	st.Carried, st.Sealed, st.unnoted = 0, Sealed{}, false
	return st
}

// A Sealing is a session that goes out in a sealed cookie.
type Sealing struct {
	Slot       int    // which of the sealed cookies
	Value      string // of the cookie
	Since      crdt.Time
	Seen       Seen        // by the browser, from now on
	Credential *Credential // to set; nil for none
}

// Left returns for how long the cookie is worth something.
func (s Sealing) Left(now crdt.Time) time.Duration { return s.Since.Add(sealedFor).Sub(now) }

// Seal makes of a write that nobody could take a cookie that carries the session
// as it is after it. Room is how long the cookie's value may be. A session that
// does not fit goes without its fields, unless one of them was changed here or in
// a cookie: that would be lost.
//
// The write is made by an actor of its own (two tabs can't fork one), under the stamp
// of the tries that failed: if one of them happens after all, it beats nothing that
// was written since. An addition keeps the tries' ID, so it counts once then.
func (st Standing) Seal(w Written, m Maker, k Keyring, room int) (Sealing, error) {
	s := Sealed{Since: m.Now, Bare: st.Bare}
	if !st.Sealed.IsZero() {
		s.Since = min(s.Since, st.Sealed.Since)
	}
	if m.Now.Sub(s.Since) >= sealedFor {
		return Sealing{}, ErrTooOld
	}
	op, base := w.Op, w.Base
	base.Key = w.Key
	at := crdt.Origin{Actor: crdt.NewActor(m.Here, m.Seal.incarnation()), Now: m.Now}
	var err error
	if s.Record, _, err = crdt.Apply(base, op, at); err != nil {
		return Sealing{}, fmt.Errorf("seal: %w", err)
	}
	s.Record.VV = nil
	out := Sealing{Slot: st.slot(w, m), Since: s.Since}
	out.Value, err = k.Seal(s, m.Seal.salt(), room)
	if errors.Is(err, ErrTooLarge) && len(w.Op.Changes) == 0 && len(st.Sealed.Record.Fields) == 0 {
		s.Record.Fields, s.Bare = nil, true
		out.Value, err = k.Seal(s, m.Seal.salt(), room)
	}
	if err != nil {
		return Sealing{}, err
	}
	// No vector will ever have a dot of a sealed write: the token's floor alone
	// is above it, and the credential names no write.
	out.Seen = st.Seen.wrote(w.Credential.ID, w.Seen.WithFloor(s.Record.Latest()))
	if w.NewSecret {
		c := w.Credential
		c.Dot = crdt.Dot{}
		out.Credential = &c
	}
	return out, nil
}

// slot returns the cookie to seal into: one of its kind that the request did not
// bring, by the dice if it brought neither.
func (st Standing) slot(w Written, m Maker) int {
	first := 0
	if w.NewSecret {
		first = slotsOfAKind
	}
	slot := m.Seal.slot()
	if st.Carried.Has(first + slot) {
		slot = (slot + 1) % slotsOfAKind
	}
	return first + slot
}
