package crdt_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// large returns a session that was joined from several Regions beyond n fields
// or n bytes.
func large(r crdt.Record, fields, valueBytes int) crdt.Record {
	more := crdt.Record{Key: r.Key}
	for i := range fields {
		more.Fields = append(more.Fields, crdt.Field{
			Name: fmt.Sprintf(".%05d", i), Dot: dot(actor(2, 1), 1), Value: bytes.Repeat([]byte{'v'}, valueBytes),
		})
	}
	return crdt.Join(r, more)
}

// A refusal is an operation that Apply must refuse, leaving the record as it is.
type refusal struct {
	name string
	rec  crdt.Record
	op   crdt.Op
	now  crdt.Time // 0: that of here
	want error
}

func (c refusal) test(t *testing.T) {
	at, before := here(), encode(c.rec)
	if c.now != 0 {
		at.Now = c.now
	}
	out, f, err := crdt.Apply(c.rec, c.op, at)
	if !errors.Is(err, c.want) {
		t.Fatalf("Apply = %v, want %v", err, c.want)
	}
	if !f.Dot.IsZero() || !f.Effect.Key.IsZero() {
		t.Errorf("Apply left the fragment %+v, want none", f)
	}
	if !bytes.Equal(encode(out), before) || !bytes.Equal(encode(c.rec), before) {
		t.Errorf("Apply changed the record to %+v, want %+v", out, c.rec)
	}
}

// What the record itself does not allow.
func TestApplyRefusesByTheRecord(t *testing.T) {
	none := crdt.Record{Key: sessionKey()}
	live, _ := born(t, actor(1, 1), 30*time.Minute)
	anns, _ := must(t, live, login(here().Now.Stamp(), "ann"), here())
	dead := crdt.Record{Key: sessionKey(), Dead: true}
	s := here().Now.Stamp()
	other := birth(start, 0)
	other.Auth = &crdt.Auth{Cur: secret(7)}
	for _, c := range []refusal{
		{"put on nothing", none, put(s, "a", "1"), 0, crdt.ErrAbsent},
		{"touch on nothing", none, crdt.Op{Touch: true}, 0, crdt.ErrAbsent},
		{"nothing on nothing", none, crdt.Op{}, 0, crdt.ErrAbsent},
		{"login on nothing", none, login(s, "ann"), 0, crdt.ErrAbsent},
		{"put on a copy without birth", crdt.Record{Key: none.Key, VV: live.VV, Auth: live.Auth}, put(s, "a", "1"), 0, crdt.ErrAbsent},
		{"put on dead", dead, put(s, "a", "1"), 0, crdt.ErrDead},
		{"birth on dead", dead, birth(start, 0), 0, crdt.ErrDead},
		{"live adopted into dead", dead, crdt.Op{Adopt: &live}, 0, crdt.ErrDead},
		{"put after idle", live, put(s, "a", "1"), start.Add(30 * time.Minute), crdt.ErrExpired},
		{"touch after idle", live, crdt.Op{Touch: true}, start.Add(30 * time.Minute), crdt.ErrExpired},
		{"put after deadline", live, put(s, "a", "1"), start.Add(lifetime), crdt.ErrExpired},
		{"birth after deadline", none, birth(start, 0), start.Add(lifetime), crdt.ErrExpired},
		{"birth by somebody else", live, other, 0, crdt.ErrExists},
		{"login as another", anns, login(s+1, "bob"), 0, crdt.ErrOtherUser},
	} {
		t.Run(c.name, c.test)
	}
}

// What is too large, too long or too far ahead.
func TestApplyRefusesByLimits(t *testing.T) {
	none := crdt.Record{Key: sessionKey()}
	live, _ := born(t, actor(1, 1), 30*time.Minute)
	s := here().Now.Stamp()
	long := strings.Repeat("n", crdt.MaxFieldName)
	change := func(cs ...crdt.Change) crdt.Op { return crdt.Op{ID: 9, Stamp: s, Changes: cs} }
	sidOf := func(end crdt.Time) crdt.Record {
		return crdt.Record{Key: crdt.SessionKey(crdt.NewSessionID(end, 1, crdt.IDEntropy{3}))}
	}
	for _, c := range []refusal{
		{"put 60 s ahead and more", live, put(here().Now.Add(60*time.Second).Stamp()+1, "a", "1"), 0, crdt.ErrAhead},
		{"login a year ahead", live, login(here().Now.Add(8760*time.Hour).Stamp(), "ann"), 0, crdt.ErrAhead},
		{"field name too long", live, change(crdt.Put(long, nil)), 0, crdt.ErrLimit},
		{"element name too long", live, change(crdt.Mark("set", long)), 0, crdt.ErrLimit},
		{"counter name too long with its actor", live, change(crdt.Add(long[:252], 1)), 0, crdt.ErrLimit},
		{"value too long", live, change(crdt.Put("a", make([]byte, crdt.MaxValueBytes+1))), 0, crdt.ErrLimit},
		{"user name too long", live, login(s, strings.Repeat("u", crdt.MaxUserBytes+1)), 0, crdt.ErrLimit},
		{"one field too many", large(live, crdt.MaxFields, 0), change(crdt.Put("a", nil)), 0, crdt.ErrLimit},
		{"one byte too many", large(live, 256, 1018), change(crdt.Put("a", nil)), 0, crdt.ErrLimit},
		{"grows when too large", large(live, 5000, 100), change(crdt.Put("00000", make([]byte, 101))), 0, crdt.ErrLimit},
		{"idle time below zero", none, birth(start, -time.Second), 0, crdt.ErrLimit},
		{"idle time too long", none, birth(start, crdt.MaxLifetime+time.Second), 0, crdt.ErrLimit},
		{"idle time that bytes can't say", none, birth(start, 500*time.Microsecond), 0, crdt.ErrLimit},
		{"lifetime beyond the longest", sidOf(start.Add(crdt.MaxLifetime + 3*time.Second)), birth(start, 0), 0, crdt.ErrLimit},
	} {
		t.Run(c.name, c.test)
	}
}

// What makes no sense for any record.
func TestApplyRefusesNonsense(t *testing.T) {
	none := crdt.Record{Key: sessionKey()}
	live, _ := born(t, actor(1, 1), 30*time.Minute)
	user := crdt.Record{Key: crdt.UserKey("ann")}
	s := here().Now.Stamp()
	change := func(cs ...crdt.Change) crdt.Op { return crdt.Op{ID: 9, Stamp: s, Changes: cs} }
	for _, c := range []refusal{
		{"addition without an ID", live, crdt.Op{Stamp: s, Changes: []crdt.Change{crdt.Add("n", 1)}}, 0, crdt.ErrOp},
		{"one field twice", live, change(crdt.Put("a", nil), crdt.Delete("a")), 0, crdt.ErrOp},
		{"one counter twice", live, change(crdt.Add("n", 1), crdt.Add("n", 1)), 0, crdt.ErrOp},
		{"field without a name", live, change(crdt.Put("", nil)), 0, crdt.ErrOp},
		{"set without a name", live, change(crdt.Mark("", "e")), 0, crdt.ErrOp},
		{"zero change", live, change(crdt.Change{}), 0, crdt.ErrOp},
		{"zero byte in a field name", live, change(crdt.Put("a\x00b", nil)), 0, crdt.ErrOp},
		{"zero byte in a counter name", live, change(crdt.Add("a\x00b", 1)), 0, crdt.ErrOp},
		{"zero byte in a set name", live, change(crdt.Mark("a\x00b", "e")), 0, crdt.ErrOp},
		{"zero byte in a set name, taking out", live, change(crdt.Unmark("a\x00b", "e")), 0, crdt.ErrOp},
		{"put without a stamp", live, put(0, "a", "1"), 0, crdt.ErrOp},
		{"login without a stamp", live, login(0, "ann"), 0, crdt.ErrOp},
		{"birth without a secret", none, crdt.Op{Stamp: s, Birth: &crdt.Birth{}}, 0, crdt.ErrOp},
		{"user without a secret", live, crdt.Op{Stamp: s, User: "ann"}, 0, crdt.ErrOp},
		{"hash of the secret is zero", live, crdt.Op{Stamp: s, Auth: &crdt.Auth{}}, 0, crdt.ErrOp},
		{"epochs out of order", live, crdt.Op{Stamp: s, Auth: &crdt.Auth{Cur: secret(2), Epochs: crdt.Vector{dot(actor(2, 1), 1), dot(actor(1, 1), 1)}}}, 0, crdt.ErrOp},
		{"revoke of a session", live, crdt.Op{Revoke: true}, 0, crdt.ErrOp},
		{"index in a session", live, change(crdt.Index(none.Key.SessionID(), nil)), 0, crdt.ErrOp},
		{"put in a user", user, put(s, "a", "1"), 0, crdt.ErrOp},
		{"destroy of a user", user, crdt.Op{Destroy: true}, 0, crdt.ErrOp},
		{"touch of a user", user, crdt.Op{Touch: true}, 0, crdt.ErrOp},
		{"birth of a user", user, birth(start, 0), 0, crdt.ErrOp},
		{"adopts another record", live, crdt.Op{Adopt: &user}, 0, crdt.ErrOp},
		{"adopts a session into a user", user, crdt.Op{Adopt: &crdt.Record{Key: user.Key, User: "ann"}}, 0, crdt.ErrOp},
		{"adopts death into a user", user, crdt.Op{Adopt: &crdt.Record{Key: user.Key, Dead: true}}, 0, crdt.ErrOp},
	} {
		t.Run(c.name, c.test)
	}
}

// Whatever else is wrong, an ending goes through.
func TestEndingsAreNotRefused(t *testing.T) {
	live, _ := born(t, actor(1, 1), time.Minute)
	none := crdt.Record{Key: sessionKey()}
	big := large(live, 2*crdt.MaxFields, 1000)
	atEnd := crdt.Join(live, crdt.Record{Key: live.Key, VV: crdt.Vector{dot(here().Actor, crdt.MaxStamp)}})
	bad := crdt.Op{Destroy: true, Stamp: 1<<64 - 1, Changes: []crdt.Change{crdt.Put("", nil), crdt.Add("n", 1)}}
	for _, c := range []struct {
		name string
		rec  crdt.Record
		op   crdt.Op
		now  crdt.Time
	}{
		{"live", live, crdt.Op{Destroy: true}, start},
		{"never heard of here", none, crdt.Op{Destroy: true}, start},
		{"idle", live, crdt.Op{Destroy: true}, start.Add(time.Hour)},
		{"too large", big, crdt.Op{Destroy: true}, start},
		{"at the deadline", live, crdt.Op{Destroy: true}, start.Add(lifetime)},
		{"while some clock may still show it", live, crdt.Op{Destroy: true}, start.Add(lifetime + 119*time.Second)},
		{"stamp and changes are nonsense", live, bad, start},
		{"the last stamp has been used", atEnd, crdt.Op{Destroy: true}, start},
		{"adopting death", live, crdt.Op{Adopt: &crdt.Record{Key: live.Key, Dead: true}}, start},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, f, err := crdt.Apply(c.rec, c.op, crdt.Origin{Actor: here().Actor, Now: c.now})
			if err != nil || !out.Dead || !f.Effect.Dead || f.Dot.IsZero() {
				t.Fatalf("Apply = dead %v, fragment %+v, %v, want it dead", out.Dead, f, err)
			}
			if _, err := crdt.DecodeFragment(crdt.AppendFragment(nil, f)); err != nil {
				t.Errorf("a peer can't read the fragment: %v", err)
			}
			again, f, err := crdt.Apply(out, c.op, crdt.Origin{Actor: here().Actor, Now: c.now})
			if err != nil || !again.Dead || !f.Dot.IsZero() {
				t.Errorf("again: Apply = %+v, %v, want nothing to do", f, err)
			}
		})
	}
	_, f, err := crdt.Apply(none, crdt.Op{Destroy: true}, crdt.Origin{Actor: here().Actor, Now: start.Add(lifetime + 120*time.Second)})
	if err != nil || !f.Dot.IsZero() {
		t.Errorf("destroy once every clock is past the deadline = %+v, %v, want nothing to do", f, err)
	}
}

func TestRevocationIsNotRefused(t *testing.T) {
	user := large(crdt.Record{Key: crdt.UserKey("ann")}, 0, 0)
	for i := range crdt.MaxFields + 1 {
		id := crdt.NewSessionID(start.Add(lifetime), 1, crdt.IDEntropy{2: byte(i), 3: byte(i >> 8)})
		user = crdt.Join(user, crdt.Record{Key: user.Key, Fields: []crdt.Field{{Name: "@" + string(id[:]), Dot: dot(actor(2, 1), 1)}}})
	}
	unindex := crdt.Unindex(user.Sessions()[0])
	for _, op := range []crdt.Op{
		{Revoke: true},
		{Revoke: true, Stamp: 1<<64 - 1},
		{Revoke: true, Stamp: start.Stamp(), Changes: []crdt.Change{unindex}},
	} {
		out, f := must(t, user, op, here())
		if !out.Epochs().Has(f.Dot) || f.Dot.Stamp > crdt.MaxStamp {
			t.Errorf("epochs = %v, want them to have %v", out.Epochs(), f.Dot)
		}
	}
}

// What was joined from several Regions can be larger than one could write; it
// must still be possible to make it smaller.
func TestTooLargeMayShrink(t *testing.T) {
	live, _ := born(t, actor(1, 1), 0)
	big := large(live, 2*crdt.MaxFields, 1000)
	s := here().Now.Stamp()
	for what, c := range map[string]crdt.Change{
		"delete":        crdt.Delete("00000"),
		"shorter value": crdt.Put("00000", []byte("x")),
	} {
		if _, _, err := crdt.Apply(big, crdt.Op{Stamp: s, Changes: []crdt.Change{c}}, here()); err != nil {
			t.Errorf("%s in a record too large = %v, want no error", what, err)
		}
	}
	for what, op := range map[string]crdt.Op{
		"login":  login(s, "ann"),
		"adopts": {Adopt: &big},
	} {
		if _, _, err := crdt.Apply(big, op, here()); err != nil {
			t.Errorf("%s in a record too large = %v, want no error", what, err)
		}
	}
}

func TestLimitsCanBeReached(t *testing.T) {
	live, _ := born(t, actor(1, 1), 0)
	s := here().Now.Stamp()
	for what, c := range map[string]crdt.Change{
		"longest name":         crdt.Put(strings.Repeat("n", crdt.MaxFieldName-1), nil),
		"longest counter name": crdt.Add(strings.Repeat("n", crdt.MaxFieldName-5), 1),
		"longest value":        crdt.Put("a", make([]byte, crdt.MaxValueBytes)),
		"empty element":        crdt.Mark("s", ""),
		"zero byte in element": crdt.Mark("s", "a\x00b"),
	} {
		out, f := must(t, live, crdt.Op{ID: 1, Stamp: s, Changes: []crdt.Change{c}}, here())
		back, err := crdt.DecodeRecord(encode(out))
		if err != nil {
			t.Fatalf("%s: can't be read back: %v", what, err)
		}
		sameRecord(t, what, back, out)
		if _, err := crdt.DecodeFragment(crdt.AppendFragment(nil, f)); err != nil {
			t.Errorf("%s: fragment can't be read back: %v", what, err)
		}
	}
	end := start.Add(crdt.MaxLifetime)
	longest := crdt.Record{Key: crdt.SessionKey(crdt.NewSessionID(end, 1, crdt.IDEntropy{3}))}
	must(t, longest, birth(start, crdt.MaxLifetime), crdt.Origin{Actor: here().Actor, Now: start})
	must(t, live, put(here().Now.Add(60*time.Second).Stamp(), "a", "1"), here())
}

func TestNothingToDo(t *testing.T) {
	live, _ := born(t, actor(1, 1), 30*time.Minute)
	for what, op := range map[string]crdt.Op{"empty": {}, "touch too soon": {Touch: true}, "a stamp alone": {Stamp: here().Now.Stamp()}} {
		out, f := must(t, live, op, here())
		if !f.Dot.IsZero() {
			t.Errorf("%s: fragment %+v, want none", what, f)
		}
		sameRecord(t, what, out, live)
	}
}
