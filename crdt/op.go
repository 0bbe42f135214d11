package crdt

import (
	"fmt"
	"time"
)

// maxAhead is how far a stamp may be ahead of the origin's clock. A floor that
// a client was given is honoured up to here; beyond, a clock is wrong and
// somebody must look (DESIGN R14).
const maxAhead = 60 * time.Second

// MaxLifetime is the longest lifetime a session can be given. Being the largest
// that can ever be configured, it tells when a revocation may be forgotten.
const MaxLifetime = 400 * 24 * time.Hour

// An Op is all that one request wants of one record, as plain data that a
// script can be handed. Everything in it is fixed by the caller once, before
// the first try: tries that repeat it, at whatever origin, write the same.
type Op struct {
	// ID tells this operation from others; not zero where Changes has an Add.
	ID uint64
	// Stamp is the stamp of what the operation writes: above the record the
	// caller read and above the floor of the client's token (DESIGN R1). The
	// origin mints only its own Dot, at or above it. An operation that changes
	// neither Auth nor fields needs none.
	Stamp Stamp
	// Birth makes the session; every other operation needs one that is live.
	Birth *Birth
	// Auth, with the operation's Stamp, replaces how the session is proved. Its
	// Dot is left zero.
	Auth *Auth
	// User names whose session this is; empty leaves that as it is.
	User string
	// Touch marks the session as used, if its last use is long enough ago.
	Touch bool
	// Destroy ends the session for good, wherever it is and whether or not it
	// has been heard of here.
	Destroy bool
	// Revoke raises the user's epoch: no session whose authentication began
	// without knowing of it is shown again. Users only.
	Revoke bool
	// Changes are made to fields in their order; one field is changed once.
	Changes []Change
	// Adopt is a record from elsewhere that peers are to hear of: a side store's,
	// a sealed cookie's, a lost primary's. It is joined first. An engine's
	// record brings its vector; a sealed one must not have any, since two tabs
	// may have sealed different content under one vector.
	Adopt *Record
}

// Birth makes a session. The secret's hash, in Op.Auth, is its nonce: a birth
// that is repeated finds itself.
type Birth struct {
	Idle time.Duration // 0: no idle timeout
}

// HasAdd reports whether op has an addition, so that after an unknown outcome
// it may be repeated only at the same actor.
func (op Op) HasAdd() bool {
	for _, c := range op.Changes {
		if c.add {
			return true
		}
	}
	return false
}

// An Origin is where and when an operation is applied: the actor that takes it
// and the clock of the server that holds the record.
type Origin struct {
	Actor Actor
	Now   Time
}

// Apply is what the atomic step of every engine does at the origin of a write.
// It returns the record after op and the fragment that peers must hear, whose
// Dot is zero if there was nothing to do. The record is unchanged on error:
// ErrAbsent, ErrDead, ErrExpired, ErrExists, ErrOtherUser, ErrAhead, ErrLimit
// or ErrOp.
//
// It checks that the record is live and no more: secret and revocations are
// judged above, from what was read.
func Apply(r Record, op Op, at Origin) (Record, Fragment, error) {
	if err := op.Check(r.Key); err != nil {
		return r, Fragment{}, err
	}
	if err := op.checkTime(r.Key, at.Now); err != nil {
		return r, Fragment{}, err
	}
	if done, err := settled(r, op, at.Now); done || err != nil {
		return r, Fragment{}, err
	}
	base := r
	if op.Adopt != nil {
		base = Join(r, *op.Adopt)
	}
	dot := op.mint(base, at)
	effect, err := op.effect(base, dot, at.Now)
	if err != nil {
		return r, Fragment{}, err
	}
	if effect.Key.IsZero() { // nothing left to do
		return r, Fragment{}, nil
	}
	prev := r.VV.At(at.Actor)
	if prev >= dot.Stamp { // MaxStamp has been used: some clock went to the end of time
		if !effect.Dead {
			return r, Fragment{}, fmt.Errorf("%w: no stamp is left", ErrAhead)
		}
		prev = 0 // nobody looks at the chain of an ending
	}
	out := Join(base, effect)
	if err := out.withinLimits(base, op); err != nil {
		return r, Fragment{}, err
	}
	return out, Fragment{Dot: dot, Prev: prev, Effect: effect}, nil
}

// writes reports whether op writes anything under its Stamp.
func (op Op) writes() bool {
	return !op.Destroy && (op.Auth != nil || len(op.Changes) > 0)
}

// mint returns the dot of op: above all that base has, of which a sealed record
// has no vector to tell, and within what bytes can hold.
func (op Op) mint(base Record, at Origin) Dot {
	s := max(at.Now.Stamp(), base.Latest().next())
	if op.writes() {
		s = max(s, op.Stamp)
	}
	return Dot{at.Actor, min(s, MaxStamp)}
}

// Check refuses an operation that could not be right for any record of key k, at
// any time. Apply asks it first; so does an engine that applies op elsewhere. It
// fails with ErrOp or ErrLimit. An ending is refused for its key alone: whatever
// else the operation wants will not be done.
func (op Op) Check(k Key) error {
	if err := op.checkKey(k); err != nil || op.Destroy {
		return err
	}
	if op.writes() && op.Stamp == 0 {
		return fmt.Errorf("%w: writes without a stamp", ErrOp)
	}
	if err := op.checkAuth(); err != nil {
		return err
	}
	if op.Birth != nil {
		if err := op.Birth.check(); err != nil {
			return err
		}
	}
	return op.checkChanges(k.Kind())
}

// checkTime refuses a stamp too far ahead of the origin's clock, and a life that
// is too long: a user's revocations are forgotten when no session can be older.
func (op Op) checkTime(k Key, now Time) error {
	if op.writes() && op.Stamp > now.Add(maxAhead).Stamp() {
		return fmt.Errorf("%w: by %v", ErrAhead, op.Stamp.Time().Sub(now))
	}
	if end, _ := k.Deadline(); op.Birth != nil && !op.Destroy && end > now.Add(MaxLifetime) {
		return fmt.Errorf("%w: lifetime %v, at most %v", ErrLimit, end.Sub(now), MaxLifetime)
	}
	return nil
}

// checkKey refuses what has no place in a record of key k.
func (op Op) checkKey(k Key) error {
	sessionsOnly := op.Birth != nil || op.Auth != nil || op.User != "" || op.Touch || op.Destroy
	if session := k.Kind() == KindSession; session && op.Revoke || !session && sessionsOnly {
		return fmt.Errorf("%w: kind %d", ErrOp, k.Kind())
	}
	if op.Adopt != nil && op.Adopt.Key != k {
		return fmt.Errorf("%w: adopts another record", ErrOp)
	}
	if op.Adopt != nil && k.Kind() == KindUser && op.Adopt.hasSession() {
		return fmt.Errorf("%w: adopts a session into a user's record", ErrOp)
	}
	return nil
}

func (op Op) checkAuth() error {
	if (op.Birth != nil || op.User != "") && op.Auth == nil {
		return fmt.Errorf("%w: birth or user without a secret", ErrOp)
	}
	if op.Auth != nil && op.Auth.Cur == (Hash{}) {
		return fmt.Errorf("%w: the hash of the secret is zero", ErrOp)
	}
	if op.Auth != nil && !op.Auth.Epochs.sorted() {
		return fmt.Errorf("%w: epochs are not a vector", ErrOp)
	}
	if len(op.User) > MaxUserBytes {
		return fmt.Errorf("%w: user name of %d bytes, at most %d", ErrLimit, len(op.User), MaxUserBytes)
	}
	return nil
}

// check refuses an idle time that the bytes can't say.
func (b Birth) check() error {
	if b.Idle < 0 || b.Idle > MaxLifetime || b.Idle%time.Millisecond != 0 {
		return fmt.Errorf("%w: idle time %v, at most %v in whole milliseconds", ErrLimit, b.Idle, MaxLifetime)
	}
	return nil
}

func (op Op) checkChanges(k Kind) error {
	if op.HasAdd() && op.ID == 0 {
		return fmt.Errorf("%w: addition without an ID", ErrOp)
	}
	seen := make(map[string]struct{}, len(op.Changes))
	for _, c := range op.Changes {
		if err := c.check(k); err != nil {
			return err
		}
		if _, twice := seen[c.field]; twice {
			return fmt.Errorf("%w: one field is changed twice", ErrOp)
		}
		seen[c.field] = struct{}{}
	}
	return nil
}

// settled deals with records that nothing more can be done to.
func settled(r Record, op Op, now Time) (done bool, err error) {
	if r.Dead {
		if op.Destroy || op.Adopt != nil && op.Adopt.Dead {
			return true, nil
		}
		return false, ErrDead
	}
	end, ok := r.Key.Deadline()
	switch {
	case ok && op.Destroy:
		return now >= end.Add(margin), nil
	case ok && now >= end:
		return false, ErrExpired
	}
	return false, nil
}

// effect returns what op adds to base, as a record of its own; one without a
// key if that is nothing.
func (op Op) effect(base Record, dot Dot, now Time) (Record, error) {
	if op.Destroy || base.Dead {
		return Record{Key: base.Key, Dead: true}, nil
	}
	if err := op.admit(base, now); err != nil {
		return Record{}, err
	}
	e := Record{Key: base.Key, VV: Vector{dot}}
	if op.Adopt != nil {
		e = Join(*op.Adopt, e)
	}
	write := Dot{dot.Actor, op.Stamp} // R1: all tries carry one stamp
	if op.Birth != nil && base.Born.Dot.IsZero() {
		end, _ := base.Key.Deadline()
		e = Join(e, Record{
			Key: base.Key, Born: Born{write, now, op.Birth.Idle}, Abs: end, Touch: now,
		})
	}
	if op.Auth != nil {
		auth := *op.Auth
		auth.Dot = write
		e = Join(e, Record{Key: base.Key, Auth: auth, User: op.User})
	}
	touches := op.Touch && base.TouchDue(now)
	if touches {
		e.Touch = max(e.Touch, now)
	}
	e.Fields = joinFields(e.Fields, op.fields(base, dot, write))
	if op.Adopt == nil && op.Birth == nil && op.Auth == nil && !touches && len(e.Fields) == 0 {
		return Record{}, nil
	}
	return e, nil
}

// admit refuses what a live record is needed for where there is none.
func (op Op) admit(base Record, now Time) error {
	if base.Key.Kind() != KindSession {
		return nil
	}
	born := !base.Born.Dot.IsZero()
	switch onlyAdopts := op.Adopt != nil && op.Auth == nil && !op.Touch && len(op.Changes) == 0; {
	case onlyAdopts:
		return nil
	case op.Birth != nil && born && base.Auth.Cur != op.Auth.Cur:
		return ErrExists
	case op.Birth == nil && !born:
		return ErrAbsent
	case born && base.expired(now):
		return ErrExpired
	case op.User != "" && base.User != "" && op.User != base.User:
		return ErrOtherUser
	}
	return nil
}

// fields returns what the changes write, sorted by name.
func (op Op) fields(base Record, dot, write Dot) []Field {
	out := make([]Field, 0, len(op.Changes)+1)
	for _, c := range op.Changes {
		f := Field{Name: c.field, Dot: write, Gone: c.gone, Value: c.value}
		if c.add {
			f = c.addTo(base, op.ID, dot)
		}
		out = append(out, f)
	}
	if op.Revoke {
		out = append(out, Field{Name: actorName(epochPrefix, dot.Actor), Dot: dot})
	}
	sortFields(out)
	return out
}

// addTo returns the cell that the addition c comes to. One that some actor has
// taken already, here or before a failover, is written down again as it is, so
// that whoever hears of this operation has it too.
func (c Change) addTo(base Record, id uint64, dot Dot) Field {
	if f, ok := base.taken(c.field, id); ok {
		return f
	}
	// A running total has one writer, so its order is the writer's own.
	name := c.field + actorName("", dot.Actor)
	old, _ := base.lookup(name)
	return Field{Name: name, Dot: dot, Value: decodeCell(old.Value).plus(id, c.delta).encode()}
}

// withinLimits refuses a record that op made too large. One that was too large
// before, joined from several Regions, may still shrink and end, and nothing
// holds up a revocation.
func (r Record) withinLimits(base Record, op Op) error {
	if r.Dead || op.Revoke || len(op.Changes) == 0 {
		return nil
	}
	switch size := r.size(); {
	case len(r.Fields) > max(MaxFields, len(base.Fields)):
		return fmt.Errorf("%w: %d fields, at most %d", ErrLimit, len(r.Fields), MaxFields)
	case size > max(MaxRecordBytes, base.size()):
		return fmt.Errorf("%w: %d bytes, at most %d", ErrLimit, size, MaxRecordBytes)
	}
	return nil
}

// size returns the bytes of r that MaxRecordBytes bounds.
func (r Record) size() int {
	n := 0
	for _, f := range r.Fields {
		n += len(f.Name) + len(f.Value)
	}
	return n
}
