package proof

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// entropy returns what a sealing needs of randomness, of its own for each n.
func entropy(n byte) (e SealEntropy) {
	for i := range e {
		e[i] = n*31 + byte(i)
	}
	return e
}

// testMaker makes writes in Region 1.
func testMaker(now crdt.Time, n byte) Maker {
	m := Maker{Now: now, Here: 1, Lifetime: 24 * time.Hour, Idle: 30 * time.Minute, Seal: entropy(n)}
	m.ID[2], m.Secret[0] = n, n
	return m
}

// stored returns a session of alice's as a store has it, and her credential.
func stored(t testing.TB, changes ...crdt.Change) (crdt.Record, Credential) {
	t.Helper()
	w := Standing{}.Write(Wish{Changes: changes, Login: &Login{User: "alice", At: day}}, testMaker(day, 1))
	w.Op.Stamp, w.Op.ID = day.Stamp(), 7
	rec, f, err := crdt.Apply(crdt.Record{Key: w.Key}, w.Op, crdt.Origin{Actor: crdt.NewActor(3, 5), Now: day})
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	w.Credential.Dot = f.Dot
	return rec, w.Credential
}

const enough = 100_000

// seal seals what a wish comes to for a visit that read a.
func seal(t testing.TB, v Visit, a Answer, w Wish, m Maker) (Sealing, Sealed) {
	t.Helper()
	ring := testRing(t, "first")
	st := v.Judge(a, m.Now).Standing
	if st.State != Live {
		t.Fatalf("session is %v, want live", st.State)
	}
	out, err := st.Seal(st.Write(w, m), m, ring, enough)
	if err != nil {
		t.Fatalf("Seal: %v", err)
	}
	s, err := ring.OpenSealed(out.Value)
	if err != nil {
		t.Fatalf("OpenSealed: %v", err)
	}
	return out, s
}

func change(name string) Wish {
	return Wish{Changes: []crdt.Change{crdt.Put(name, []byte(name)), crdt.Add("n", 1), crdt.Mark("set", name)}}
}

// Whatever tabs sealed, of the session as it was stored and on top of each
// other, comes to the same in whatever order and however often it is taken in.
func TestSealedTabsMerge(t *testing.T) {
	rec, c := stored(t, change("first").Changes...)
	v := Visit{Credential: c}
	later := day.Add(time.Second)
	read := Answer{Record: rec}
	_, one := seal(t, v, read, change("a"), testMaker(later, 2))
	_, two := seal(t, v, read, change("b"), testMaker(later, 3))
	v.Sealed[0] = one
	_, three := seal(t, v, Answer{Record: rec}, change("c"), testMaker(later.Add(time.Second), 4))
	v.Sealed[1] = two
	_, both := seal(t, v, Answer{Unread: true}, Wish{Renew: true}, testMaker(later.Add(time.Minute), 5))
	tabs := []Sealed{one, two, three, both}

	var want *crdt.Record
	for _, order := range orders(len(tabs)) {
		got := rec
		for i, tab := range append(order, order[:2]...) {
			st := Visit{Credential: c, Sealed: [Slots]Sealed{tabs[tab]}}.Judge(Answer{Record: got}, later.Add(2*time.Minute)).Standing
			if st.State == Superseded { // by the renewal, of which this tab's credential does not know
				st = Standing{Sealed: tabs[tab], Record: got}
			}
			w, ok := st.Import()
			if !ok {
				t.Fatalf("order %v: nothing to take in of %d", order, tab)
			}
			var err error
			at := crdt.Origin{Actor: crdt.NewActor(2, 9), Now: later.Add(2*time.Minute + time.Duration(i)*time.Second)}
			if got, _, err = crdt.Apply(got, w.Op, at); err != nil {
				t.Fatalf("order %v: %v", order, err)
			}
		}
		if n := got.Count("n"); n != 4 {
			t.Errorf("order %v: counted %d, want 4", order, n)
		}
		if e := strings.Join(got.Elements("set"), " "); e != "a b c first" {
			t.Errorf("order %v: set is %q, want a b c first", order, e)
		}
		got.VV = nil
		if want == nil {
			want = &got
		}
		if got.Digest() != want.Digest() {
			t.Errorf("order %v: content differs", order)
		}
	}
}

// orders returns all orders of the numbers below n.
func orders(n int) [][]int {
	if n == 0 {
		return [][]int{nil}
	}
	var out [][]int
	for _, o := range orders(n - 1) {
		for i := range n {
			out = append(out, append(append(append([]int(nil), o[:i]...), n-1), o[i:]...))
		}
	}
	return out
}

// What a session has keeps its stamps, nothing sealed has a vector, and no dot of
// it gets into a token or a credential: no vector would ever cover it.
func TestSealedKeepsStamps(t *testing.T) {
	rec, c := stored(t, change("first").Changes...)
	v := Visit{Credential: c, Seen: Seen{ID: c.ID, Token: crdt.Token{}.With(c.Dot)}}
	out, s := seal(t, v, Answer{Record: rec, Token: v.Seen.Token}, Wish{Renew: true, Changes: change("a").Changes}, testMaker(day.Add(time.Second), 2))
	if len(s.Record.VV) > 0 {
		t.Errorf("sealed vector is %v, want none", s.Record.VV)
	}
	for _, f := range rec.Fields {
		if got, _ := s.Record.Field(f.Name); got.Dot != f.Dot {
			t.Errorf("field %q has dot %v, want its own %v", f.Name, got.Dot, f.Dot)
		}
	}
	if d := out.Seen.Token.Dots(); len(d) != 1 || d[0] != c.Dot {
		t.Errorf("token has dots %v, want %v alone", d, c.Dot)
	}
	if out.Seen.Token.Floor() < s.Record.Latest() {
		t.Errorf("token's floor is %v, want it at %v or above", out.Seen.Token.Floor(), s.Record.Latest())
	}
	if out.Credential == nil || !out.Credential.Dot.IsZero() {
		t.Errorf("credential = %v, want one of no write", out.Credential)
	}
	ring := testRing(t, "first")
	if again, err := ring.OpenCredential(ring.SignCredential(*out.Credential)); err != nil || again != *out.Credential {
		t.Errorf("the credential comes back with %v", err)
	}
}

// Tries that failed carry the stamp of a moment later: one that has happened
// after all is not overwritten by its own sealing once others wrote on (DESIGN R1).
func TestSealedStampIsThatOfTheTries(t *testing.T) {
	rec, c := stored(t)
	m := testMaker(day.Add(10*time.Minute), 2)
	_, s := seal(t, Visit{Credential: c}, Answer{Record: rec}, change("a"), m)
	f, ok := s.Record.Field(".a")
	if !ok || f.Dot.Stamp > m.Now.Stamp() {
		t.Errorf("stamp %v, want none above %v", f.Dot.Stamp, m.Now.Stamp())
	}
	ahead := m.Now.Add(time.Second).Stamp() // by another Region's clock
	_, s = seal(t, Visit{Credential: c}, Answer{Record: rec, Token: crdt.Token{}.WithFloor(ahead)}, change("a"), m)
	if f, _ := s.Record.Field(".a"); f.Dot.Stamp <= ahead {
		t.Errorf("stamp %v, want it above the floor %v", f.Dot.Stamp, ahead)
	}
	behind := testMaker(day.Add(-time.Second), 3) // a slow clock
	_, s = seal(t, Visit{Credential: c}, Answer{Record: rec}, change("a"), behind)
	if f, _ := s.Record.Field(".a"); f.Dot.Stamp <= rec.Latest() {
		t.Errorf("stamp %v of a slow clock, want it above %v", f.Dot.Stamp, rec.Latest())
	}
}

// A try that was refused and happens after all, since something on the way sent it
// again, adds nothing to what was sealed meanwhile (M8), whichever comes first.
func TestSealedAdditionCountsOnceWithItsTry(t *testing.T) {
	rec, c := stored(t)
	m, ring := testMaker(day.Add(time.Minute), 2), testRing(t, "first")
	st := Visit{Credential: c}.Judge(Answer{Record: rec}, m.Now).Standing
	w := st.Write(Wish{Changes: []crdt.Change{crdt.Add("n", 1)}}, m)
	out, err := st.Seal(w, m, ring, enough)
	if err != nil {
		t.Fatalf("Seal: %v", err)
	}
	s, err := ring.OpenSealed(out.Value)
	if err != nil {
		t.Fatalf("OpenSealed: %v", err)
	}
	at := crdt.Origin{Actor: crdt.NewActor(3, 5), Now: m.Now.Add(time.Second)}
	for name, base := range map[string]crdt.Record{"before": rec, "after": crdt.Join(rec, s.Record)} {
		late, _, err := crdt.Apply(base, w.Op, at)
		if err != nil {
			t.Fatalf("Apply: %v", err)
		}
		if n := crdt.Join(late, s.Record).Count("n"); n != 1 {
			t.Errorf("a late try %s what was sealed is taken in: %d counted, want 1", name, n)
		}
	}
}

// Sealing is one more try, under the stamp of the others: a write made since, where
// the clock is slow, is not undone by a try that lands late (DESIGN R1).
func TestSealedUnderTheStampOfItsTries(t *testing.T) {
	rec, c := stored(t)
	m, ring := testMaker(day.Add(time.Minute), 2), testRing(t, "first")
	st := Visit{Credential: c}.Judge(Answer{Record: rec}, m.Now).Standing
	tries := st.Write(Wish{Changes: []crdt.Change{crdt.Put("a", []byte("first"))}}, m)
	m.Now = m.Now.Add(-10 * time.Second) // a clock that was set, or another server's
	out, err := st.Seal(tries, m, ring, enough)
	if err != nil {
		t.Fatalf("Seal: %v", err)
	}
	s, err := ring.OpenSealed(out.Value)
	if err != nil {
		t.Fatalf("OpenSealed: %v", err)
	}
	v := Visit{Credential: c, Seen: out.Seen, Sealed: [Slots]Sealed{s}}
	m.Now = day.Add(30 * time.Second)
	since := v.Judge(Answer{Record: rec}, m.Now).Standing.Write(Wish{Changes: []crdt.Change{crdt.Put("a", []byte("second"))}}, m)
	at := crdt.Origin{Actor: crdt.NewActor(3, 5), Now: m.Now}
	for _, op := range []crdt.Op{since.Op, tries.Op} {
		if rec, _, err = crdt.Apply(rec, op, at); err != nil {
			t.Fatalf("Apply: %v", err)
		}
	}
	if got, _ := rec.Value("a"); string(got) != "second" {
		t.Errorf("after a try that was late the value is %q, want %q, which was written since", got, "second")
	}
}

// What only a part of the store told may be older than the token, which leaves out
// what every engine has: by that nobody's session has idled out.
func TestPartialAnswerExpiresNobody(t *testing.T) {
	rec, c := stored(t)
	late := rec.Touch.Add(rec.Born.Idle + time.Second)
	v := Visit{Credential: c, Idle: rec.Born.Idle, Seen: Seen{ID: c.ID, Token: crdt.Token{}.WithFloor(late.Add(-time.Minute).Stamp())}}
	if out := v.Judge(Answer{Record: rec, Token: v.Seen.Token, Partial: true}, late); !out.Doubt {
		t.Errorf("by a partial answer: %v, want doubt", out.Standing.State)
	}
	if out := v.Judge(Answer{Record: rec, Token: v.Seen.Token}, late); out.Doubt || out.Standing.State != Expired {
		t.Errorf("by an engine's: doubt %v, %v; want expired", out.Doubt, out.Standing.State)
	}
}

// What is sealed is taken in with what was read elsewhere: an engine that lost all has
// the whole session then, and not what a cookie had room for.
func TestTakenInWithWhatWasRead(t *testing.T) {
	rec, c := stored(t)
	m, ring := testMaker(day.Add(time.Minute), 2), testRing(t, "first")
	at := crdt.Origin{Actor: crdt.NewActor(3, 5), Now: m.Now}
	rec, _, err := crdt.Apply(rec, crdt.Op{Stamp: m.Now.Stamp(), Changes: []crdt.Change{crdt.Put("a", make([]byte, 400))}}, at)
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	st := Visit{Credential: c}.Judge(Answer{Record: rec}, m.Now).Standing
	out, err := st.Seal(st.Write(Wish{Renew: true}, m), m, ring, 400)
	if err != nil {
		t.Fatalf("Seal: %v", err)
	}
	s, err := ring.OpenSealed(out.Value)
	if err != nil || !s.Bare {
		t.Fatalf("OpenSealed = bare %v, %v, want it bare", s.Bare, err)
	}
	v := Visit{Credential: *out.Credential, Seen: out.Seen, Sealed: [Slots]Sealed{s}}
	w, ok := v.Judge(Answer{Record: rec}, m.Now).Standing.Import()
	if !ok {
		t.Fatal("nothing to take in, want what is sealed")
	}
	got, _, err := crdt.Apply(crdt.Record{Key: rec.Key}, w.Op, at)
	if value, has := got.Value("a"); err != nil || !has || len(value) != 400 || got.Auth.Cur != out.Credential.Hash() {
		t.Errorf("an engine that had nothing has %+v, %v; want the whole session, and the new secret", got, err)
	}
}

// A session that ends while it is to be written is said to have ended as it did.
func TestLostAsTheEngineSays(t *testing.T) {
	for refusal, want := range map[error]State{crdt.ErrDead: LoggedOut, crdt.ErrExpired: Expired} {
		st := Standing{State: Live, Carried: 1, Record: crdt.Record{User: "alice"}}.Lost(fmt.Errorf("write: %w", refusal))
		if st.State != want || st.Spent != 1 || !st.Record.IsBottom() {
			t.Errorf("Lost(%v) = %v, cookies %v spent, want %v and those it carried", refusal, st.State, st.Spent, want)
		}
	}
}

// Since is the first sealing's, by the least of clocks that differ.
func TestSealedSince(t *testing.T) {
	rec, c := stored(t)
	v := Visit{Credential: c}
	first := day.Add(time.Hour / 4)
	_, s := seal(t, v, Answer{Record: rec}, change("a"), testMaker(first, 2))
	for i := range 14 {
		v.Sealed[i%Slots] = s
		_, s = seal(t, v, Answer{Record: rec}, change("b"), testMaker(first.Add(time.Duration(i)*time.Minute), byte(i)))
		if s.Since != first {
			t.Fatalf("since %v, want %v", s.Since, first)
		}
	}
	for age, want := range map[time.Duration]bool{
		sealedFor - time.Millisecond: true, sealedFor: false, -maxSkew: true, -maxSkew - time.Millisecond: false,
	} {
		v := Visit{Credential: c, Sealed: [Slots]Sealed{s}}
		st, _ := v.Begin(first.Add(age))
		if got := v.StandsIn(first.Add(age)); got != want || st.Spent.Has(0) == want {
			t.Errorf("%v after: stands in %v, spent %v; want %v", age, got, st.Spent, want)
		}
	}
	older, bare := s, s
	older.Since -= 1000
	bare.Record.Fields, bare.Bare = nil, true
	for _, both := range [][Slots]Sealed{{s, older}, {older, bare}, {bare, older}} {
		got, _ := Visit{Credential: c, Sealed: both}.carried(first)
		if got.Since != older.Since || got.Bare || len(got.Record.Fields) == 0 {
			t.Errorf("of two: since %v, bare %v; want the older's %v, with fields", got.Since, got.Bare, older.Since)
		}
	}
	v = Visit{Credential: c, Sealed: [Slots]Sealed{s}}
	st := v.Judge(Answer{Record: rec}, first.Add(14*time.Minute)).Standing
	m := testMaker(first.Add(sealedFor), 9) // the tries took their time
	if _, err := st.Seal(st.Write(change("c"), m), m, testRing(t, "first"), enough); !errors.Is(err, ErrTooOld) {
		t.Errorf("sealed again after %v: %v, want ErrTooOld", sealedFor, err)
	}
}

// A session goes without its fields only while all of them are elsewhere.
func TestBareOnlyIfNothingIsLost(t *testing.T) {
	rec, c := stored(t, change("first").Changes...)
	ring := testRing(t, "first")
	m := testMaker(day.Add(time.Second), 2)
	v := Visit{Credential: c}
	_, full := seal(t, v, Answer{Record: rec}, change("a"), m)
	bare := full
	bare.Record.Fields, bare.Bare = nil, true
	value, err := ring.Seal(bare, m.Seal.salt(), enough)
	if err != nil {
		t.Fatal(err)
	}
	room := len(value) + 8
	for name, tab := range map[string]struct {
		sealed Sealed
		wish   Wish
		want   error
	}{
		"nothing changed":             {Sealed{}, Wish{Renew: true}, nil},
		"a field changed":             {Sealed{}, change("b"), ErrTooLarge},
		"a field is in a cookie":      {full, Wish{Renew: true}, ErrTooLarge},
		"bare, and renewed once more": {bare, Wish{Renew: true}, nil},
	} {
		v := Visit{Credential: c, Sealed: [Slots]Sealed{tab.sealed}}
		st := v.Judge(Answer{Record: rec}, m.Now).Standing
		out, err := st.Seal(st.Write(tab.wish, m), m, ring, room)
		if !errors.Is(err, tab.want) {
			t.Errorf("%s: %v, want %v", name, err, tab.want)
			continue
		}
		if s, openErr := ring.OpenSealed(out.Value); err == nil && (openErr != nil || !s.Bare) {
			t.Errorf("%s: %v, bare %v; want it bare", name, openErr, s.Bare)
		}
	}
	st := Visit{Credential: c, Sealed: [Slots]Sealed{bare}}.Judge(Answer{Unread: true}, m.Now).Standing
	if got := st.Move(change("b"), m.Now); !st.Bare || got != RefuseBare {
		t.Errorf("bare %v, a change is move %d; want %d", st.Bare, got, RefuseBare)
	}
	if got := st.Move(Wish{Changes: change("b").Changes, Login: &Login{User: "alice"}}, m.Now); got != RefuseBare {
		t.Errorf("a change with a login is move %d, want %d", got, RefuseBare)
	}
	if out, err := st.Seal(st.Write(Wish{Renew: true}, m), m, ring, enough); err != nil {
		t.Errorf("sealed again: %v", err)
	} else if s, err := ring.OpenSealed(out.Value); err != nil || !s.Bare {
		t.Errorf("sealed again with room: %v, bare %v; want it bare still", err, s.Bare)
	}
}

// What nobody could be asked about says nothing that an old copy can't know.
func TestSealedCopyDoubts(t *testing.T) {
	rec, c := stored(t)
	_, s := seal(t, Visit{Credential: c}, Answer{Record: rec}, change("a"), testMaker(day.Add(time.Second), 2))
	now := day.Add(2 * time.Minute)
	newer := c
	newer.Secret[3] ^= 1 // the store replaced it, later than this was sealed
	newer.Dot = dot(3, 5, day.Add(30*time.Second))
	unheard := newer
	unheard.Dot = crdt.Dot{}
	for name, v := range map[string]Visit{
		"a later secret":         {Credential: newer},
		"a secret of no write":   {Credential: unheard},
		"a use that is not here": {Credential: c, Seen: Seen{ID: c.ID, Token: crdt.Token{}.WithFloor(day.Add(40 * time.Minute).Stamp())}, Idle: 30 * time.Minute},
	} {
		v.Sealed[0] = s
		at := now
		if v.Idle > 0 {
			s := s
			s.Since = day.Add(40 * time.Minute)
			v.Sealed[0], at = s, day.Add(45*time.Minute)
		}
		if out := v.Judge(Answer{Unread: true, Token: v.Seen.Token}, at); !out.Doubt {
			t.Errorf("%s: %v, want a doubt", name, out.Standing.State)
		}
	}
	for name, v := range map[string]Visit{"none": {Credential: c}, "one that is spent": {Credential: c, Sealed: [Slots]Sealed{s}}} {
		at := now.Add(sealedFor)
		if out := v.Judge(Answer{Record: crdt.Record{Key: rec.Key}, Unread: true}, at); !out.Doubt {
			t.Errorf("nothing read and %s sealed: %v, want a doubt", name, out.Standing.State)
		}
		v.Lenient = true
		if out := v.Judge(Answer{Record: crdt.Record{Key: rec.Key}, Unread: true}, at); out.Standing.State != Unknown {
			t.Errorf("nothing read and %s sealed, leniently: %v, want unknown", name, out.Standing.State)
		}
	}
	lag := Visit{Credential: unheard, Seen: Seen{ID: c.ID, Token: crdt.Token{}.With(dot(2, 9, now))}}
	if out := lag.Judge(Answer{Record: rec, Token: lag.Seen.Token}, now); !out.Doubt {
		t.Errorf("before the Region has heard what was taken in: %v, want a doubt", out.Standing.State)
	}
	fresh := rec
	fresh.VV = fresh.VV.With(dot(2, 9, now))
	if out := lag.Judge(Answer{Record: fresh, Token: lag.Seen.Token}, now); out.Doubt || out.Standing.State != Superseded {
		t.Errorf("after it: doubt %v, %v; want superseded", out.Doubt, out.Standing.State)
	}
}

// Only sealed cookies that came with the request are cleared, and never the one
// that is set; the credential is as it would be without them (DESIGN R9).
func TestAfterSealing(t *testing.T) {
	rec, c := stored(t)
	m := testMaker(day.Add(time.Second), 2)
	_, s := seal(t, Visit{Credential: c}, Answer{Record: rec}, change("a"), m)
	for slot := range Slots {
		v := Visit{Credential: c}
		v.Sealed[slot] = s
		st := v.Judge(Answer{Record: rec}, m.Now).Standing
		if got := After(Ending{Seen: st.Seen, Spent: st.Spent}, m.Now); got.ClearSealed != 0 || got.Credential != nil || got.ClearCredential {
			t.Errorf("only looked at: %+v, want nothing done", got)
		}
		if got := After(Ending{Spent: st.Unsealed().Spent}, m.Now); got.ClearSealed != SlotSet(0).with(slot) || got.ClearCredential {
			t.Errorf("taken in from %d: %+v, want that cleared alone", slot, got)
		}
		for n := range byte(4) {
			again := testMaker(m.Now, n)
			sealing, err := st.Seal(st.Write(change("b"), again), again, testRing(t, "first"), enough)
			if err != nil {
				t.Fatalf("Seal: %v", err)
			}
			got := After(Ending{Spent: st.Unsealed().Spent, Sealing: &sealing}, m.Now)
			if sealing.Slot == slot || sealing.Slot >= slotsOfAKind || got.Sealing == nil || got.ClearSealed != SlotSet(0).with(slot) {
				t.Errorf("from %d sealed into %d: %+v, want the other, and this cleared", slot, sealing.Slot, got)
			}
		}
	}
}

// A new secret has sealed cookies of its own, and the one that is set is not
// cleared, whatever was brought.
func TestWhatIsSealedIsNotCleared(t *testing.T) {
	rec, c := stored(t)
	m := testMaker(day.Add(time.Second), 2)
	out, _ := seal(t, Visit{Credential: c}, Answer{Record: rec}, change("a"), m)
	login := testMaker(m.Now, 1)
	st := Visit{Credential: c}.Judge(Answer{Record: rec}, m.Now).Standing
	if sealing, err := st.Seal(st.Write(Wish{Renew: true}, login), login, testRing(t, "first"), enough); err != nil || sealing.Slot < slotsOfAKind {
		t.Errorf("a new secret is sealed into %d, %v; want one of its own", sealing.Slot, err)
	}
	both := SlotSet(0).with(0).with(1)
	if got := After(Ending{Spent: both, Sealing: &out}, m.Now); got.ClearSealed.Has(out.Slot) || got.ClearSealed == 0 {
		t.Errorf("both brought: %+v, want the set one kept", got)
	}
	if got := After(Ending{Spent: both, Sealing: &out, Ended: true}, m.Now); got.Sealing != nil || got.ClearSealed != both {
		t.Errorf("ended: %+v, want all gone", got)
	}
}
