package enginetest

import (
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

func applyCases() []testCase {
	return []testCase{
		{"a birth makes a live session", birthMakesLiveSession},
		{"a repeated birth finds itself", repeatedBirthFindsItself},
		{"nothing but a birth makes a session", nothingButBirthMakesSession},
		{"an ID past its deadline is not born", idPastDeadlineNotBorn},
		{"destroyed is destroyed", destroyedDestroyed},
		{"what was never heard of can be destroyed", whatWasNeverHeardCanBeDestroyed},
		{"fields are put, marked and deleted", fieldsPutMarkedDeleted},
		{"a touch is worth writing only now and then", touchWorthWritingOnlyNowThen},
		{"an addition with one ID counts once", additionWithOneIDCountsOnce},
		{"a late try does not beat a newer write", lateTryDoesNotBeatNewerWrite},
		{"what is adopted brings its vector", whatAdoptedBringsVector},
		{"refusals speak of the record", refusalsSpeakRecord},
		{"a revocation raises the user's epoch", revocationRaisesUserSEpoch},
		{"a user's record lists sessions", userSRecordListsSessions},
	}
}

func birthMakesLiveSession(w *world) {
	e, k := w.open(here), w.key()
	op := w.birth("ann", time.Minute)
	dot := w.apply(e, k, op)
	r := w.read(e, k)
	if got := r.Judge(w.now(), op.Auth.Cur, nil); got != crdt.Live {
		w.Errorf("Judge of %+v = %v, want live", r, got)
	}
	end, _ := k.Deadline()
	if r.User != "ann" || r.Abs != end || r.Born.Idle != time.Minute {
		w.Errorf("Read(%v) = %+v, want user ann, deadline %v, idle 1m", k, r, end)
	}
	if !r.VV.Has(dot) || dot.Stamp < op.Stamp || dot.Actor.Region() != here {
		w.Errorf("Apply = %v, vector %v, want a dot of region %d in it, at or above %v", dot, r.VV, here, op.Stamp)
	}
}

func repeatedBirthFindsItself(w *world) {
	e, k := w.open(here), w.key()
	op := w.birth("", 0)
	w.apply(e, k, op)
	first := w.read(e, k)
	if _, err := e.Apply(w.ctx(), k, op); err != nil {
		w.Errorf("Apply(same birth) = %v, want no error", err)
	}
	if r := w.read(e, k); r.Born != first.Born || r.Auth.Dot != first.Auth.Dot {
		w.Errorf("Read after the same birth = %+v, want born and auth of %+v", r, first)
	}
	w.refuse(e, k, w.birth("", 0), crdt.ErrExists)
}

func nothingButBirthMakesSession(w *world) {
	e, k := w.open(here), w.key()
	w.refuse(e, k, w.put("a", "1"), crdt.ErrAbsent)
	w.refuse(e, k, crdt.Op{Touch: true}, crdt.ErrAbsent)
	w.refuse(e, k, crdt.Op{Stamp: w.stamp(), Auth: &crdt.Auth{Gen: 1, Cur: w.hash()}}, crdt.ErrAbsent)
	w.wantBottom(e, k)
}

func idPastDeadlineNotBorn(w *world) {
	e := w.open(here)
	w.refuse(e, w.keyUntil(w.now().Add(-time.Minute)), w.birth("", 0), crdt.ErrExpired)
}

func destroyedDestroyed(w *world) {
	e, k := w.open(here), w.key()
	birth := w.birth("ann", 0)
	w.apply(e, k, birth)
	w.apply(e, k, w.put("a", "1"))
	live := w.read(e, k)
	w.apply(e, k, crdt.Op{Destroy: true})
	w.wantDead(e, k)
	w.nothing(e, k, crdt.Op{Destroy: true})
	w.refuse(e, k, w.put("a", "2"), crdt.ErrDead)
	w.refuse(e, k, birth, crdt.ErrDead)
	w.join(e, live)
	w.wantDead(e, k)
}

func whatWasNeverHeardCanBeDestroyed(w *world) {
	e, k := w.open(here), w.key()
	w.apply(e, k, crdt.Op{Destroy: true})
	w.wantDead(e, k)
	w.refuse(e, k, w.birth("", 0), crdt.ErrDead)
}

func fieldsPutMarkedDeleted(w *world) {
	e, k := w.open(here), w.key()
	w.apply(e, k, w.birth("", 0))
	w.apply(e, k, w.change(crdt.Put("a", []byte("1")), crdt.Put("b", []byte{0, 255}), crdt.Mark("s", "x"), crdt.Mark("s", "y")))
	w.apply(e, k, w.change(crdt.Delete("a"), crdt.Unmark("s", "x")))
	r := w.read(e, k)
	if _, ok := r.Value("a"); ok || r.Contains("s", "x") || !r.Contains("s", "y") {
		w.Errorf("Read(%v) = %+v, want a and x gone, y there", k, r)
	}
	w.wantValue(e, k, "b", "\x00\xff")
}

func touchWorthWritingOnlyNowThen(w *world) {
	e, k := w.open(here), w.key()
	w.apply(e, k, w.birth("", lifetime))
	w.nothing(e, k, crdt.Op{Touch: true})
}

func additionWithOneIDCountsOnce(w *world) {
	e, k := w.open(here), w.key()
	w.apply(e, k, w.birth("", 0))
	op := w.change(crdt.Add("n", 5))
	for range 3 {
		if _, err := e.Apply(w.ctx(), k, op); err != nil {
			w.Fatalf("Apply(%+v) = %v, want no error", op, err)
		}
	}
	w.apply(e, k, w.change(crdt.Add("n", -2)))
	if got := w.read(e, k).Count("n"); got != 3 {
		w.Errorf("Count after +5 three times with one ID and -2 = %d, want 3", got)
	}
}

func lateTryDoesNotBeatNewerWrite(w *world) {
	e, k := w.open(here), w.key()
	w.apply(e, k, w.birth("", 0))
	first := w.put("a", "old")
	w.apply(e, k, first)
	f, _ := w.read(e, k).Field(".a")
	if _, err := e.Apply(w.ctx(), k, first); err != nil {
		w.Fatalf("Apply(second try) = %v, want no error", err)
	}
	if g, _ := w.read(e, k).Field(".a"); g.Dot != f.Dot {
		w.Errorf("field after a second try has dot %v, want %v as after the first", g.Dot, f.Dot)
	}
	w.apply(e, k, w.put("a", "new"))
	if _, err := e.Apply(w.ctx(), k, first); err != nil {
		w.Fatalf("Apply(late try) = %v, want no error", err)
	}
	w.wantValue(e, k, "a", "new")
}

func whatAdoptedBringsVector(w *world) {
	e, k, p := w.open(here), w.key(), w.peer(far)
	p.apply(k, w.birth("ann", 0))
	p.apply(k, w.put("a", "1"))
	side := p.records[k]
	w.apply(e, k, crdt.Op{Stamp: w.stamp(), Adopt: &side})
	if r := w.read(e, k); r.User != "ann" || !r.VV.Covers(side.VV) {
		w.Errorf("Read after adopting = %+v, want user ann and a vector that covers %v", r, side.VV)
	}
	w.wantValue(e, k, "a", "1")
}

func refusalsSpeakRecord(w *world) {
	e, k := w.open(here), w.key()
	w.apply(e, k, w.birth("ann", 0))
	w.refuse(e, k, crdt.Op{Revoke: true}, crdt.ErrOp)
	w.refuse(e, k, w.change(crdt.Put("a", make([]byte, crdt.MaxValueBytes+1))), crdt.ErrLimit)
	ahead := w.put("a", "1")
	ahead.Stamp = w.now().Add(time.Hour).Stamp()
	w.refuse(e, k, ahead, crdt.ErrAhead)
	login := w.birth("bob", 0)
	login.Birth = nil
	w.refuse(e, k, login, crdt.ErrOtherUser)
}

func revocationRaisesUserSEpoch(w *world) {
	e, k := w.open(here), crdt.UserKey("ann")
	first := w.apply(e, k, crdt.Op{Revoke: true})
	before := w.read(e, k).Epochs()
	second := w.apply(e, k, crdt.Op{Revoke: true})
	after := w.read(e, k).Epochs()
	if !before.Has(first) || before.Has(second) || !after.Has(second) {
		w.Errorf("epochs after revocations %v, %v = %v, %v, want each there from its own on", first, second, before, after)
	}
}

func userSRecordListsSessions(w *world) {
	e, k := w.open(here), crdt.UserKey("ann")
	id := w.key().SessionID()
	w.apply(e, k, w.change(crdt.Index(id, []byte("phone"))))
	if got := w.read(e, k).Sessions(); len(got) != 1 || got[0] != id {
		w.Errorf("Sessions() = %v, want %v", got, id)
	}
	w.apply(e, k, w.change(crdt.Unindex(id)))
	if got := w.read(e, k).Sessions(); len(got) != 0 {
		w.Errorf("Sessions() after Unindex = %v, want none", got)
	}
}

func (w *world) wantDead(e engine.Engine, k crdt.Key) {
	w.Helper()
	w.wantSame(w.read(e, k), crdt.Record{Key: k, Dead: true}, "record that was destroyed")
}
