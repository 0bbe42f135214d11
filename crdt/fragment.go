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
	// Gap: an earlier write of the same actor to this record is missing, so the
	// fragment was not merged; the full record must be had from its origin.
	Gap
	// Fork: the actor's chain here is not the fragment's. Incarnations make that
	// impossible but for a chance of one in a million failovers; full records
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

// Merge joins f into r, if it is the next write of its actor that r has not
// seen. Endings are joined at once, whatever is missing before them.
func Merge(r Record, f Fragment) (Record, Outcome) {
	have := r.VV.At(f.Dot.Actor)
	switch {
	case r.Dead:
		return r, Duplicate
	case f.Effect.Dead:
		return Join(r, f.Effect), Applied
	case have >= f.Dot.Stamp:
		return r, Duplicate
	case have < f.Prev:
		return r, Gap
	case have > f.Prev:
		return r, Fork
	}
	return Join(r, f.Effect), Applied
}
