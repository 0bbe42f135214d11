package crdt_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/roam-sessions/roam/crdt"
)

func add(id uint64, s crdt.Stamp, field string) crdt.Op {
	return crdt.Op{ID: id, Stamp: s, Changes: []crdt.Change{crdt.Add("n", 1), crdt.Put(field, []byte("1"))}}
}

// failover plays a primary that writes `before` times and is lost after its
// replica has heard `heard` of them; the peer hears all. The replica takes over
// as successor, with a clock that is behind, writes `after` times, and then what
// the old primary had is adopted. It returns what all agree on.
func failover(t testing.TB, successor crdt.Actor, heard, before, after int, behind time.Duration) crdt.Record {
	t.Helper()
	old := &node{actor: actor(1, 1)}
	var f crdt.Fragment
	old.rec, f = born(t, old.actor, time.Hour)
	next := &node{actor: successor, skew: -behind, rec: old.rec}
	peer, _ := crdt.Merge(crdt.Record{Key: old.rec.Key}, f)
	hear := func(f crdt.Fragment, from crdt.Record) {
		var o crdt.Outcome
		if peer, o = crdt.Merge(peer, f); o == crdt.Gap || o == crdt.Fork {
			peer = crdt.Join(peer, from)
		}
	}
	write := func(n *node, i int) {
		f, err := n.apply(start+1, add(uint64(i+1), max(n.at(start+1).Now.Stamp(), n.rec.VV.Max()+1), fmt.Sprint("f", i)))
		if err != nil {
			t.Fatalf("write %d = %v", i, err)
		}
		hear(f, n.rec)
	}
	for i := range before {
		write(old, i)
		if i == heard-1 {
			next.rec = old.rec
		}
	}
	for i := range after {
		write(next, before+i)
	}
	f, err := next.apply(start+2, crdt.Op{Adopt: &old.rec}) // salvage
	if err != nil {
		t.Fatalf("salvage = %v", err)
	}
	hear(f, next.rec)
	all := crdt.Join(peer, next.rec)
	if successor != old.actor {
		sameRecord(t, "peer after salvage", peer, next.rec)
	}
	return all
}

func TestSalvageLosesNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		before, after := rapid.IntRange(0, 6).Draw(rt, "before"), rapid.IntRange(0, 6).Draw(rt, "after")
		heard := rapid.IntRange(0, before).Draw(rt, "heard")
		behind := time.Duration(rapid.IntRange(-20_000, 20_000).Draw(rt, "behind")) * time.Millisecond
		got := failover(t, actor(1, 2), heard, before, after, behind)
		if n := got.Count("n"); n != int64(before+after) {
			rt.Fatalf("counter = %d after salvage, want %d", n, before+after)
		}
		for i := range before + after {
			if value(got, fmt.Sprint("f", i)) != "1" {
				rt.Fatalf("write %d of %d+%d is lost", i, before, after)
			}
		}
	})
}

// The rule is needed: a successor that goes on under its predecessor's name
// mints dots again that peers have heard, and overwrites its running totals.
func TestRepeatedIncarnationLoses(t *testing.T) {
	got := failover(t, actor(1, 1), 1, 3, 1, 20*time.Second)
	if n := got.Count("n"); n >= 4 {
		t.Errorf("counter = %d of 4 additions; if nothing is lost, the rule is not needed", n)
	}
	r, frags := chain(t, actor(1, 1), 3)
	successor := crdt.Record{Key: r.Key}
	successor, _ = crdt.Merge(successor, frags[0])
	_, again := must(t, successor, put(successor.VV.Max()+1, "mine", "1"), crdt.Origin{Actor: actor(1, 1), Now: start})
	if after, o := crdt.Merge(r, again); o != crdt.Duplicate || value(after, "mine") == "1" {
		t.Errorf("Merge of a write under a repeated incarnation = %v; if it is taken, the rule is not needed", o)
	}
	successor, _ = crdt.Merge(crdt.Record{Key: r.Key}, frags[0])
	_, fresh := must(t, successor, put(successor.VV.Max()+1, "mine", "1"), crdt.Origin{Actor: actor(1, 2), Now: start})
	if after, o := crdt.Merge(r, fresh); o != crdt.Applied || value(after, "mine") != "1" {
		t.Errorf("Merge of a write under a new incarnation = %v, mine = %q, want it applied", o, value(after, "mine"))
	}
}
