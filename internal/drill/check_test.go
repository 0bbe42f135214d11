package drill

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/ledger"
)

// key returns that of the nth session.
func key(n byte) crdt.Key {
	var entropy crdt.IDEntropy
	entropy[len(entropy)-1] = n
	return crdt.SessionKey(crdt.NewSessionID(crdt.TimeOf(noon().Add(time.Hour)), 1, entropy))
}

func noon() time.Time { return time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC) }

// dot returns that of a write some milliseconds after noon, of a Region's nth reign.
func dot(r crdt.Region, reign uint32, ms int) crdt.Dot {
	return crdt.Dot{Actor: crdt.NewActor(r, reign), Stamp: crdt.TimeOf(noon().Add(time.Duration(ms) * time.Millisecond)).Stamp()}
}

// loss is a story: three writes to two sessions, and a logout, of which the new primary has
// the first one alone.
func loss() (writes []Write, has map[crdt.Key]crdt.Record, r ledger.Receipt) {
	writes = []Write{
		{Who: "ann", Key: key(1), Dot: dot(1, 1, 0), At: "west"},
		{Who: "ann", Key: key(1), Dot: dot(1, 1, 10), At: "west"},
		{Who: "bob", Key: key(2), Dot: dot(1, 1, 5), At: "west"},
		{Who: "cid", Key: key(3), Dot: dot(1, 1, 7), At: "west", Ends: true},
	}
	has = map[crdt.Key]crdt.Record{
		key(1): {Key: key(1), VV: crdt.Vector{dot(1, 1, 0)}},
		key(2): {Key: key(2)},
		key(3): {Key: key(3), VV: crdt.Vector{dot(1, 1, 7)}},
	}
	r = ledger.Receipt{Counts: map[ledger.Fate]uint64{ledger.Recovered: 2, ledger.Superseded: 1}}
	for i, at := range []int{10, 5, 7} {
		fate := []ledger.Fate{ledger.Recovered, ledger.Superseded, ledger.Recovered}[i]
		r.Items = append(r.Items, ledger.Item{
			Session: []crdt.Key{key(1), key(2), key(3)}[i].String(), At: noon().Add(time.Duration(at) * time.Millisecond), Fate: fate,
		})
	}
	return writes, has, r
}

// A write is missing where no vector covers it, and a logout where the session lives on.
func TestLacking(t *testing.T) {
	writes, has, _ := loss()
	if got := lacking(writes, has); len(got) != 3 || got[0].Dot != writes[1].Dot || got[1].Who != "bob" || !got[2].Ends {
		t.Errorf("lacking = %+v, want the last write of ann, bob's and cid's logout", got)
	}
	for k := range has {
		has[k] = crdt.Record{Key: k, Dead: true}
	}
	if got := lacking(writes, has); got != nil {
		t.Errorf("lacking, of sessions that have ended = %+v, want none", got)
	}
	if got := unexplained(writes, writes, nil, has); !slices.Equal(got, []string{key(1).String(), key(2).String()}) {
		t.Errorf("unexplained = %q, want the sessions of ann and bob", got)
	}
	if got := unexplained(writes, writes, []Doubt{{Key: key(1), Ends: true}, {Key: key(2)}}, has); !slices.Equal(got, []string{key(2).String()}) {
		t.Errorf("unexplained, with a logout of ann in doubt = %q, want bob's session", got)
	}
	delete(has, key(2))
	if got := lacking(writes, has); len(got) != 1 || got[0].Who != "bob" {
		t.Errorf("lacking, of a session that is not there = %+v, want bob's", got)
	}
}

// A spoiling makes a receipt differ from what is missing, or the other way round.
type spoiling struct {
	change func(r *ledger.Receipt, missing *[]Write)
	doubts []Doubt
	want   string
}

func spoiled() map[string]spoiling {
	return map[string]spoiling{
		"too short": {
			change: func(r *ledger.Receipt, _ *[]Write) { r.Items, r.Counts[ledger.Recovered] = r.Items[1:], 1 },
			want:   "ann to " + key(1).String() + " is missing and not in",
		},
		"nobody reports a loss": {
			change: func(r *ledger.Receipt, _ *[]Write) { r.Items, r.Counts = nil, nil },
			want:   "cid to " + key(3).String() + " is missing and not in",
		},
		"too long": {
			change: func(_ *ledger.Receipt, missing *[]Write) { *missing = (*missing)[1:] },
			want:   "1 writes of " + key(1).String() + " that nobody made",
		},
		"twice": {
			change: func(r *ledger.Receipt, _ *[]Write) {
				r.Items, r.Counts[ledger.Superseded] = append(r.Items, r.Items[1]), 2
			},
			want: "1 writes of " + key(2).String() + " that nobody made",
		},
		"another session": {
			change: func(r *ledger.Receipt, _ *[]Write) { r.Items[1].Session = key(9).String() },
			want:   "bob to " + key(2).String() + " is missing and not in",
		},
		"another write of the session": {
			change: func(r *ledger.Receipt, _ *[]Write) { r.Items[0].At = noon() },
			want:   "ann to " + key(1).String() + " is missing and not in",
		},
		"a wrong sum": {
			change: func(r *ledger.Receipt, _ *[]Write) { r.Counts[ledger.Recovered] = 7 },
			want:   "counts 8 writes and names 3",
		},
		"lost for good": {
			change: func(r *ledger.Receipt, _ *[]Write) { r.Items[1].Fate = ledger.Lost },
			want:   "is lost in the receipt",
		},
		"more than doubts explain": {
			change: func(r *ledger.Receipt, _ *[]Write) {
				r.Items, r.Counts[ledger.Superseded] = append(r.Items, r.Items[1], r.Items[1]), 3
			},
			doubts: []Doubt{{Key: key(2), Times: 1}, {Key: key(1), Times: 5}},
			want:   "1 writes of " + key(2).String() + " that nobody made",
		},
	}
}

// A receipt agrees with what is missing, or the difference is found: whatever one item less,
// more or other makes of it.
func TestDisagreements(t *testing.T) {
	writes, has, whole := loss()
	missing := lacking(writes, has)
	if got := disagreements(missing, nil, whole); got != nil {
		t.Fatalf("disagreements of a receipt that is right = %q", got)
	}
	later := whole
	later.Items = slices.Clone(whole.Items)
	later.Items[2].At = noon().Add(time.Second) // an ending has no stamp of its own
	if got := disagreements(missing, nil, later); got != nil {
		t.Errorf("disagreements where a logout has another time = %q, want none", got)
	}
	for what, c := range spoiled() {
		_, _, r := loss()
		short := slices.Clone(missing)
		c.change(&r, &short)
		if got := disagreements(short, c.doubts, r); !strings.Contains(strings.Join(got, "\n"), c.want) {
			t.Errorf("%s: disagreements = %q, want one that says %q", what, got, c.want)
		}
	}
	_, _, r := loss()
	r.Items[0].At = noon()
	if got := disagreements(missing, nil, r); len(got) != 2 {
		t.Errorf("disagreements, with another time of a write = %q, want it missing, and one that nobody made", got)
	}
	_, _, r = loss()
	r.Items, r.Counts[ledger.Superseded] = append(r.Items, r.Items[1], r.Items[1]), 3
	if got := disagreements(missing, []Doubt{{Key: key(2), Times: 2}}, r); got != nil {
		t.Errorf("disagreements where two writes are in doubt = %q, want none", got)
	}
	if got := explained(missing, r); got != 2 {
		t.Errorf("explained = %d, want 2", got)
	}
}

// A receipt names the first writes of the list of all, as many as there is room for.
func TestMisnamed(t *testing.T) {
	var all []ledger.Item
	for i := range ledger.MaxItems + 2 {
		all = append(all, ledger.Item{Session: key(1).String(), At: noon().Add(time.Duration(i) * time.Millisecond)})
	}
	if got := misnamed(ledger.Receipt{Items: slices.Clone(all[:ledger.MaxItems])}, all); got != nil {
		t.Errorf("misnamed of a receipt that is right = %q", got)
	}
	if got := misnamed(ledger.Receipt{Items: all[:2]}, all[:2]); got != nil {
		t.Errorf("misnamed of a short one = %q", got)
	}
	for what, items := range map[string][]ledger.Item{"fewer": all[:9], "more": all, "others": all[1 : ledger.MaxItems+1]} {
		if misnamed(ledger.Receipt{Items: slices.Clone(items)}, all) == nil {
			t.Errorf("%s are not noticed", what)
		}
	}
	if misnamed(ledger.Receipt{Items: all[:2]}, all[:1]) == nil {
		t.Error("a list that is shorter than a receipt is not noticed")
	}
}

// Who takes a write that was sent after a later epoch had begun is found, and only who does.
func TestRivals(t *testing.T) {
	at := func(region string, epoch uint64, sent, acked time.Duration) Write {
		return Write{At: region, Epoch: epoch, Sent: sent, Acked: acked}
	}
	for what, c := range map[string]struct {
		writes []Write
		want   int
	}{
		"one after the other":              {[]Write{at("west", 1, 0, 5), at("east", 2, 3, 6), at("east", 2, 7, 8)}, 0},
		"an answer that came late":         {[]Write{at("west", 1, 0, 9), at("east", 2, 3, 6)}, 0},
		"sent in the instant of the other": {[]Write{at("west", 1, 6, 9), at("east", 2, 3, 6)}, 0},
		"both":                             {[]Write{at("west", 1, 7, 9), at("east", 2, 3, 6)}, 1},
		"both, two epochs apart":           {[]Write{at("west", 1, 7, 9), at("east", 3, 3, 6)}, 1},
		"each of three":                    {[]Write{at("west", 1, 7, 9), at("north", 2, 8, 9), at("east", 3, 3, 6)}, 2},
		"the first answer counts":          {[]Write{at("west", 1, 7, 9), at("east", 2, 3, 12), at("east", 2, 4, 6)}, 1},
		"the same server in an old epoch":  {[]Write{at("west", 1, 7, 9), at("west", 2, 3, 6)}, 1},
		"nobody knows the epoch":           {[]Write{at("west", 0, 7, 9), at("east", 2, 3, 6)}, 0},
		"of one epoch":                     {[]Write{at("west", 2, 7, 9), at("west", 2, 3, 6)}, 0},
	} {
		if got := rivals(c.writes); len(got) != c.want {
			t.Errorf("%s: rivals = %q, want %d", what, got, c.want)
		}
		slices.Reverse(c.writes)
		if got := rivals(c.writes); len(got) != c.want {
			t.Errorf("%s, in another order: rivals = %q, want %d", what, got, c.want)
		}
	}
	if got := doubles([]Write{at("west", 1, 0, 1), at("east", 1, 2, 3), at("east", 2, 4, 5), at("west", 0, 6, 7)}); len(got) != 1 ||
		!strings.Contains(got[0], "epoch 1 were taken in east and west") {
		t.Errorf("doubles = %q, want epoch 1", got)
	}
}

// Writes of clients are of the epoch in which their actor wrote for a prober, if that is one.
func TestAttributed(t *testing.T) {
	got := attributed([]Write{
		{Dot: dot(1, 1, 0), Epoch: 4},
		{Dot: dot(1, 1, 1)},
		{Dot: dot(1, 2, 2)},
		{Dot: dot(2, 1, 3), Epoch: 5},
		{Dot: dot(2, 1, 4), Epoch: 6},
		{Dot: dot(2, 1, 5)},
	})
	var epochs []uint64
	for _, w := range got {
		epochs = append(epochs, w.Epoch)
	}
	if want := []uint64{4, 4, 0, 5, 6, 0}; !slices.Equal(epochs, want) {
		t.Errorf("epochs = %v, want %v", epochs, want)
	}
}

// A gap is from the last acknowledgement of the one to the first of the other; a client's is
// from when it wanted to write, and what a write takes it is taken away.
func TestGaps(t *testing.T) {
	const ms = time.Millisecond
	var writes []Write
	ack := func(who, at string, took int, times ...int) {
		for _, x := range times {
			writes = append(writes, Write{Who: who, Home: "home of " + who, At: at, Sent: time.Duration(x-took) * ms, Acked: time.Duration(x) * ms})
		}
	}
	ack("ann", "west", 5, 10, 20, 30)
	ack("ann", "east", 130, 170)
	ack("ann", "east", 60, 240, 310)
	ack("bob", "west", 40, 0, 60, 120)
	ack("bob", "east", 45, 190)
	ack("bob", "east", 2, 195, 200)
	ack("cid", "west", 1, 100)
	if got, ok := gapOf(writes, "west", "east"); !ok || got != 50*ms {
		t.Errorf("gapOf = %v, %v, want 50ms", got, ok)
	}
	if _, ok := gapOf(writes, "west", "north"); ok {
		t.Error("gapOf of a Region that took nothing is ok")
	}
	doubts := []Doubt{{Who: "bob", Sent: 60 * ms}, {Who: "cid", Sent: 121 * ms}} // long ago, and another's
	got := gaps(writes, doubts, "west", "east")
	want := []Gap{{"ann", "home of ann", 130 * ms, 70 * ms}, {"bob", "home of bob", 45 * ms, 5 * ms}}
	if !slices.Equal(got, want) {
		t.Errorf("gaps = %+v, want %+v", got, want)
	}
	got = gaps(writes, append(doubts, Doubt{Who: "bob", Sent: 125 * ms}), "west", "east")
	if want[1] = (Gap{"bob", "home of bob", 65 * ms, 25 * ms}); !slices.Equal(got, want) {
		t.Errorf("gaps, with a write that was given up = %+v, want %+v", got, want)
	}
	ack("bob", "east", 2, 100)
	if got, ok := gapOf(writes, "west", "east"); !ok || got != 0 {
		t.Errorf("gapOf, where the one begins before the other has ended = %v, %v, want none", got, ok)
	}
}

// What a session shows is held against what was added to it.
func TestMiscounted(t *testing.T) {
	counts := []Count{{Key: key(1), Done: 3, Maybe: 2, Newest: 7}}
	for shown, bad := range map[Shown]bool{
		{Count: 3, Newest: 7}:             false,
		{Count: 5, Newest: 9}:             false,
		{Count: 2, Newest: 7}:             true,
		{Count: 6, Newest: 7}:             true,
		{Count: 3, Newest: 6}:             true,
		{Dead: true, Count: 0, Newest: 0}: false,
	} {
		if got := miscounted(counts, map[crdt.Key]Shown{key(1): shown}); (len(got) > 0) != bad {
			t.Errorf("miscounted of %+v = %q; wrong: %v", shown, got, bad)
		}
	}
	if got := miscounted(counts, nil); len(got) != 1 {
		t.Errorf("miscounted of a session that is not there = %q, want one", got)
	}
}
