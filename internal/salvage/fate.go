package salvage

import (
	"bytes"

	"github.com/roam-sessions/roam/crdt"
)

// A Fate is what became of a write.
type Fate string

// The fates. Recovered: it is there now. Superseded: what it changed was changed later, or
// its session has ended. Lost: it could not be brought home. Unknown: something was brought
// home, and how many writes that is of, or which, can't be told.
const (
	Recovered  Fate = "recovered"
	Superseded Fate = "superseded"
	Lost       Fate = "lost"
	Unknown    Fate = "unknown"
)

// A Kind is what a write was.
type Kind string

// The kinds of writes. A State is all that is known of a session or a user, where the
// writes it is of are not known any more.
const (
	Birth   Kind = "birth"
	Write   Kind = "write"
	Destroy Kind = "destroy"
	Revoke  Kind = "revoke"
	State   Kind = "state"
)

// kindOf returns what a fragment of a log was.
func kindOf(f crdt.Fragment) Kind {
	switch e := f.Effect; {
	case e.Dead:
		return Destroy
	case e.Key.Kind() == crdt.KindUser && len(e.Epochs()) > 0:
		return Revoke
	case f.Prev == 0 && e.Born.Dot.Actor == f.Dot.Actor && e.Born.Dot.Stamp > 0:
		return Birth
	}
	return Write
}

// fateOf returns what became of a write whose record is at home now as rec, and why.
func fateOf(f crdt.Fragment, rec crdt.Record, now crdt.Time) (Fate, string) {
	end, mortal := f.Effect.Key.Deadline()
	switch {
	case f.Effect.Dead && rec.Dead:
		return Recovered, ""
	case rec.Dead:
		return Superseded, "the session has ended"
	case mortal && now >= end:
		return Superseded, "the session is past its deadline"
	case !has(rec, f.Effect, now):
		return Lost, "it is not there"
	case remains(f, rec):
		return Recovered, ""
	}
	return Superseded, "it was changed later"
}

// remains reports whether rec shows something that f has changed. Rec has f.
func remains(f crdt.Fragment, rec crdt.Record) bool {
	e := f.Effect
	if !e.Born.Dot.IsZero() && e.Born.Dot == rec.Born.Dot || !e.Auth.Dot.IsZero() && e.Auth.Dot == rec.Auth.Dot {
		return true
	}
	for _, x := range e.Fields {
		for _, y := range rec.Fields {
			if x.Name == y.Name && (x.Dot == y.Dot || total(x.Name) && x.Dot.Actor == y.Dot.Actor) {
				return true
			}
		}
	}
	touches := e.Born.Dot.IsZero() && e.Auth.Dot.IsZero() && len(e.Fields) == 0
	return touches && e.Touch == rec.Touch
}

// total reports whether a field is an actor's running total of a counter, by
// docs/formats/record.md: a later one has all of an earlier one of its actor.
func total(name string) bool { return name[0] == '#' }

// has reports whether a copy of a record has all that another one says.
func has(rec, of crdt.Record, now crdt.Time) bool {
	return same(crdt.Join(rec, of).Prune(now), rec.Prune(now))
}

// same reports whether two records say the same. What they claim to have heard may differ.
func same(a, b crdt.Record) bool {
	a.VV, b.VV = nil, nil
	return bytes.Equal(crdt.AppendRecord(nil, a), crdt.AppendRecord(nil, b))
}

// claims reports whether a copy of a record has all that another one says, and claims to
// have heard all that the other one does. Who says so without the claim would have a gap
// where the chain goes on.
func claims(rec, of crdt.Record, now crdt.Time) bool {
	return rec.Dead || !of.Dead && rec.VV.Covers(of.VV) && has(rec, of, now)
}

// fold returns what base and some writes come to, in their order, and whether all of them
// are in it. One that lacks what its actor wrote before is not.
func fold(base crdt.Record, frags []crdt.Fragment) (crdt.Record, bool) {
	whole := true
	for _, f := range frags {
		var out crdt.Outcome
		if base, out = crdt.Merge(base, f); out == crdt.Gap || out == crdt.Fork {
			whole = false
		}
	}
	return base, whole
}

// foldLoose is fold, and takes what lacks something as what it says, without the claim to
// have heard all before it: a later comparison with whoever has the rest still finds it.
func foldLoose(base crdt.Record, frags []crdt.Fragment) crdt.Record {
	for _, f := range frags {
		var out crdt.Outcome
		if base, out = crdt.Merge(base, f); out == crdt.Gap || out == crdt.Fork {
			loose := f.Effect
			loose.VV = nil
			base = crdt.Join(base, loose)
		}
	}
	return base
}
