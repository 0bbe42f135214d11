package router_test

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/fault"
	"github.com/roam-sessions/roam/internal/journal"
	"github.com/roam-sessions/roam/internal/router"
)

// newJournaledEarth is an active-passive earth, east the primary, whose Regions
// reach each other's journals and have no side stores.
func newJournaledEarth(t *testing.T) (*earth, router.Config) {
	config := router.Config{Primary: east}
	e := newEarth(t, 10*time.Millisecond, config)
	for _, id := range everyone() {
		e.start(id, config, true)
	}
	return e, config
}

// revoke revokes all of alice's sessions and destroys one of hers.
func (e *earth) revoke(at crdt.Region, k crdt.Key) (crdt.Dot, [2]router.Revocation) {
	e.t.Helper()
	a, everywhere, err := e.routers[at].Revoke(e.t.Context(), router.Write{Key: crdt.UserKey("alice"), Op: crdt.Op{Revoke: true}})
	if err != nil || a.Rung != router.LocalOnly || a.Dot.Actor.Region() != at {
		e.t.Fatalf("revoke in %s = %v, %v, %v; want local-only, by a journal there", name(at), a.Rung, a.Dot, err)
	}
	d, one, err := e.routers[at].Revoke(e.t.Context(), router.Write{Key: k, Op: crdt.Op{Destroy: true}})
	if err != nil || d.Rung != router.LocalOnly {
		e.t.Fatalf("destroy in %s = %v, %v; want local-only", name(at), d.Rung, err)
	}
	return a.Dot, [2]router.Revocation{everywhere, one}
}

// ended reports whether reads in a Region show both endings.
func (e *earth) ended(at crdt.Region, k crdt.Key, d crdt.Dot) bool {
	e.t.Helper()
	user, err := e.routers[at].Read(e.t.Context(), router.Query{Key: crdt.UserKey("alice")})
	if err != nil {
		e.t.Fatalf("read alice in %s: %v", name(at), err)
	}
	_, session := e.value(at, k, crdt.Token{}, "")
	return user.Record.Epochs().Has(d) && session.Record.Dead
}

// With the primary dead, a revocation made in a Region with a read-only replica
// holds wherever it was heard of, a Region that is cut off hears of it after the
// heal, and the primary gets it once it is back (R10).
func TestRevocationWithThePrimaryDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := newJournaledEarth(t)
		k, _ := e.login(west)
		wait(time.Second)
		e.net.Kill(name(east))
		e.cut(west, north, true, fault.Calls)
		d, revs := e.revoke(west, k)
		for _, rev := range revs {
			if len(rev.Have) != 1 || rev.Have[0] != west || len(rev.Waiting) != 2 || rev.Untold != nil {
				t.Errorf("revocation = %+v, want west to have it and the others to wait", rev)
			}
		}
		if !e.ended(west, k, d) || e.ended(north, k, d) {
			t.Error("want it ended in west, which has it, and not in north, which can't")
		}
		e.cut(west, north, false, fault.Calls)
		wait(5 * time.Second)
		if !e.ended(north, k, d) {
			t.Error("north shows what was ended, 5 s after the heal")
		}
		if n := e.routers[west].Pending(); n != 2 {
			t.Errorf("Pending = %d while the primary is dead, want 2: a journal is no engine", n)
		}
		e.net.Revive(name(east))
		wait(15 * time.Second)
		e.wantDelivered(k, d)
	})
}

// wantDelivered checks that all engines have both endings, once.
func (e *earth) wantDelivered(k crdt.Key, d crdt.Dot) {
	e.t.Helper()
	for _, at := range everyone() {
		if rec := e.read(at, k); !rec.Dead {
			e.t.Errorf("the engine of %s does not have the death", name(at))
		}
		if got := e.read(at, crdt.UserKey("alice")).Epochs(); len(got) != 1 || got[0] != d {
			e.t.Errorf("epochs in the engine of %s = %v, want %v once", name(at), got, d)
		}
		if n := e.routers[at].Pending(); n != 0 {
			e.t.Errorf("Pending in %s = %d after the heal, want 0", name(at), n)
		}
	}
	head, err := e.engines[east].Head(e.t.Context())
	if n := head[crdt.UserKey("alice").Partition()].N; err != nil || n != 1 {
		e.t.Errorf("the primary's log has %d entries for alice, %v; want 1: each Region that knew looked first", n, err)
	}
}

// Whoever reaches the others' journals tells them at once.
func TestRevocationIsPushedToJournals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := newJournaledEarth(t)
		k, _ := e.login(west)
		wait(time.Second)
		_ = e.engines[east].Close() // its node lives
		d, revs := e.revoke(west, k)
		for _, rev := range revs {
			if len(rev.Have) != 3 || len(rev.Waiting) != 0 {
				t.Errorf("revocation = %+v, want all to have it", rev)
			}
		}
		for _, at := range []crdt.Region{west, north} {
			if !e.ended(at, k, d) {
				t.Errorf("not ended in %s", name(at))
			}
		}
	})
}

// A Region whose journal took an ending shows it, but is told until its engine
// has it: the journal would forget it else.
func TestJournalIsNoEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := newJournaledEarth(t)
		k, a := e.login(west)
		wait(time.Second)
		e.cut(east, north, true, fault.Replication)
		begun := time.Now()
		_, rev, err := e.routers[west].Revoke(t.Context(), router.Write{Key: k, Seen: a.Token, Op: crdt.Op{Destroy: true}})
		if err != nil || len(rev.Have) != 3 {
			t.Errorf("destroy = %+v, %v; want all to have it, north in its journal", rev, err)
		}
		if took := time.Since(begun); took > time.Second+100*time.Millisecond {
			t.Errorf("destroy took %v, want a second and the write at most", took)
		}
		wait(5 * time.Second)
		if _, got := e.value(north, k, crdt.Token{}, ""); !got.Record.Dead || e.read(north, k).Dead {
			t.Error("want it dead in north by its journal, and not by its engine")
		}
		if west, north := e.routers[west].Pending(), e.routers[north].Pending(); west != 1 || north != 1 {
			t.Errorf("Pending = %d in west, %d in north; want 1 and 1", west, north)
		}
		e.cut(east, north, false, fault.Replication)
		wait(2 * time.Second)
		if n := e.routers[west].Pending() + e.routers[north].Pending(); n != 0 || !e.read(north, k).Dead {
			t.Errorf("Pending = %d after the heal, want 0, and north's engine to have it", n)
		}
	})
}

// A Region that was never told asks one that was, together with its engine.
func TestReadsJoinTheJournalsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := newJournaledEarth(t)
		k, a := e.login(west)
		wait(time.Second)
		e.net.Kill(name(east))
		if err := e.journals[north].Join(t.Context(), crdt.Record{Key: k, Dead: true}); err != nil {
			t.Fatal(err)
		}
		if _, got := e.value(west, k, a.Token, ""); got.Record.Dead {
			t.Fatal("west has asked north for what it has itself")
		}
		ahead := a.Token.With(crdt.Dot{Actor: a.Dot.Actor, Stamp: a.Dot.Stamp + 1}) // so that it has to ask
		if _, got := e.value(west, k, ahead, ""); !got.Record.Dead {
			t.Errorf("read = %+v, want dead: north's journal knows", got)
		}
	})
}

// An ending that only the journal took survives the process, and the browser's
// next login is above it.
func TestRevocationSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, config := newJournaledEarth(t)
		path := filepath.Join(t.TempDir(), "endings")
		reopen := func() {
			j, err := journal.Open(west, path, journal.Config{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = j.Close() })
			e.journals[west] = j
			e.start(west, config, true)
		}
		reopen()
		k, _ := e.login(west)
		wait(time.Second)
		e.net.Kill(name(east))
		e.cut(west, north, true, fault.Calls)
		first, _ := e.revoke(west, k)
		_ = e.journals[west].Close()
		reopen()
		if !e.ended(west, k, first) {
			t.Error("after a restart west shows what was ended")
		}
		a, _, err := e.routers[west].Revoke(t.Context(), router.Write{Key: crdt.UserKey("alice"), Op: crdt.Op{Revoke: true}})
		if err != nil || a.Dot.Actor == first.Actor || a.Dot.Stamp <= first.Stamp {
			t.Errorf("revocation after a restart = %v, %v; want above %v, by another actor", a.Dot, err, first)
		}
		e.cut(west, north, false, fault.Calls)
		e.net.Revive(name(east))
		wait(15 * time.Second)
		if got := e.read(east, crdt.UserKey("alice")).Epochs(); !got.Has(first) || !got.Has(a.Dot) || len(got) != 2 {
			t.Errorf("epochs in the primary = %v, want %v and %v", got, first, a.Dot)
		}
	})
}

// A full journal hides nothing: the write that an engine took is done, and its
// caller hears that nobody is told again.
func TestFullJournalSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarth(t, 10*time.Millisecond, router.Config{})
		full, err := journal.New(west, journal.Config{Most: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := full.Join(t.Context(), crdt.Record{Key: e.birth(west, 1, time.Hour), Dead: true}); err != nil {
			t.Fatal(err)
		}
		e.journals[west] = full
		k := e.birth(west, 2, time.Hour)
		wait(time.Second)
		e.cut(west, north, true, fault.Calls)
		e.cut(east, north, true, fault.Replication)
		e.cut(west, north, true, fault.Replication)
		e.start(west, router.Config{}, false)
		rev := e.destroy(west, k)
		if rev.Untold == nil || len(rev.Have) != 2 || len(rev.Waiting) != 1 || rev.Waiting[0] != north {
			t.Errorf("revocation = %+v, want north to wait and a reason why it is not told", rev)
		}
	})
}

// The journal here must be one that can mint and wait: another Region's won't do.
func TestJournalHereIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarth(t, 10*time.Millisecond, router.Config{})
		var strange engine.Engine = linked{journal: e.journals[west]}
		_, err := router.New(t.Context(), []router.Region{{ID: west, Name: "west", Engine: e.engines[west], Journal: strange}}, router.Config{})
		if err == nil {
			t.Error("New = nil, want an error")
		}
	})
}

// A Region whose journal does not answer has not told all it has: the logout may be
// nowhere else. One whose engine does not answer has told nothing, whatever its
// journal says, but what that knows counts.
func TestJournalIsAPartOfItsRegion(t *testing.T) {
	k := crdt.SessionKey(crdt.NewSessionID(1, west, crdt.IDEntropy{}))
	alive, dead := crdt.Record{Key: k}, crdt.Record{Key: k, Dead: true}
	for _, c := range []struct {
		name          string
		engine, known router.Result
		dead, partial bool
		fails         bool
	}{
		{"both answer", router.Result{Record: alive}, router.Result{Record: dead}, true, false, false},
		{"the journal is silent", router.Result{Record: alive}, router.Result{Err: engine.ErrUnavailable}, false, true, false},
		{"the engine is silent", router.Result{Record: alive, Err: engine.ErrUnavailable}, router.Result{Record: dead}, true, false, true},
		{"both are silent", router.Result{Record: alive, Err: engine.ErrUnavailable}, router.Result{Err: engine.ErrUnavailable}, false, false, true},
	} {
		got := router.WithJournal(c.engine, c.known)
		if got.Record.Dead != c.dead || got.Partial != c.partial || (got.Err != nil) != c.fails {
			t.Errorf("%s: dead %v, partial %v, error %v; want %v, %v, %v", c.name, got.Record.Dead, got.Partial, got.Err, c.dead, c.partial, c.fails)
		}
	}
}
