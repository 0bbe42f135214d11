package crdt

import (
	"cmp"
	"slices"
)

// A Vector says how far something has heard each actor: all effects of an actor
// up to its stamp. It holds one Dot an actor, sorted by actor. A Vector is
// never changed in place.
type Vector []Dot

// At returns how far v has heard a; zero if not at all.
func (v Vector) At(a Actor) Stamp {
	for _, d := range v { // a handful of actors: a scan beats a search
		if d.Actor == a {
			return d.Stamp
		}
	}
	return 0
}

// Max returns the highest stamp in v.
func (v Vector) Max() Stamp {
	var m Stamp
	for _, d := range v {
		m = max(m, d.Stamp)
	}
	return m
}

// Has reports whether v has heard of the write d.
func (v Vector) Has(d Dot) bool { return v.At(d.Actor) >= d.Stamp }

// Covers reports whether v has heard all that w has.
func (v Vector) Covers(w Vector) bool {
	for _, d := range w {
		if !v.Has(d) {
			return false
		}
	}
	return true
}

// With returns v having heard d.
func (v Vector) With(d Dot) Vector {
	i, found := slices.BinarySearchFunc(v, d.Actor, byActor)
	switch {
	case !found:
		out := make(Vector, 0, len(v)+1)
		out = append(out, v[:i]...)
		out = append(out, d)
		return append(out, v[i:]...)
	case v[i].Stamp >= d.Stamp:
		return v
	}
	out := slices.Clone(v)
	out[i] = d
	return out
}

// Join returns the pointwise maximum of v and w.
func (v Vector) Join(w Vector) Vector {
	if len(v) == 0 {
		return w
	}
	for _, d := range w {
		v = v.With(d)
	}
	return v
}

// Meet returns the pointwise minimum of v and w: what both have heard.
func (v Vector) Meet(w Vector) Vector {
	var out Vector
	for _, d := range v {
		if s := min(d.Stamp, w.At(d.Actor)); s > 0 {
			out = append(out, Dot{d.Actor, s})
		}
	}
	return out
}

// sorted reports whether v is a vector that bytes can hold.
func (v Vector) sorted() bool {
	for i, d := range v {
		if d.Stamp == 0 || d.Stamp > MaxStamp || !d.Actor.Region().Valid() || i > 0 && v[i-1].Actor >= d.Actor {
			return false
		}
	}
	return true
}

// Equal reports whether v and w have heard the same.
func (v Vector) Equal(w Vector) bool { return slices.Equal(v, w) }

func byActor(d Dot, a Actor) int { return cmp.Compare(d.Actor, a) }

// MaxTokenDots bounds a Token. A browser that wrote in more Regions than this
// before any of them had told the others loses sight of its oldest write.
const MaxTokenDots = 4

// A Token is what a client has seen of a session: the last write it knows of
// for each actor, until that is known to be everywhere, and a floor that its
// next write must be above. It is a value and is carried in a cookie.
type Token struct {
	floor Stamp
	n     uint8
	dots  [MaxTokenDots]Dot
}

// With returns t having seen d. At MaxTokenDots the oldest dot goes; the floor
// stays above it.
func (t Token) With(d Dot) Token {
	if d.IsZero() {
		return t
	}
	t.floor = max(t.floor, d.Stamp)
	oldest := 0
	for i := range int(t.n) {
		if t.dots[i].Actor == d.Actor {
			t.dots[i].Stamp = max(t.dots[i].Stamp, d.Stamp)
			return t
		}
		if t.dots[i].Before(t.dots[oldest]) {
			oldest = i
		}
	}
	switch {
	case t.n < MaxTokenDots:
		t.dots[t.n] = d
		t.n++
	case t.dots[oldest].Before(d):
		t.dots[oldest] = d
	}
	// Sorted, so that equal tokens are equal values and equal bytes.
	slices.SortFunc(t.dots[:t.n], func(a, b Dot) int { return cmp.Compare(a.Actor, b.Actor) })
	return t
}

// WithFloor returns t with a floor of s or above.
func (t Token) WithFloor(s Stamp) Token {
	t.floor = max(t.floor, s)
	return t
}

// Join returns a token that has seen what t and u have.
func (t Token) Join(u Token) Token {
	for _, d := range u.dots[:u.n] {
		t = t.With(d)
	}
	return t.WithFloor(u.floor)
}

// Floor returns the stamp that the client's next write must be above.
func (t Token) Floor() Stamp { return t.floor }

// Len returns the number of dots in t.
func (t Token) Len() int { return int(t.n) }

// Dots returns the writes that t has seen, in a slice of the caller's own.
func (t Token) Dots() []Dot { return slices.Clone(t.dots[:t.n]) }

// FreshIn reports whether a record that has heard v shows all that t has seen.
// Only a comparison per actor can tell: by highest stamp alone, a newer write
// from a third Region hides one that is missing.
func (t Token) FreshIn(v Vector) bool {
	for _, d := range t.dots[:t.n] {
		if !v.Has(d) {
			return false
		}
	}
	return true
}

// Missing returns the dots of t that v has not heard.
func (t Token) Missing(v Vector) []Dot {
	var out []Dot
	for _, d := range t.dots[:t.n] {
		if !v.Has(d) {
			out = append(out, d)
		}
	}
	return out
}

// Prune returns t without the dots for which known answers true, because they
// are everywhere or lost for good. The floor stays.
func (t Token) Prune(known func(Dot) bool) Token {
	out := Token{floor: t.floor}
	for _, d := range t.dots[:t.n] {
		if !known(d) {
			out.dots[out.n] = d
			out.n++
		}
	}
	return out
}
