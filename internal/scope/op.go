package scope

import (
	"errors"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// The clocks. A second operation ten seconds after the first makes a touch due;
// the second Region's clock is slow by two operations, so that of two writes the
// later may have the lesser stamp, or the same. All is over before a session idles
// out.
const (
	epoch    crdt.Time = 1000 * 24 * 3600 * 1000
	tick               = 10 * time.Second
	skew               = 2 * tick
	idle               = 100 * time.Second
	lifetime           = time.Hour
	// fast is a clock by which every session has idled out and none is past its
	// deadline.
	fast = 10 * time.Minute
	// late is when sessions are judged: after every grace, before any idles out.
	late = epoch + crdt.Time(95*time.Second/time.Millisecond)
)

// now returns what the clock of the Region with index r shows as operation i is
// done.
func now(r, i int) crdt.Time { return epoch.Add(skew + time.Duration(i)*tick - time.Duration(r)*skew) }

// side returns the actor of a side store.
func side() crdt.Actor { return crdt.NewActor(3, 1) }

type opID int16

// An op is an operation with all that its client fixed before the first try.
type op struct {
	op      crdt.Op
	record  int // index of its key
	kind    Kind
	session uint8
}

// An opKey is all that ops differ by.
type opKey struct {
	step   Step
	i      int
	region int
	stamp  crdt.Stamp
	gen    uint32
	prev   crdt.Hash
	epochs sum
}

// secret returns the hash of the secret that operation i makes.
func secret(i int) (h crdt.Hash) {
	h[0] = byte(i + 1)
	return h
}

// prepare returns operation i of a program as a client makes it who has read the
// state id.
func (s *space) prepare(step Step, i int, id coreID) opID {
	st, r := &s.states[id], s.region(id)
	at := annAt
	if step.Kind.ofSession() {
		at = int(step.Session)
	}
	rec, epochs := st.recs[at], st.recs[annAt].Epochs()
	key := opKey{
		step: step, i: i, region: r, stamp: max(now(r, i).Stamp(), rec.Latest()+1),
		gen: rec.Auth.Gen, prev: rec.Auth.Cur,
	}
	auth := crdt.Auth{Gen: rec.Auth.Gen + 1, Cur: secret(i), At: now(r, i)}
	switch step.Kind {
	case Login:
		auth.Epochs = epochs
	case Rotate:
		auth = rec.Auth
		auth.Dot, auth.Prev, auth.Cur, auth.Grace = crdt.Dot{}, auth.Cur, secret(i), now(r, i).Add(tick)
	}
	for _, d := range auth.Epochs {
		key.epochs = key.epochs.add(uint64(d.Actor)).add(uint64(d.Stamp))
	}
	if known, ok := s.opByID[key]; ok {
		return known
	}
	out := opID(len(s.ops)) //nolint:gosec // far fewer
	s.opByID[key] = out
	made := op{record: at, kind: step.Kind, session: step.Session}
	made.op = s.opOf(step, i, key.stamp, auth)
	s.ops = append(s.ops, made)
	return out
}

func (s *space) opOf(step Step, i int, stamp crdt.Stamp, auth crdt.Auth) crdt.Op {
	out := crdt.Op{ID: uint64(i + 1), Stamp: stamp} //nolint:gosec // below maxSteps
	value := []byte{byte(i)}
	switch step.Kind {
	case Birth:
		out.Birth, out.Auth = &crdt.Birth{Idle: idle}, &auth
	case Put:
		out.Changes = []crdt.Change{crdt.Put("a", value)}
	case Add:
		out.Changes = []crdt.Change{crdt.Add("n", 1)}
	case Touch:
		out.Touch = true
	case Login, LateLogin:
		out.Auth, out.User = &auth, "ann"
	case Stranger:
		out.Auth, out.User = &auth, "bob"
	case Rotate:
		out.Auth = &auth
	case Adopt:
		wrote := crdt.Dot{Actor: side(), Stamp: stamp}
		out.Adopt = &crdt.Record{
			Key: s.keys[step.Session], VV: crdt.Vector{wrote},
			Fields: []crdt.Field{{Name: sideField, Dot: wrote, Value: value}},
		}
	case Destroy:
		out.Destroy = true
	case Revoke:
		out.Revoke = true
	}
	return out
}

// The fields that operations write.
const (
	putField  = ".a"
	sideField = ".side"
)

type resID int16

// noResult stands for an operation that is not done yet.
const noResult resID = -1

// A result is what became of an operation: its dot, zero if it was refused or
// there was nothing to do, and when it was done.
type result struct {
	op  opID
	dot crdt.Dot
	at  crdt.Time
	// bears: the operation made the session, and did not only find itself.
	bears bool
}

func (s *space) internResult(r result) resID {
	id, ok := s.resID[r]
	if !ok {
		id = resID(len(s.res)) //nolint:gosec // far fewer
		s.resID[r] = id
		s.res = append(s.res, r)
	}
	return id
}

type applyKey struct {
	id coreID
	op opID
	i  int8
}

// applied is what became of an operation. Where absent, it has to be tried in
// another Region, or later.
type applied struct {
	to     coreID
	result resID
	absent bool
}

// apply does operation i of a program at the core id.
func (s *space) apply(id coreID, o opID, i int) applied {
	key := applyKey{id, o, int8(i)} //nolint:gosec // below maxSteps
	if a, ok := s.applied[key]; ok {
		return a
	}
	c := s.states[id].core.Clone()
	at := now(s.region(id), i)
	dot, err := c.Apply(at, s.keys[s.ops[o].record], s.ops[o].op)
	a := applied{to: id}
	if kind := s.ops[o].kind; err != nil && (kind == Destroy || kind == Revoke) {
		s.fail("M11: %v is refused: %v", kind, err)
	}
	switch {
	case errors.Is(err, crdt.ErrAbsent):
		a.absent = true
	case err == nil && !dot.IsZero():
		a.to = s.after(id, c)
		made := s.states[id].recs[s.ops[o].record].Born.Dot.IsZero()
		a.result = s.internResult(result{o, dot, at, made && s.ops[o].kind == Birth})
	default:
		a.result = s.internResult(result{op: o})
	}
	s.applied[key] = a
	return a
}
