package crdt

// A Fragment is one write as peers hear of it: a record that holds only what
// the write added, and the place of the write in its actor's chain.
type Fragment struct {
	Dot  Dot
	Prev Stamp // the actor's write to this record before this one; 0: the first
	// Effect is joined into the peer's copy.
	Effect Record
}

// An Outcome is what Merge made of a fragment.
type Outcome uint8

const (
	// Applied: the fragment was new and is in the record now.
	Applied Outcome = iota
	// Duplicate: the record had it already.
	Duplicate
	// Gap: an earlier write of the same actor to this record is missing, so no
	// more than the fragment's Ending was joined; the full record must be had
	// from its origin.
	Gap
	// Fork: the actor's chain here is not the fragment's: a copy was dropped at
	// its origin and adopted again, or, once in a million failovers, two
	// incarnations are the same. No more than the Ending was joined; full records
	// must be exchanged both ways.
	Fork
)

// String returns the outcome's name.
func (o Outcome) String() string {
	switch o {
	case Applied:
		return "applied"
	case Duplicate:
		return "duplicate"
	case Gap:
		return "gap"
	}
	return "fork"
}

// Ending returns what of f must not wait for anything before it, as a record
// without a vector, and whether there is any: the death of a session, the
// revocation of a user's sessions.
func (f Fragment) Ending() (Record, bool) {
	if f.Effect.Dead {
		return f.Effect, true
	}
	end := Record{Key: f.Effect.Key}
	if end.Key.Kind() == KindUser {
		for e := range f.Effect.Under(epochPrefix) {
			end.Fields = append(end.Fields, e)
		}
	}
	return end, len(end.Fields) > 0
}

// Merge joins f into r, if it is the next write of its actor that r has not
// seen. An ending is joined at once, whatever is missing before it.
func Merge(r Record, f Fragment) (Record, Outcome) {
	have := r.VV.At(f.Dot.Actor)
	switch {
	case r.Dead:
		return r, Duplicate
	case f.Effect.Dead:
		return Join(r, f.Effect), Applied
	case have >= f.Dot.Stamp:
		return r, Duplicate
	case have == f.Prev:
		return Join(r, f.Effect), Applied
	}
	if end, ok := f.Ending(); ok {
		r = Join(r, end)
	}
	if have < f.Prev {
		return r, Gap
	}
	return r, Fork
}
