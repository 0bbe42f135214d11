package crdt_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/roam-sessions/roam/crdt"
)

// chain returns n writes by a to a session, after its birth, and the record.
func chain(t testing.TB, a crdt.Actor, n int) (crdt.Record, []crdt.Fragment) {
	t.Helper()
	r, f := born(t, a, time.Hour)
	out := []crdt.Fragment{f}
	for i := range n {
		r, f = must(t, r, put(r.VV.Max()+1, fmt.Sprint("f", i%3), fmt.Sprint(i)), crdt.Origin{Actor: a, Now: start})
		out = append(out, f)
	}
	return r, out
}

func TestMergeInChainOrder(t *testing.T) {
	want, frags := chain(t, actor(1, 1), 6)
	got := crdt.Record{Key: want.Key}
	for i, f := range frags {
		var o crdt.Outcome
		if got, o = crdt.Merge(got, f); o != crdt.Applied {
			t.Fatalf("Merge of fragment %d = %v, want applied", i, o)
		}
		for j := range i + 1 {
			again, o := crdt.Merge(got, frags[j])
			if o != crdt.Duplicate {
				t.Fatalf("Merge of fragment %d after %d = %v, want duplicate", j, i, o)
			}
			sameRecord(t, "after a duplicate", again, got)
		}
	}
	sameRecord(t, "merged", got, want)
}

func TestMergeSeesGapsAndForks(t *testing.T) {
	_, frags := chain(t, actor(1, 1), 3)
	first, _ := crdt.Merge(crdt.Record{Key: sessionKey()}, frags[0])
	for i, f := range frags[2:] {
		got, o := crdt.Merge(first, f)
		if o != crdt.Gap {
			t.Errorf("Merge of fragment %d after the first = %v, want gap", i+2, o)
		}
		sameRecord(t, "after a gap", got, first)
	}
	if _, o := crdt.Merge(crdt.Record{Key: sessionKey()}, frags[1]); o != crdt.Gap {
		t.Errorf("Merge of the second fragment into nothing = %v, want gap", o)
	}
	fork := frags[2]
	fork.Prev = frags[0].Dot.Stamp
	second, _ := crdt.Merge(first, frags[1])
	got, o := crdt.Merge(second, fork)
	if o != crdt.Fork {
		t.Errorf("Merge of a fragment that follows the first, after the second = %v, want fork", o)
	}
	sameRecord(t, "after a fork", got, second)
}

// An ending can't wait for what is missing before it.
func TestEndingsPassGaps(t *testing.T) {
	r, frags := chain(t, actor(1, 1), 3)
	_, end := must(t, r, crdt.Op{Destroy: true}, here())
	for n := range frags {
		got := crdt.Record{Key: r.Key}
		for _, f := range frags[:n] {
			got, _ = crdt.Merge(got, f)
		}
		got, o := crdt.Merge(got, end)
		if o != crdt.Applied || !got.Dead {
			t.Fatalf("Merge of the ending after %d of %d = %v, dead %v, want it applied", n, len(frags), o, got.Dead)
		}
		for _, f := range append(frags, end) {
			if got, o = crdt.Merge(got, f); o != crdt.Duplicate || !got.Dead {
				t.Fatalf("Merge into the dead = %v, dead %v, want duplicate", o, got.Dead)
			}
		}
	}
}

func TestOutcomesHaveNames(t *testing.T) {
	for o, want := range map[crdt.Outcome]string{
		crdt.Applied: "applied", crdt.Duplicate: "duplicate", crdt.Gap: "gap", crdt.Fork: "fork",
	} {
		if got := o.String(); got != want {
			t.Errorf("Outcome %d = %q, want %q", o, got, want)
		}
	}
}

// Each actor's fragments in its own order, in any order between actors and any
// number of times: one result.
func TestMergeIsOrderFree(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		first, f := born(t, actor(1, 1), time.Hour)
		chains := map[int][]crdt.Fragment{0: {f}}
		want := first
		for i := range 3 {
			r := first
			for j := range rapid.IntRange(0, 4).Draw(rt, "writes") {
				s := max(r.VV.Max()+1, here().Now.Stamp()+crdt.Stamp(rapid.IntRange(0, 3).Draw(rt, "stamp")))
				op := put(s, fmt.Sprint(rapid.IntRange(0, 2).Draw(rt, "field")), fmt.Sprint(i, j))
				op.Changes = append(op.Changes, crdt.Add("n", 1))
				r, f = must(t, r, op, crdt.Origin{Actor: actor(crdt.Region(i+1), 1), Now: here().Now})
				chains[i] = append(chains[i], f)
			}
			want = crdt.Join(want, r)
		}
		got, next := crdt.Record{Key: first.Key}, [3]int{}
		for len(chains[0]) > next[0] || len(chains[1]) > next[1] || len(chains[2]) > next[2] {
			i := rapid.IntRange(0, 2).Draw(rt, "chain")
			if next[i] == len(chains[i]) {
				i = (i + 1) % 3
			}
			if next[i] == len(chains[i]) {
				i = (i + 1) % 3
			}
			var o crdt.Outcome
			if got, o = crdt.Merge(got, chains[i][next[i]]); o != crdt.Applied {
				rt.Fatalf("Merge of chain %d fragment %d = %v, want applied", i, next[i], o)
			}
			next[i]++
			if again := rapid.IntRange(0, 2*next[i]).Draw(rt, "again"); again < next[i] {
				if got, o = crdt.Merge(got, chains[i][again]); o != crdt.Duplicate {
					rt.Fatalf("Merge of chain %d fragment %d again = %v, want duplicate", i, again, o)
				}
			}
		}
		sameRecord(rt, "merged", got, want)
	})
}

// An origin that dropped its copy by the clock begins a new chain when it adopts
// the session again. Peers see a fork, and an exchange of full records loses
// nothing.
func TestForkAfterADroppedCopy(t *testing.T) {
	origin, frags := chain(t, actor(1, 1), 2)
	peer := crdt.Record{Key: origin.Key}
	for _, f := range frags {
		peer, _ = crdt.Merge(peer, f)
	}
	side, _ := must(t, origin, put(origin.VV.Max()+1, "aside", "1"), crdt.Origin{Actor: actor(3, 1), Now: start})
	sealed := side
	sealed.VV = nil
	again, f := must(t, crdt.Record{Key: origin.Key}, crdt.Op{Adopt: &sealed}, here())
	got, o := crdt.Merge(peer, f)
	if o != crdt.Fork {
		t.Fatalf("Merge of a chain begun anew = %v, want fork", o)
	}
	sameRecord(t, "after a fork", got, peer)
	both := crdt.Join(peer, again)
	sameRecord(t, "exchanged", crdt.Join(again, peer), both)
	if value(both, "aside") != "1" || value(both, "f1") != value(peer, "f1") {
		t.Errorf("after the exchange aside = %q, f1 = %q, want both writes", value(both, "aside"), value(both, "f1"))
	}
}

// A revocation is known at once, though an earlier write to its user's record
// is missing: the gap is still a gap, and what the vector says stays true.
func TestRevocationPassesAGap(t *testing.T) {
	key := crdt.UserKey("alice")
	at := crdt.Origin{Actor: crdt.NewActor(1, 1), Now: 1000}
	id := crdt.NewSessionID(at.Now.Add(time.Hour), 1, crdt.IDEntropy{})
	first, lost, err := crdt.Apply(crdt.Record{Key: key}, crdt.Op{Stamp: 1, Changes: []crdt.Change{crdt.Index(id, nil)}}, at)
	if err != nil {
		t.Fatal(err)
	}
	_, revoked, err := crdt.Apply(first, crdt.Op{Revoke: true}, at)
	if err != nil {
		t.Fatal(err)
	}
	peer, outcome := crdt.Merge(crdt.Record{Key: key}, revoked)
	if outcome != crdt.Gap || !peer.Epochs().Has(revoked.Dot) || len(peer.VV) != 0 {
		t.Errorf("Merge past a gap = %v, epochs %v, vector %v; want a gap, the epoch, no vector", outcome, peer.Epochs(), peer.VV)
	}
	for _, f := range []crdt.Fragment{lost, revoked} {
		if peer, outcome = crdt.Merge(peer, f); outcome != crdt.Applied {
			t.Errorf("Merge = %v, want applied", outcome)
		}
	}
}
