package crdt_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/roam-sessions/roam/crdt"
)

func genFragment() *rapid.Generator[crdt.Fragment] {
	return rapid.Custom(func(t *rapid.T) crdt.Fragment {
		f := crdt.Fragment{Dot: genDot().Draw(t, "dot"), Effect: genRecord().Draw(t, "effect")}
		f.Prev = crdt.Stamp(rapid.Uint64Range(0, uint64(f.Dot.Stamp)-1).Draw(t, "prev"))
		return f
	})
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := genRecord().Draw(t, "record")
		b := crdt.AppendRecord([]byte("before"), r)[len("before"):]
		back, err := crdt.DecodeRecord(b)
		if err != nil {
			t.Fatalf("DecodeRecord(%x) = %v", b, err)
		}
		sameRecord(t, "record", back, r)
		if back.Digest() != r.Digest() || back.Key != r.Key || back.IsBottom() != r.IsBottom() {
			t.Fatalf("decoded %+v, want %+v", back, r)
		}
		f := genFragment().Draw(t, "fragment")
		b = crdt.AppendFragment(nil, f)
		fback, err := crdt.DecodeFragment(b)
		if err != nil || fback.Dot != f.Dot || fback.Prev != f.Prev || !bytes.Equal(crdt.AppendFragment(nil, fback), b) {
			t.Fatalf("DecodeFragment(%x) = %+v, %v, want %+v", b, fback, err, f)
		}
		d := genDot().Draw(t, "dot")
		if got, err := crdt.DecodeDot(crdt.AppendDot(nil, d)); err != nil || got != d {
			t.Fatalf("DecodeDot of %v = %v, %v", d, got, err)
		}
	})
}

// Whatever Apply makes can be read by a peer and by a later reader.
func TestWhatApplyMakesCanBeRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := genSession().Draw(t, "base")
		adopted := genSession().Draw(t, "adopted")
		// Apply's clock is somewhere in the life of the session.
		now := start.Add(-lifetime)
		op := crdt.Op{ID: rapid.Uint64().Draw(t, "id"), Stamp: genStamp().Draw(t, "stamp"), Touch: rapid.Bool().Draw(t, "touch")}
		if rapid.Bool().Draw(t, "adopts") {
			op.Adopt = &adopted
		}
		if rapid.Bool().Draw(t, "auth") {
			a := genAuth().Draw(t, "op auth")
			op.Auth, op.User = &a, rapid.SampledFrom([]string{"", "ann", "bob"}).Draw(t, "op user")
		}
		if op.Auth != nil && rapid.Bool().Draw(t, "birth") {
			op.Birth = &crdt.Birth{}
		}
		op.Destroy = rapid.IntRange(0, 9).Draw(t, "destroy") == 0
		op.Changes = rapid.SliceOfN(rapid.SampledFrom([]crdt.Change{
			crdt.Put("a", []byte("1")), crdt.Delete("b"), crdt.Add("n", 1), crdt.Mark("s", "e"),
		}), 0, 2).Draw(t, "changes")
		before := encode(base)
		out, f, err := crdt.Apply(base, op, crdt.Origin{Actor: genActor().Draw(t, "actor"), Now: now})
		if !bytes.Equal(encode(base), before) || err != nil && !bytes.Equal(encode(out), before) {
			t.Fatalf("Apply(%+v) = %v changed the record", op, err)
		}
		if err != nil || f.Dot.IsZero() {
			return
		}
		if _, err := crdt.DecodeRecord(encode(out)); err != nil {
			t.Fatalf("the record of Apply(%+v) can't be read: %v", op, err)
		}
		if _, err := crdt.DecodeFragment(crdt.AppendFragment(nil, f)); err != nil {
			t.Fatalf("the fragment of Apply(%+v) can't be read: %v", op, err)
		}
		// What peers hear is what the origin has.
		if got := crdt.Join(base, f.Effect); !bytes.Equal(encode(got), encode(out)) {
			t.Fatalf("Join(before, effect) = %+v, want %+v", got, out)
		}
	})
}

// Bytes that were cut or changed are refused, or they are another record's.
func TestNothingReadsTwoWays(t *testing.T) {
	for _, v := range vectors() {
		b := v.encode()
		for n := range b {
			if _, err := v.recode(b[:n]); !errors.Is(err, crdt.ErrMalformed) {
				t.Errorf("%s cut to %d of %d bytes = %v, want ErrMalformed", v.name, n, len(b), err)
			}
		}
		if _, err := v.recode(append(slices.Clone(b), 0)); !errors.Is(err, crdt.ErrMalformed) {
			t.Errorf("%s with a byte more = %v, want ErrMalformed", v.name, err)
		}
		for i := range b {
			for x := range 255 {
				bad := slices.Clone(b)
				bad[i] ^= byte(x + 1)
				out, err := v.recode(bad)
				if err == nil && !bytes.Equal(out, bad) || err != nil && !errors.Is(err, crdt.ErrMalformed) {
					t.Fatalf("%s with byte %d = %#x reads as %x, %v; want itself or ErrMalformed", v.name, i, bad[i], out, err)
				}
			}
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	user, session := crdt.UserKey("ann"), sessionKey()
	for what, b := range map[string][]byte{
		"a dead user":               encode(crdt.Record{Key: user, Dead: true}),
		"a user's record with User": encode(crdt.Record{Key: user, User: "ann"}),
		"a user's record with Auth": encode(crdt.Record{Key: user, Auth: crdt.Auth{Dot: dot(actor(1, 1), 1)}}),
		"a user's record touched":   encode(crdt.Record{Key: user, Touch: 1}),
		"stamp beyond 53 bits":      encode(crdt.Record{Key: session, VV: crdt.Vector{dot(actor(1, 1), crdt.MaxStamp+1)}}),
		"an actor of no Region":     encode(crdt.Record{Key: session, VV: crdt.Vector{dot(7, 1)}}),
		"vector out of order":       encode(crdt.Record{Key: session, VV: crdt.Vector{dot(actor(2, 1), 1), dot(actor(1, 1), 1)}}),
		"an actor twice":            encode(crdt.Record{Key: session, VV: crdt.Vector{dot(actor(1, 1), 1), dot(actor(1, 1), 2)}}),
		"fields out of order":       encode(crdt.Record{Key: session, Fields: []crdt.Field{{Name: ".b", Dot: dot(actor(1, 1), 1)}, {Name: ".a", Dot: dot(actor(1, 1), 1)}}}),
		"a field twice":             encode(crdt.Record{Key: session, Fields: []crdt.Field{{Name: ".a", Dot: dot(actor(1, 1), 1)}, {Name: ".a", Dot: dot(actor(1, 1), 1)}}}),
		"a field without a name":    encode(crdt.Record{Key: session, Fields: []crdt.Field{{Dot: dot(actor(1, 1), 1)}}}),
		"a field without a dot":     encode(crdt.Record{Key: session, Fields: []crdt.Field{{Name: ".a"}}}),
		"idle beyond MaxLifetime":   encode(crdt.Record{Key: session, Born: crdt.Born{Dot: dot(actor(1, 1), 1), Idle: crdt.MaxLifetime * 2}}),
		"no key":                    encode(crdt.Record{}),
	} {
		if r, err := crdt.DecodeRecord(b); !errors.Is(err, crdt.ErrMalformed) {
			t.Errorf("%s: DecodeRecord = %+v, %v, want ErrMalformed", what, r, err)
		}
	}
	at := dot(actor(1, 1), 5)
	for _, prev := range []crdt.Stamp{5, 6} {
		b := crdt.AppendFragment(nil, crdt.Fragment{Dot: at, Prev: prev, Effect: crdt.Record{Key: session}})
		if f, err := crdt.DecodeFragment(b); !errors.Is(err, crdt.ErrMalformed) {
			t.Errorf("fragment %v after %v: DecodeFragment = %+v, %v, want ErrMalformed", at, prev, f, err)
		}
	}
}

// The digest covers content: copies mended from different places can have one
// vector and differ (R4).
func TestDigestCoversContent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genSession().Draw(t, "a"), genSession().Draw(t, "b")
		b.VV = a.VV
		if same := bytes.Equal(encode(a), encode(b)); same != (a.Digest() == b.Digest()) {
			t.Fatalf("digests of %+v and %+v equal: %v, want %v", a, b, !same, same)
		}
	})
}
