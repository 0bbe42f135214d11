package crdt_test

import (
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// What is adopted is logged, with its vector, so that peers hear of it and know
// that they have.
func TestAdoptIsLoggedWithItsVector(t *testing.T) {
	r, f := born(t, actor(1, 1), time.Hour)
	peer, _ := crdt.Merge(crdt.Record{Key: r.Key}, f)
	side, _ := must(t, r, put(r.VV.Max()+1, "a", "kept aside"), crdt.Origin{Actor: actor(3, 7), Now: start})
	r, f = must(t, r, crdt.Op{Adopt: &side}, here())
	if !f.Effect.VV.Covers(side.VV) || !f.Effect.VV.Has(f.Dot) || f.Dot.Actor != here().Actor {
		t.Errorf("fragment %v has vector %v, want it to cover %v and itself", f.Dot, f.Effect.VV, side.VV)
	}
	old, _ := side.Field(".a")
	if got, _ := r.Field(".a"); got.Dot != old.Dot {
		t.Errorf("adopted field has dot %v, want its own %v", got.Dot, old.Dot)
	}
	peer, o := crdt.Merge(peer, f)
	if o != crdt.Applied {
		t.Fatalf("Merge at the peer = %v, want applied", o)
	}
	sameRecord(t, "peer", peer, r)
	again, f := must(t, r, crdt.Op{Adopt: &side}, here())
	if f.Dot.IsZero() || value(again, "a") != "kept aside" {
		t.Errorf("adopted again: fragment %v, want it logged again", f.Dot)
	}
}

func TestAdoptIntoNothing(t *testing.T) {
	side, _ := born(t, actor(3, 7), time.Hour)
	r, f := must(t, crdt.Record{Key: side.Key}, crdt.Op{Adopt: &side}, here())
	if r.Judge(here().Now, secret(1), nil) != crdt.Live || f.Prev != 0 {
		t.Errorf("adopted = %+v prev %v, want it live and first", r, f.Prev)
	}
	// And with it, what the request wants besides.
	op := put(here().Now.Stamp(), "a", "1")
	op.Adopt = &side
	if r, _ = must(t, crdt.Record{Key: side.Key}, op, here()); value(r, "a") != "1" {
		t.Errorf("a = %q after adopting and writing at once, want 1", value(r, "a"))
	}
}

// A sealed record must not have a vector: two tabs may have sealed different
// content under one. Without it, both are taken in.
func TestTwoSealedTabs(t *testing.T) {
	r, _ := born(t, actor(1, 1), time.Hour)
	s := r.VV.Max()
	for i, name := range []string{"a", "b"} {
		tab := crdt.Record{Key: r.Key, Fields: []crdt.Field{{Name: "." + name, Dot: dot(actor(3, 1), s+1), Value: []byte{byte('0' + i)}}}}
		r, _ = must(t, r, crdt.Op{Adopt: &tab}, here())
	}
	if value(r, "a") != "0" || value(r, "b") != "1" {
		t.Errorf("a, b = %q, %q after both tabs, want 0, 1", value(r, "a"), value(r, "b"))
	}
}

func TestAdoptEnds(t *testing.T) {
	r, _ := born(t, actor(1, 1), time.Hour)
	anns, _ := must(t, r, login(here().Now.Stamp(), "ann"), here())
	bobs, _ := must(t, r, login(here().Now.Stamp(), "bob"), crdt.Origin{Actor: actor(2, 1), Now: here().Now})
	for what, adopted := range map[string]crdt.Record{"dead": {Key: r.Key, Dead: true}, "another user's": bobs} {
		op := put(here().Now.Stamp(), "a", "1")
		op.Adopt = &adopted
		out, f := must(t, anns, op, here())
		if !out.Dead || !f.Effect.Dead || f.Dot.IsZero() {
			t.Errorf("%s: adopted = %+v, fragment %+v, want a logged ending", what, out, f)
		}
	}
	user := crdt.Record{Key: crdt.UserKey("ann")}
	other, g := must(t, user, crdt.Op{Revoke: true}, crdt.Origin{Actor: actor(2, 1), Now: start})
	user, f := must(t, user, crdt.Op{Adopt: &other}, here())
	if !user.Epochs().Has(g.Dot) || f.Dot.IsZero() {
		t.Errorf("epochs = %v after adopting a user's record, want %v in them", user.Epochs(), g.Dot)
	}
}

// A counter's cell remembers four operations: a repeat counts once while no more
// than that came between.
func TestAdditionsCountOnce(t *testing.T) {
	r, _ := born(t, actor(1, 1), 0)
	s := here().Now.Stamp()
	do := func(id uint64, at crdt.Actor) {
		r, _ = must(t, r, crdt.Op{ID: id, Stamp: s, Changes: []crdt.Change{crdt.Add("n", 10), crdt.Add("m", -1)}},
			crdt.Origin{Actor: at, Now: here().Now})
	}
	for id := uint64(1); id <= 4; id++ {
		do(id, actor(1, 1))
	}
	for id := uint64(1); id <= 4; id++ {
		do(id, actor(1, 1))
	}
	if n, m := r.Count("n"), r.Count("m"); n != 40 || m != -4 {
		t.Errorf("counters = %d, %d after four additions twice, want 40, -4", n, m)
	}
	do(5, actor(1, 1))
	do(1, actor(1, 1)) // forgotten: the fifth pushed it out
	if n := r.Count("n"); n != 60 {
		t.Errorf("counter = %d after a repeat that is too late, want 60", n)
	}
	do(5, actor(2, 1)) // a successor that has heard of it
	if n := r.Count("n"); n != 60 {
		t.Errorf("counter = %d after a repeat at an actor that knows, want 60", n)
	}
	if f := r.Fields; len(f) != 2 {
		t.Errorf("fields = %v, want a cell of each counter and none of the actor that repeated", f)
	}
	if n := r.Count("none"); n != 0 {
		t.Errorf("counter that was never added to = %d, want 0", n)
	}
	odd := crdt.Join(r, crdt.Record{Key: r.Key, Fields: []crdt.Field{{Name: "#n\x00\x10\x00\x09", Dot: dot(actor(1, 9), 1), Value: []byte("short")}}})
	if n := odd.Count("n"); n != 60 {
		t.Errorf("counter with a cell that no Apply made = %d, want 60", n)
	}
}

// A primary fails over before its answer is heard, and the operation is repeated
// at a successor that has not heard of it. When what the first one wrote comes
// back, it counts once.
func TestAdditionTakenByTwoActorsCountsOnce(t *testing.T) {
	r, _ := born(t, actor(1, 1), 0)
	op := crdt.Op{ID: 7, Stamp: here().Now.Stamp(), Changes: []crdt.Change{crdt.Add("n", 10)}}
	lost, _ := must(t, r, op, crdt.Origin{Actor: actor(1, 1), Now: here().Now})
	again, _ := must(t, r, op, crdt.Origin{Actor: actor(1, 2), Now: here().Now})
	other := op
	other.ID = 8
	again, _ = must(t, again, other, crdt.Origin{Actor: actor(1, 2), Now: here().Now})
	for _, joined := range []crdt.Record{crdt.Join(lost, again), crdt.Join(again, lost)} {
		if n := joined.Count("n"); n != 20 {
			t.Errorf("counter = %d after one operation at two actors and another, want 20", n)
		}
	}
}

// Whoever hears of a repeated addition has it, even where the first try has not
// been heard of.
func TestRepeatedAdditionBringsTheCell(t *testing.T) {
	r, birth := born(t, actor(1, 1), 0)
	op := crdt.Op{ID: 7, Stamp: here().Now.Stamp(), Changes: []crdt.Change{crdt.Add("n", 10)}}
	first, _ := must(t, r, op, crdt.Origin{Actor: actor(1, 1), Now: here().Now})
	_, f := must(t, first, op, crdt.Origin{Actor: actor(1, 2), Now: here().Now})
	peer, _ := crdt.Merge(crdt.Record{Key: r.Key}, birth)
	peer, out := crdt.Merge(peer, f)
	if n := peer.Count("n"); out != crdt.Applied || n != 10 {
		t.Errorf("peer counts %d (%v) after the repeat alone, want 10", n, out)
	}
}

func TestSets(t *testing.T) {
	r, _ := born(t, actor(1, 1), 0)
	s := here().Now.Stamp()
	do := func(s crdt.Stamp, c crdt.Change) {
		r, _ = must(t, r, crdt.Op{Stamp: s, Changes: []crdt.Change{c}}, here())
	}
	do(s, crdt.Mark("cart", "tea"))
	do(s, crdt.Mark("cart", "book"))
	do(s, crdt.Mark("cartoons", "cat"))
	do(s+2, crdt.Unmark("cart", "tea"))
	do(s+1, crdt.Mark("cart", "tea")) // older than the Unmark
	if got := r.Elements("cart"); len(got) != 1 || got[0] != "book" || r.Contains("cart", "tea") || !r.Contains("cart", "book") {
		t.Errorf("cart = %q, want book alone", got)
	}
	do(s+3, crdt.Mark("cart", "tea"))
	if got := r.Elements("cart"); len(got) != 2 || got[0] != "book" || got[1] != "tea" {
		t.Errorf("cart = %q after marking tea again, want book and tea", got)
	}
}
