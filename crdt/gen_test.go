package crdt_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/roam-sessions/roam/crdt"
)

// start is a moment that all tests count from.
const start crdt.Time = 90_000_000_000

// lifetime is that of a test's session.
const lifetime = 12 * time.Hour

func sessionKey() crdt.Key {
	return crdt.SessionKey(crdt.NewSessionID(start.Add(lifetime), 1, crdt.IDEntropy{7, 7, 1, 2, 3, 4, 5, 6, 7, 8, 9}))
}

func actor(region crdt.Region, incarnation uint32) crdt.Actor {
	return crdt.NewActor(region, incarnation)
}

func dot(a crdt.Actor, s crdt.Stamp) crdt.Dot { return crdt.Dot{Actor: a, Stamp: s} }

func secret(b byte) crdt.Hash { return crdt.Hash{b, 1: 0xaa} }

// The generators draw from few values, so that equal keys, equal dots with
// different content and equal generations with different epochs are common.

func genActor() *rapid.Generator[crdt.Actor] {
	return rapid.Custom(func(t *rapid.T) crdt.Actor {
		if rapid.IntRange(0, 9).Draw(t, "any actor") == 0 {
			return actor(crdt.Region(rapid.IntRange(1, 15).Draw(t, "region")), rapid.Uint32().Draw(t, "incarnation"))
		}
		return actor(crdt.Region(rapid.IntRange(1, 3).Draw(t, "region")), uint32(rapid.IntRange(0, 1).Draw(t, "incarnation")))
	})
}

func genStamp() *rapid.Generator[crdt.Stamp] {
	return rapid.Custom(func(t *rapid.T) crdt.Stamp {
		if rapid.IntRange(0, 9).Draw(t, "any stamp") == 0 {
			return crdt.Stamp(rapid.Uint64Range(1, uint64(crdt.MaxStamp)).Draw(t, "stamp"))
		}
		return crdt.Stamp(rapid.IntRange(1, 5).Draw(t, "stamp"))
	})
}

func genDot() *rapid.Generator[crdt.Dot] {
	return rapid.Custom(func(t *rapid.T) crdt.Dot { return dot(genActor().Draw(t, "actor"), genStamp().Draw(t, "stamp")) })
}

func genTime() *rapid.Generator[crdt.Time] {
	return rapid.OneOf(
		rapid.Map(rapid.Int64Range(0, 4), func(n int64) crdt.Time { return crdt.Time(n) }),
		rapid.Map(rapid.Int64Range(0, 1<<48-1), func(n int64) crdt.Time { return crdt.Time(n) }),
	)
}

func genVector() *rapid.Generator[crdt.Vector] {
	return rapid.Map(rapid.SliceOfN(genDot(), 0, 4), func(ds []crdt.Dot) crdt.Vector {
		var v crdt.Vector
		for _, d := range ds {
			v = v.With(d)
		}
		return v
	})
}

func genHash() *rapid.Generator[crdt.Hash] {
	return rapid.Map(rapid.IntRange(0, 3), func(n int) crdt.Hash { return crdt.Hash{byte(n)} })
}

func genAuth() *rapid.Generator[crdt.Auth] {
	return rapid.Custom(func(t *rapid.T) crdt.Auth {
		if rapid.IntRange(0, 3).Draw(t, "no auth") == 0 {
			return crdt.Auth{}
		}
		return crdt.Auth{
			Gen: uint32(rapid.IntRange(0, 2).Draw(t, "gen")), Dot: genDot().Draw(t, "auth dot"),
			Cur: genHash().Draw(t, "cur"), Prev: genHash().Draw(t, "prev"),
			Grace: genTime().Draw(t, "grace"), At: genTime().Draw(t, "at"), Epochs: genVector().Draw(t, "epochs"),
		}
	})
}

func genBorn() *rapid.Generator[crdt.Born] {
	return rapid.Custom(func(t *rapid.T) crdt.Born {
		if rapid.IntRange(0, 2).Draw(t, "not born") == 0 {
			return crdt.Born{}
		}
		return crdt.Born{
			Dot: genDot().Draw(t, "born dot"), Created: genTime().Draw(t, "created"),
			Idle: time.Duration(rapid.IntRange(0, 2).Draw(t, "idle")) * time.Second,
		}
	})
}

func genFields(names []string) *rapid.Generator[[]crdt.Field] {
	return rapid.Custom(func(t *rapid.T) []crdt.Field {
		var out []crdt.Field
		for _, n := range names {
			if rapid.Bool().Draw(t, "has "+n) {
				out = append(out, crdt.Field{
					Name: n, Dot: genDot().Draw(t, "field dot"), Gone: rapid.Bool().Draw(t, "gone"),
					Value: rapid.SliceOfN(rapid.ByteRange('x', 'z'), 0, 2).Draw(t, "value"),
				})
			}
		}
		slices.SortFunc(out, func(a, b crdt.Field) int { return strings.Compare(a.Name, b.Name) })
		return out
	})
}

// genSession draws any state of one session, far beyond what Apply can make.
func genSession() *rapid.Generator[crdt.Record] {
	return rapid.Custom(func(t *rapid.T) crdt.Record {
		if rapid.IntRange(0, 15).Draw(t, "dead") == 0 {
			return crdt.Record{Key: sessionKey(), Dead: true}
		}
		return crdt.Record{
			Key: sessionKey(), Born: genBorn().Draw(t, "born"), Abs: genTime().Draw(t, "abs"),
			Touch: genTime().Draw(t, "touch"), Auth: genAuth().Draw(t, "auth"), VV: genVector().Draw(t, "vv"),
			User:   rapid.SampledFrom([]string{"", "", "", "ann", "ann", "bob"}).Draw(t, "user"),
			Fields: genFields([]string{".a", ".b", "#n\x00\x10\x00\x00", "&s\x00e"}).Draw(t, "fields"),
		}
	})
}

// genUser draws any state of one user's record.
func genUser() *rapid.Generator[crdt.Record] {
	return rapid.Custom(func(t *rapid.T) crdt.Record {
		id := string(sessionKey().Name())
		return crdt.Record{
			Key: crdt.UserKey("ann"), VV: genVector().Draw(t, "vv"),
			Fields: genFields([]string{"!\x10\x00\x00", "!\x20\x00\x01", "@" + id}).Draw(t, "fields"),
		}
	})
}

func genRecord() *rapid.Generator[crdt.Record] {
	return rapid.OneOf(genSession(), genSession(), genUser())
}

// encode is how tests compare records: equal records have equal bytes.
func encode(r crdt.Record) []byte { return crdt.AppendRecord(nil, r) }

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func sameRecord(t fataler, what string, got, want crdt.Record) {
	t.Helper()
	if !bytes.Equal(encode(got), encode(want)) {
		t.Fatalf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// A node is one replica of one record with an actor and a clock of its own.
type node struct {
	actor crdt.Actor
	skew  time.Duration
	rec   crdt.Record
}

func (n *node) at(now crdt.Time) crdt.Origin {
	return crdt.Origin{Actor: n.actor, Now: now.Add(n.skew)}
}

func (n *node) apply(now crdt.Time, op crdt.Op) (crdt.Fragment, error) {
	r, f, err := crdt.Apply(n.rec, op, n.at(now))
	n.rec = r
	return f, err
}

// must applies op where it can't be refused.
func must(t testing.TB, r crdt.Record, op crdt.Op, at crdt.Origin) (crdt.Record, crdt.Fragment) {
	t.Helper()
	out, f, err := crdt.Apply(r, op, at)
	if err != nil {
		t.Fatalf("Apply(%+v, %+v) = %v, want no error", r, op, err)
	}
	return out, f
}

func birth(at crdt.Time, idle time.Duration) crdt.Op {
	return crdt.Op{
		ID: 1, Stamp: at.Stamp(), Birth: &crdt.Birth{Idle: idle},
		Auth: &crdt.Auth{Cur: secret(1), At: at},
	}
}

// born returns a session that a gave birth to at start.
func born(t testing.TB, a crdt.Actor, idle time.Duration) (crdt.Record, crdt.Fragment) {
	t.Helper()
	return must(t, crdt.Record{Key: sessionKey()}, birth(start, idle), crdt.Origin{Actor: a, Now: start})
}

func put(s crdt.Stamp, name, value string) crdt.Op {
	return crdt.Op{ID: uint64(s), Stamp: s, Changes: []crdt.Change{crdt.Put(name, []byte(value))}}
}

func value(r crdt.Record, name string) string {
	v, ok := r.Value(name)
	if !ok {
		return "(none)"
	}
	return string(v)
}

// here is where and when most tests write.
func here() crdt.Origin { return crdt.Origin{Actor: actor(1, 1), Now: start.Add(time.Second)} }

func login(s crdt.Stamp, user string) crdt.Op {
	return crdt.Op{Stamp: s, User: user, Auth: &crdt.Auth{Gen: 1, Cur: secret(2)}}
}
