package crdt_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/roam-sessions/roam/crdt"
)

// R1: the first try of a write arrives after the client has written again; the
// newer write, whose stamp the caller took above the first, stays.
func TestLateFirstTryDoesNotWin(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a := &node{actor: actor(1, 1), skew: time.Duration(rapid.IntRange(-20, 20).Draw(rt, "skew a")) * time.Second}
		b := &node{actor: actor(2, 1), skew: time.Duration(rapid.IntRange(-20, 20).Draw(rt, "skew b")) * time.Second}
		var f crdt.Fragment
		a.rec, f = born(t, a.actor, 0)
		b.rec, _ = crdt.Merge(crdt.Record{Key: a.rec.Key}, f)
		router := start.Add(time.Duration(rapid.IntRange(-20, 20).Draw(rt, "skew router")) * time.Second)
		first := put(max(router.Stamp(), a.rec.VV.Max()+1), "a", "old")
		nodes := []*node{a, b}
		pick := func(what string) *node { return nodes[rapid.IntRange(0, 1).Draw(rt, what)] }
		retried := pick("retry at")
		if _, err := retried.apply(start+1, first); err != nil {
			rt.Fatalf("retry = %v", err)
		}
		floor := crdt.Token{}.With(dot(retried.actor, retried.rec.VV.Max())).Floor()
		second := put(max(router.Stamp(), floor+1), "a", "new")
		if _, err := pick("second at").apply(start+2, second); err != nil {
			rt.Fatalf("second write = %v", err)
		}
		if _, err := pick("late at").apply(start+3, first); err != nil {
			rt.Fatalf("late first try = %v", err)
		}
		if got := value(crdt.Join(a.rec, b.rec), "a"); got != "new" {
			rt.Fatalf("a = %q after the late first try, want %q", got, "new")
		}
	})
}

func TestRetryElsewhereWritesTheSame(t *testing.T) {
	r, _ := born(t, actor(1, 1), 0)
	op := put(here().Now.Stamp(), "a", "1")
	op.Auth, op.User = &crdt.Auth{Gen: 1, Cur: secret(2), Epochs: crdt.Vector{dot(actor(3, 1), 5)}}, "ann"
	op.Changes = append(op.Changes, crdt.Mark("s", "e"), crdt.Delete("b"))
	one, _ := must(t, r, op, crdt.Origin{Actor: actor(1, 1), Now: here().Now.Add(20 * time.Second)})
	two, _ := must(t, r, op, crdt.Origin{Actor: actor(2, 1), Now: here().Now.Add(-20 * time.Second)})
	both := crdt.Join(one, two)
	for _, got := range []crdt.Record{one, two, both} {
		if value(got, "a") != "1" || !got.Contains("s", "e") || got.User != "ann" || got.Auth.Cur != secret(2) ||
			!got.Auth.Epochs.Equal(op.Auth.Epochs) || got.Auth.Dot.Stamp != op.Stamp {
			t.Errorf("record = %+v, want what the operation wrote", got)
		}
		for _, f := range got.Fields {
			if f.Dot.Stamp != op.Stamp {
				t.Errorf("field %q has stamp %v, want the operation's %v", f.Name, f.Dot.Stamp, op.Stamp)
			}
		}
	}
}

func TestRepeatedBirthFindsItself(t *testing.T) {
	op := birth(start, time.Hour)
	op.Changes = []crdt.Change{crdt.Put("a", []byte("1"))}
	none := crdt.Record{Key: sessionKey()}
	one, f := must(t, none, op, crdt.Origin{Actor: actor(1, 1), Now: start})
	again, _ := must(t, one, op, crdt.Origin{Actor: actor(1, 1), Now: start + 500})
	if again.Born != one.Born || again.Touch != one.Touch || value(again, "a") != "1" {
		t.Errorf("born again = %+v, want %+v", again, one)
	}
	elsewhere, g := must(t, none, op, crdt.Origin{Actor: actor(2, 1), Now: start + 700})
	left, _ := crdt.Merge(one, g)
	right, _ := crdt.Merge(elsewhere, f)
	sameRecord(t, "born at two places", left, right)
	if left.Born != one.Born {
		t.Errorf("born = %+v, want the least dot's %+v", left.Born, one.Born)
	}
}

// R3: a planted cookie's session is logged into in one Region and rotated by the
// attacker in another, with clocks and order of arrival in the attacker's favour.
func TestLoginBeatsRotation(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		planted, _ := born(t, actor(1, 1), 0)
		s := func(what string) crdt.Stamp {
			return here().Now.Stamp() + crdt.Stamp(rapid.IntRange(0, 100_000_000).Draw(rt, what))
		}
		in := login(s("login"), "ann")
		in.Auth.Gen = planted.Auth.Gen + 1
		_, victim := must(t, planted, in, crdt.Origin{Actor: actor(1, 1), Now: here().Now.Add(30 * time.Second)})
		frags := []crdt.Fragment{victim}
		attacker := planted
		for i := range rapid.IntRange(1, 3).Draw(rt, "rotations") {
			rotate := crdt.Op{Stamp: s("rotation"), Auth: &crdt.Auth{Gen: attacker.Auth.Gen, Cur: secret(byte(100 + i)), Prev: attacker.Auth.Cur}}
			var f crdt.Fragment
			attacker, f = must(t, attacker, rotate, crdt.Origin{Actor: actor(2, 1), Now: here().Now.Add(30 * time.Second)})
			frags = append(frags, f)
		}
		got := planted
		for _, f := range rapid.Permutation(frags).Draw(rt, "order") {
			got = crdt.Join(got, f.Effect)
		}
		if got.Auth.Cur != in.Auth.Cur || got.User != "ann" {
			rt.Fatalf("secret in force = %x of %q, want the login's %x of ann", got.Auth.Cur, got.User, in.Auth.Cur)
		}
		if v := got.Judge(here().Now, secret(100), nil); v != crdt.WrongSecret {
			rt.Fatalf("Judge of the attacker's secret = %v, want wrong secret", v)
		}
	})
}

// A revoker is one replica of a user's record; knows is the model: which
// revocations have been merged into it.
type revoker struct {
	node
	knows map[int]bool
}

func (r *revoker) learn(from *revoker) {
	r.rec = crdt.Join(r.rec, from.rec)
	for id := range from.knows {
		r.knows[id] = true
	}
}

// Revocation beats every login that did not see it, however the clocks stand and
// whatever arrives when; it never ends one that did.
func TestRevocationBeatsLoginsThatMissedIt(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var nodes []*revoker
		for i := range 3 {
			skew := time.Duration(rapid.IntRange(-20, 20).Draw(rt, "skew")) * time.Second
			nodes = append(nodes, &revoker{
				node{actor(crdt.Region(i+1), 1), skew, crdt.Record{Key: crdt.UserKey("ann")}}, map[int]bool{},
			})
		}
		session, _ := born(t, actor(1, 1), 0)
		anonymous := session
		saw := map[int]int{} // logins that saw each revocation
		logins, revocations := 0, 0
		for range rapid.IntRange(1, 14).Draw(rt, "steps") {
			n := nodes[rapid.IntRange(0, 2).Draw(rt, "at")]
			switch rapid.SampledFrom([]string{"revoke", "login", "learn", "learn", "successor"}).Draw(rt, "step") {
			case "revoke":
				if _, err := n.apply(here().Now, crdt.Op{Revoke: true}); err != nil {
					rt.Fatalf("revoke = %v", err)
				}
				n.knows[revocations] = true
				revocations++
			case "successor": // R18: a new primary, its clock far behind
				n.actor, n.skew = n.actor+1, n.skew-10*time.Second
			case "learn":
				n.learn(nodes[rapid.IntRange(0, 2).Draw(rt, "from")])
			case "login": // all with one Gen, as concurrent logins have
				op := login(here().Now.Stamp()+crdt.Stamp(rapid.IntRange(0, 9).Draw(rt, "stamp")), "ann")
				op.Auth.Epochs = n.rec.Epochs()
				_, f := must(t, anonymous, op, crdt.Origin{Actor: n.actor, Now: here().Now})
				session = crdt.Join(session, f.Effect)
				logins++
				for id := range n.knows {
					saw[id]++
				}
			}
		}
		for _, n := range nodes[1:] {
			nodes[0].learn(n)
		}
		want := crdt.Live
		for id := range revocations {
			if logins > saw[id] {
				want = crdt.Revoked
			}
		}
		if got := session.Judge(here().Now, session.Auth.Cur, nodes[0].rec.Epochs()); got != want {
			rt.Fatalf("Judge of %d logins with %v against %v = %v, want %v", logins, session.Auth.Epochs, nodes[0].rec.Epochs(), got, want)
		}
	})
}

// R18: named by Region, the second epoch would be below the one that was lost.
func TestEpochsAreNamedByActor(t *testing.T) {
	user := crdt.Record{Key: crdt.UserKey("ann")}
	lost, _ := must(t, user, crdt.Op{Revoke: true}, crdt.Origin{Actor: actor(1, 1), Now: start})
	loggedIn := lost.Epochs() // the login saw the epoch that is then lost
	now, _ := must(t, user, crdt.Op{Revoke: true}, crdt.Origin{Actor: actor(1, 2), Now: start.Add(-20 * time.Second)})
	r, _ := born(t, actor(1, 1), 0)
	op := login(here().Now.Stamp(), "ann")
	op.Auth.Epochs = loggedIn
	r, _ = must(t, r, op, here())
	if got := r.Judge(here().Now, secret(2), now.Epochs()); got != crdt.Revoked {
		t.Errorf("Judge after the successor's revocation = %v, want revoked", got)
	}
	if both := crdt.Join(lost, now).Epochs(); len(both) != 2 {
		t.Errorf("epochs = %v, want one of each actor", both)
	}
}

// R17: an epoch may go when no session can be older than it, and not before.
func TestPrune(t *testing.T) {
	id := sessionKey().SessionID()
	user := crdt.Record{Key: crdt.UserKey("ann")}
	at := crdt.Origin{Actor: actor(1, 1), Now: start}
	user, f := must(t, user, crdt.Op{Revoke: true, Stamp: start.Stamp(), Changes: []crdt.Change{crdt.Index(id, []byte("phone"))}}, at)
	revoked, ends := f.Dot.Stamp.Time().Add(crdt.MaxLifetime+120*time.Second), id.Deadline().Add(120*time.Second)
	for _, c := range []struct {
		now              crdt.Time
		epochs, sessions int
	}{
		{start, 1, 1}, {ends - 1, 1, 1}, {ends, 1, 0}, {revoked - 1, 1, 0}, {revoked, 0, 0},
	} {
		got := user.Prune(c.now)
		if len(got.Epochs()) != c.epochs || len(got.Sessions()) != c.sessions {
			t.Errorf("Prune(%d) leaves %d epochs and %d sessions, want %d and %d", c.now-start, len(got.Epochs()), len(got.Sessions()), c.epochs, c.sessions)
		}
		sameRecord(t, "pruned and joined again", crdt.Join(got, user), user)
	}
	if keep, ok := user.KeepUntil(); !ok || keep != revoked {
		t.Errorf("KeepUntil = %v, %v, want %v when the last field goes", keep, ok, revoked)
	}
	session, _ := born(t, actor(1, 1), 0)
	sameRecord(t, "a session pruned", session.Prune(start.Add(10*crdt.MaxLifetime)), session)
}

func TestIndex(t *testing.T) {
	id, user := sessionKey().SessionID(), crdt.Record{Key: crdt.UserKey("ann")}
	s := here().Now.Stamp()
	user, _ = must(t, user, crdt.Op{Stamp: s, Changes: []crdt.Change{crdt.Index(id, nil)}}, here())
	if got := user.Sessions(); len(got) != 1 || got[0] != id {
		t.Errorf("Sessions = %v, want %v", got, id)
	}
	user, _ = must(t, user, crdt.Op{Stamp: s + 1, Changes: []crdt.Change{crdt.Unindex(id)}}, here())
	if got := user.Sessions(); len(got) != 0 {
		t.Errorf("Sessions after Unindex = %v, want none", got)
	}
}
