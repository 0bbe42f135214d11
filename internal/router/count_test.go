package router_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/fault"
	"github.com/roam-sessions/roam/internal/router"
	"github.com/roam-sessions/roam/internal/tally"
)

// wrote wants all writes that were counted to be to one Region, of which some failed, and
// their p99 to be between two durations.
func wrote(t *testing.T, c tally.Counts, to string, n, failed uint64, least, most time.Duration) {
	t.Helper()
	w := c.Writes[to]
	if len(c.Writes) != 1 || w.Took.Count() != n || w.Failed != failed || w.Took.P99() < least || w.Took.P99() > most {
		t.Errorf("writes %+v, want %d to %s of which %d failed, of %v to %v", c.Writes, n, to, failed, least, most)
	}
}

// answered wants so many answers to be degraded, all of one rung, and some others normal.
func answered(t *testing.T, c tally.Counts, rung router.Rung, degraded uint64) {
	t.Helper()
	if all, n := c.All(); n != degraded || c.Answers[rung] != degraded || all == degraded {
		t.Errorf("answers %v, want %d %v, and others normal", c.Answers, degraded, rung)
	}
}

// Answers are counted by their rung, and writes by where they belonged: one that went to a
// side store has failed there, and took as long as the user waited. What is taken back is
// no answer, and a caller who leaves says nothing.
func TestCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var back atomic.Int64
		e := newEarth(t, 10*time.Millisecond, router.Config{Primary: east, Observe: func(o router.Observation) {
			if o.Act == router.TakeBack {
				back.Add(1)
			}
		}})
		k, a := e.login(west)
		time.Sleep(100 * time.Millisecond)
		if _, err := e.put(west, k, a.Token, "theme", "dark"); err != nil {
			t.Fatal(err)
		}
		was := e.routers[west].Counts()
		if was.Answers != [tally.Rungs]uint64{router.Normal: 3} {
			t.Errorf("answers %v of a login, a read and a write, want 3 normal ones", was.Answers)
		}
		wrote(t, was, "east", 2, 0, 20*time.Millisecond, 25*time.Millisecond)
		e.cut(west, east, true, fault.Calls, fault.Replication)
		begun := time.Now()
		got, err := e.put(west, k, a.Token, "theme", "light")
		if err != nil || got.Rung != router.LocalOnly {
			t.Fatalf("a write behind a cut = %v, %v; want local-only", got.Rung, err)
		}
		took := time.Since(begun)
		gone, leave := context.WithCancel(t.Context())
		leave()
		if _, err := e.routers[west].Write(gone, router.Write{Key: k, Op: crdt.Op{Touch: true}}); err == nil {
			t.Fatal("a write of a caller who has left = nil")
		}
		e.cut(west, east, false, fault.Calls, fault.Replication)
		time.Sleep(10 * time.Second)
		if back.Load() == 0 {
			t.Error("nothing was taken back")
		}
		since := e.routers[west].Counts().Since(was)
		answered(t, since, router.LocalOnly, 1)
		wrote(t, since, "east", 1, 1, time.Second, took*5/4)
		if all, _ := e.routers[north].Counts().All(); all != 0 {
			t.Errorf("north answered %d, want none", all)
		}
		e.routers[west].Answered(router.Sealed)
		if c := e.routers[west].Counts().Since(was); c.Answers[router.Sealed] != 1 {
			t.Errorf("answers %v, want one sealed", c.Answers)
		}
	})
}

// Where every Region takes writes, this one's are to be taken here.
func TestCountsOfActiveActive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarth(t, 10*time.Millisecond, router.Config{})
		e.login(west)
		_ = e.engines[west].Close() // never fails
		wait(time.Millisecond)
		if _, a := e.login(west); a.Region == west || a.Rung != router.Normal {
			t.Fatalf("a login without the own engine = %+v, want it elsewhere", a)
		}
		// The record is not what a write wants: that is the caller's matter.
		gone := crdt.SessionKey(crdt.NewSessionID(crdt.TimeOf(time.Now().Add(time.Hour)), east, crdt.IDEntropy{8}))
		if _, err := e.routers[east].Write(t.Context(), router.Write{Key: gone, Op: crdt.Op{Touch: true}}); err == nil {
			t.Fatal("a touch of nothing = nil, want a refusal")
		}
		for at, failed := range map[crdt.Region]uint64{west: 1, east: 0} {
			answered(t, e.routers[at].Counts(), router.Refused, 0)
			wrote(t, e.routers[at].Counts(), name(at), 1+failed, failed, 0, time.Second)
		}
	})
}
