package crdt_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/roam-sessions/roam/crdt"
)

func TestVectorLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := genVector().Draw(t, "a"), genVector().Draw(t, "b"), genVector().Draw(t, "c")
		join, meet := a.Join(b), a.Meet(b)
		for what, ok := range map[string]bool{
			"a join a = a":           a.Join(a).Equal(a),
			"a meet a = a":           a.Meet(a).Equal(a),
			"join commutes":          join.Equal(b.Join(a)),
			"meet commutes":          meet.Equal(b.Meet(a)),
			"join associates":        join.Join(c).Equal(a.Join(b.Join(c))),
			"meet associates":        meet.Meet(c).Equal(a.Meet(b.Meet(c))),
			"join over meet":         a.Join(meet).Equal(a),
			"meet over join":         a.Meet(join).Equal(a),
			"join covers":            join.Covers(a) && join.Covers(b),
			"meet is covered":        a.Covers(meet) && b.Covers(meet),
			"join is the least":      !c.Covers(a) || !c.Covers(b) || c.Covers(join),
			"meet is the greatest":   !a.Covers(c) || !b.Covers(c) || meet.Covers(c),
			"covers both ways":       !a.Covers(b) || !b.Covers(a) || a.Equal(b),
			"covers is join":         a.Covers(b) == join.Equal(a),
			"bottom":                 a.Join(nil).Equal(a) && len(a.Meet(nil)) == 0 && a.Covers(nil),
			"max of join":            join.Max() == max(a.Max(), b.Max()),
			"sorted, one an actor":   slices.IsSortedFunc(join, func(x, y crdt.Dot) int { return int(x.Actor) - int(y.Actor) }),
			"has what it was given":  !slices.ContainsFunc(a, func(d crdt.Dot) bool { return !join.Has(d) }),
			"with does as join does": len(b) == 0 || a.With(b[0]).Equal(a.Join(crdt.Vector{b[0]})),
		} {
			if !ok {
				t.Fatalf("%s: not so for a=%v b=%v c=%v", what, a, b, c)
			}
		}
	})
}

func TestVectorIsNotChangedInPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, d := genVector().Draw(t, "a"), genDot().Draw(t, "d")
		roomy := append(make(crdt.Vector, 0, len(a)+8), a...)
		roomy.With(d)
		roomy.Join(crdt.Vector{d})
		roomy.Meet(crdt.Vector{d})
		if !roomy.Equal(a) {
			t.Fatalf("vector became %v, want %v as before", roomy, a)
		}
	})
}

// wantDots is the model of a token: the last dot of each actor, the four latest.
func wantDots(seen []crdt.Dot) []crdt.Dot {
	last := map[crdt.Actor]crdt.Stamp{}
	for _, d := range seen {
		last[d.Actor] = max(last[d.Actor], d.Stamp)
	}
	var out []crdt.Dot
	for a, s := range last {
		out = append(out, dot(a, s))
	}
	slices.SortFunc(out, func(a, b crdt.Dot) int {
		if a.Before(b) {
			return 1
		}
		return -1
	})
	out = out[:min(len(out), crdt.MaxTokenDots)]
	slices.SortFunc(out, func(a, b crdt.Dot) int { return int(a.Actor) - int(b.Actor) })
	return out
}

func token(seen []crdt.Dot) (tok crdt.Token) {
	for _, d := range seen {
		tok = tok.With(d)
	}
	return tok
}

func TestToken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seen := rapid.SliceOfN(genDot(), 0, 12).Draw(t, "seen")
		more := rapid.SliceOfN(genDot(), 0, 12).Draw(t, "more")
		var tok crdt.Token
		for _, d := range seen {
			next := tok.With(d)
			if next.Floor() < tok.Floor() || next.Floor() < d.Stamp {
				t.Fatalf("floor after With(%v) = %v, was %v", d, next.Floor(), tok.Floor())
			}
			tok = next
		}
		if got, want := tok.Dots(), wantDots(seen); !slices.Equal(got, want) {
			t.Fatalf("dots of %v = %v, want %v", seen, got, want)
		}
		other := token(more)
		if got, want := tok.Join(other), token(append(slices.Clone(seen), more...)); got != want {
			t.Fatalf("Join = %v, want the token that saw all: %v", got, want)
		}
		if tok.Join(other) != other.Join(tok) || tok.Join(tok) != tok {
			t.Fatalf("Join of %v and %v does not commute or repeat", tok, other)
		}
		v := genVector().Draw(t, "v")
		missing := slices.DeleteFunc(tok.Dots(), v.Has)
		if tok.FreshIn(v) != (len(missing) == 0) || !slices.Equal(tok.Missing(v), missing) {
			t.Fatalf("FreshIn(%v) = %v, Missing = %v, want missing %v", v, tok.FreshIn(v), tok.Missing(v), missing)
		}
		pruned := tok.Prune(v.Has)
		if !slices.Equal(pruned.Dots(), missing) || pruned.Floor() != tok.Floor() {
			t.Fatalf("Prune = %v floor %v, want %v floor %v", pruned.Dots(), pruned.Floor(), missing, tok.Floor())
		}
	})
}

func TestTokenFloor(t *testing.T) {
	tok := token([]crdt.Dot{dot(actor(1, 1), 9)}).WithFloor(5)
	if got := tok.Floor(); got != 9 {
		t.Errorf("WithFloor(5) after a write at 9: floor = %v, want 9", got)
	}
	if got := tok.WithFloor(12).Floor(); got != 12 {
		t.Errorf("WithFloor(12) = %v, want 12", got)
	}
	if got := tok.With(crdt.Dot{}); got != tok {
		t.Errorf("With(zero dot) = %v, want no change", got)
	}
	dots := tok.Dots()
	dots[0].Stamp = 1
	if tok.Dots()[0].Stamp != 9 {
		t.Errorf("a caller changed the token through Dots")
	}
}
