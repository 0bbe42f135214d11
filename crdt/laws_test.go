package crdt_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/roam-sessions/roam/crdt"
)

// three draws three states of one record.
func three(t *rapid.T) (a, b, c crdt.Record) {
	gen := genSession()
	if rapid.IntRange(0, 3).Draw(t, "user record") == 0 {
		gen = genUser()
	}
	return gen.Draw(t, "a"), gen.Draw(t, "b"), gen.Draw(t, "c")
}

func TestJoinLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := three(t)
		before := encode(a)
		sameRecord(t, "Join(a, a), want a", crdt.Join(a, a), a)
		sameRecord(t, "Join(b, a), want Join(a, b)", crdt.Join(b, a), crdt.Join(a, b))
		sameRecord(t, "a(bc), want (ab)c", crdt.Join(a, crdt.Join(b, c)), crdt.Join(crdt.Join(a, b), c))
		sameRecord(t, "Join(a, bottom), want a", crdt.Join(a, crdt.Record{Key: a.Key}), a)
		sameRecord(t, "Join(bottom, a), want a", crdt.Join(crdt.Record{Key: a.Key}, a), a)
		ab := crdt.Join(a, b)
		sameRecord(t, "a joined again into ab, want ab", crdt.Join(ab, a), ab)
		// Monotone: a <= ab, so ac <= abc.
		abc := crdt.Join(ab, c)
		sameRecord(t, "ac joined into abc, want abc", crdt.Join(abc, crdt.Join(a, c)), abc)
		if !ab.VV.Covers(a.VV) && !ab.Dead {
			t.Fatalf("Join(a, b).VV = %v does not cover a's %v", ab.VV, a.VV)
		}
		if string(before) != string(encode(a)) {
			t.Fatalf("Join changed its argument: %+v", a)
		}
	})
}

func TestDeathAbsorbs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := genSession().Draw(t, "a")
		dead := crdt.Record{Key: a.Key, Dead: true}
		sameRecord(t, "Join(a, dead)", crdt.Join(a, dead), dead)
		sameRecord(t, "Join(dead, a)", crdt.Join(dead, a), dead)
	})
}

// R4: two users in one record is somebody in somebody else's session.
func TestTwoUsersAreDead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := genSession().Draw(t, "a"), genSession().Draw(t, "b"), genSession().Draw(t, "c")
		a.User, b.User, a.Dead, b.Dead = "ann", "bob", false, false
		for _, got := range []crdt.Record{
			crdt.Join(a, b), crdt.Join(b, a), crdt.Join(crdt.Join(a, c), b), crdt.Join(crdt.Join(c, b), a),
		} {
			sameRecord(t, "ann's joined with bob's", got, crdt.Record{Key: a.Key, Dead: true})
		}
	})
}

// R4: of several births the least dot stays, whatever arrives first.
func TestBornIsTheLeast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		births := rapid.SliceOfN(genBorn().Filter(func(b crdt.Born) bool { return !b.Dot.IsZero() }), 1, 5).Draw(t, "births")
		got, least := crdt.Record{Key: sessionKey()}, births[0].Dot
		for _, b := range births {
			got = crdt.Join(got, crdt.Record{Key: sessionKey(), Born: b})
			if b.Dot.Before(least) {
				least = b.Dot
			}
		}
		if got.Born.Dot != least {
			t.Fatalf("born of %v = %v, want %v", births, got.Born.Dot, least)
		}
	})
}

// The higher generation wins whole. Within one, the later dot wins and epochs
// are the least of both, so that neither login hides what the other missed.
func TestAuthJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		some := genAuth().Filter(func(a crdt.Auth) bool { return !a.Dot.IsZero() })
		a, b := some.Draw(t, "a"), some.Draw(t, "b")
		got := crdt.Join(crdt.Record{Key: sessionKey(), Auth: a}, crdt.Record{Key: sessionKey(), Auth: b}).Auth
		low, high := a, b
		if a.Gen > b.Gen || a.Gen == b.Gen && b.Dot.Before(a.Dot) {
			low, high = b, a
		}
		if got.Gen != high.Gen || got.Dot != high.Dot {
			t.Fatalf("auth = gen %d %v, want gen %d %v", got.Gen, got.Dot, high.Gen, high.Dot)
		}
		want := high.Epochs
		if low.Gen == high.Gen {
			want = high.Epochs.Meet(low.Epochs)
		}
		if !got.Epochs.Equal(want) {
			t.Fatalf("epochs = %v, want %v", got.Epochs, want)
		}
	})
}

func TestFieldsAreLastWriterWins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genSession().Draw(t, "a"), genSession().Draw(t, "b")
		a.Dead, b.Dead, a.User, b.User = false, false, "", ""
		got := crdt.Join(a, b)
		for i, f := range got.Fields {
			if i > 0 && got.Fields[i-1].Name >= f.Name {
				t.Fatalf("fields %q then %q, want them sorted and once", got.Fields[i-1].Name, f.Name)
			}
			for _, in := range append(append([]crdt.Field(nil), a.Fields...), b.Fields...) {
				if in.Name == f.Name && f.Dot.Before(in.Dot) {
					t.Fatalf("field %q has %v, want %v or later", f.Name, f.Dot, in.Dot)
				}
			}
		}
		if got.Touch != max(a.Touch, b.Touch) {
			t.Fatalf("touch = %v, want the later of %v and %v", got.Touch, a.Touch, b.Touch)
		}
		if a.Abs != 0 && got.Abs > a.Abs || got.Abs == 0 && b.Abs != 0 {
			t.Fatalf("abs = %v, want the least set of %v and %v", got.Abs, a.Abs, b.Abs)
		}
	})
}
