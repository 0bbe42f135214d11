package journal

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// start is when every test begins.
const start crdt.Time = 90_000_000_000

const (
	west  = crdt.Region(1)
	east  = crdt.Region(2)
	north = crdt.Region(3)
)

func everyone() []crdt.Region { return []crdt.Region{west, east, north} }

func session(i int) crdt.Key {
	id := crdt.NewSessionID(start.Add(time.Hour), west, crdt.IDEntropy{3: byte(i), 4: byte(i >> 8), 5: byte(i >> 16)})
	return crdt.SessionKey(id)
}

func dead(i int) crdt.Record { return crdt.Record{Key: session(i), Dead: true} }

func epoch(user string, incarnation uint32, at crdt.Time) crdt.Record {
	return crdt.EpochRecord(crdt.UserKey(user), crdt.Dot{Actor: crdt.NewActor(west, incarnation), Stamp: at.Stamp()})
}

func newCore(most int) *Core { return NewCore(crdt.NewActor(west, 7), most) }

// What waits has a bound, and nothing is forgotten to make room.
func TestCoreIsBounded(t *testing.T) {
	c := newCore(5)
	for i := range 3 {
		if err := c.Add(start, dead(i)); err != nil {
			t.Fatalf("Add(%d) = %v", i, err)
		}
	}
	for i := range uint32(2) {
		if err := c.Add(start, epoch("ann", i, start)); err != nil {
			t.Fatalf("Add(epoch %d) = %v", i, err)
		}
	}
	for _, more := range []crdt.Record{dead(9), epoch("ann", 9, start), epoch("bob", 1, start)} {
		if err := c.Add(start, more); !errors.Is(err, engine.ErrFull) {
			t.Errorf("Add beyond the bound = %v, want ErrFull", err)
		}
		if Knows(c.Known(more.Key), more) {
			t.Errorf("an ending that was refused is known")
		}
	}
	for _, again := range []crdt.Record{dead(1), epoch("ann", 1, start)} {
		if err := c.Add(start, again); err != nil {
			t.Errorf("Add of what is known, at the bound = %v, want no error", err)
		}
	}
	if err := c.Add(start, epoch("ann", 1, start+5)); err != nil {
		t.Errorf("Add of a later epoch of a known actor = %v, want no error: it takes no room", err)
	}
	for _, r := range everyone() {
		c.Confirm(dead(0), r)
	}
	c.Sweep(start, everyone())
	if err := c.Add(start, dead(9)); err != nil {
		t.Errorf("Add once there is room = %v, want no error", err)
	}
}

// An ending stays until the engines of all Regions have all of it.
func TestCoreConfirm(t *testing.T) {
	c := newCore(100)
	first, second := epoch("ann", 1, start), epoch("ann", 2, start)
	_ = c.Add(start, first)
	c.Confirm(first, west)
	c.Tell(first, east)
	if got := len(c.Waiting(east, 0, 9)); got != 1 {
		t.Errorf("waiting for east's engine = %d, want 1: its journal is no engine", got)
	}
	if got := len(c.Untold(east, 0, 9)) + len(c.Untold(west, 0, 9)); got != 0 {
		t.Errorf("untold in west and east = %d, want 0", got)
	}
	if got := len(c.Untold(north, 0, 9)); got != 1 {
		t.Errorf("untold in north = %d, want 1", got)
	}
	_ = c.Add(start, second)
	both := c.Known(first.Key)
	c.Confirm(first, north) // of what north was told, which is not all
	for _, r := range everyone() {
		if len(c.Waiting(r, 0, 9)) != 1 || len(c.Untold(r, 0, 9)) != 1 {
			t.Errorf("Region %d has heard of the second epoch, says the journal", r)
		}
	}
	for _, r := range everyone() {
		c.Tell(both, r)
	}
	for _, r := range everyone() {
		if got := c.Sweep(start, everyone()); len(got) != 0 {
			t.Errorf("swept %d before Region %d has it", len(got), r)
		}
		c.Confirm(both, r)
	}
	if got := c.Sweep(start, everyone()); len(got) != 1 || c.Len() != 0 || !c.Known(first.Key).IsBottom() {
		t.Errorf("swept %d and %d are left, want 1 and 0", len(got), c.Len())
	}
}

// What was settled before a restart goes, and what was learned after that stays.
func TestCoreSettles(t *testing.T) {
	c := newCore(100)
	first, second := epoch("ann", 1, start), epoch("ann", 2, start)
	c.Restore(start, first)
	c.Restore(start, dead(1))
	c.Restore(start, second)
	c.Settle(first)
	c.Settle(dead(1))
	c.Settle(dead(2))
	if !Knows(c.Known(first.Key), second) || c.Len() != 1 {
		t.Errorf("known = %+v, want the second epoch", c.All())
	}
	c.Settle(c.Known(first.Key))
	if c.Len() != 0 || c.size != 0 {
		t.Errorf("%d are left, of weight %d, want none", c.Len(), c.size)
	}
}

// An ending goes when nobody would serve what it ended by any clock, and not
// before.
func TestCoreExpires(t *testing.T) {
	c := newCore(100)
	_ = c.Add(start, dead(1))
	_ = c.Add(start, epoch("ann", 1, start))
	for _, step := range []struct {
		now  crdt.Time
		left int
	}{
		{start.Add(time.Hour), 2}, // clocks differ
		{start.Add(time.Hour + 3*time.Minute), 1},
		{start.Add(crdt.MaxLifetime), 1},
		{start.Add(crdt.MaxLifetime + 3*time.Minute), 0},
	} {
		if c.Sweep(step.now, everyone()); c.Len() != step.left {
			t.Errorf("%v after: %d left, want %d", step.now.Sub(start), c.Len(), step.left)
		}
	}
	if err := c.Add(start.Add(2*time.Hour), dead(1)); err != nil || c.Len() != 0 {
		t.Errorf("Add past its time = %v, %d left; want none", err, c.Len())
	}
	c.Restore(start.Add(2*time.Hour), dead(1))
	if c.Len() != 0 {
		t.Errorf("Restore past its time leaves %d, want none", c.Len())
	}
}

func TestCoreTakesOnlyEndings(t *testing.T) {
	user := epoch("ann", 1, start)
	indexed := user
	indexed.Fields = slices.Concat([]crdt.Field{{Name: "@" + string(session(1).Name()), Dot: user.Fields[0].Dot}}, user.Fields)
	born := crdt.Record{Key: session(1), Touch: start}
	heard := user
	heard.VV = crdt.Vector{user.Fields[0].Dot}
	for name, rec := range map[string]crdt.Record{
		"a live session": born, "nothing of a session": {Key: session(1)}, "nothing of a user": {Key: user.Key},
		"a user's sessions": indexed, "a user's vector": heard, "no key": {Dead: true},
	} {
		c := newCore(9)
		if err := c.Add(start, rec); !errors.Is(err, crdt.ErrMalformed) || c.Len() != 0 {
			t.Errorf("Add(%s) = %v, want ErrMalformed", name, err)
		}
	}
}

// An epoch is above the clock, above all that is known, and above the last one
// of its actor, whatever the clocks of others say.
func TestCoreMints(t *testing.T) {
	c, k := newCore(100), crdt.UserKey("ann")
	ahead := crdt.Dot{Actor: crdt.NewActor(east, 1), Stamp: start.Add(time.Second).Stamp()}
	wild := crdt.Dot{Actor: crdt.NewActor(north, 1), Stamp: crdt.MaxStamp}
	last := crdt.Dot{Actor: crdt.NewActor(west, 7)}
	for _, step := range []struct {
		name  string
		now   crdt.Time
		known crdt.Vector
		above crdt.Stamp
	}{
		{"the clock", start, nil, start.Stamp() - 1},
		{"its last one", start, nil, start.Stamp()},
		{"what is known", start, crdt.Vector{ahead}, ahead.Stamp},
		{"its last one, with a clock that fell back", start - 5000, nil, ahead.Stamp + 1},
		{"a clock at the end of time", start, crdt.Vector{wild}, start.Stamp()},
		{"and again", start, crdt.Vector{wild}, start.Stamp()},
	} {
		d := c.Mint(step.now, k, step.known)
		if d.Actor != last.Actor || d.Stamp <= step.above || d.Stamp <= last.Stamp || d.Stamp > start.Add(2*time.Minute).Stamp() {
			t.Errorf("above %s: minted %v, want above %v and %v, and near the clock", step.name, d, step.above, last)
		}
		last = d
		if err := c.Add(start, crdt.EpochRecord(k, d)); err != nil {
			t.Fatal(err)
		}
	}
}

// The laws: order, repeats and grouping of what is added don't matter, nor does
// a restart; what is known is the join of all that was added; and nothing goes
// before the engines of all Regions have it.
func TestCoreLaws(t *testing.T) {
	ending := rapid.Custom(func(t *rapid.T) crdt.Record {
		if rapid.Bool().Draw(t, "session") {
			return dead(rapid.IntRange(0, 5).Draw(t, "which"))
		}
		user := rapid.SampledFrom([]string{"ann", "bob"}).Draw(t, "user")
		e := epoch(user, uint32(rapid.IntRange(0, 2).Draw(t, "incarnation")), start+crdt.Time(rapid.IntRange(0, 3).Draw(t, "at")))
		if rapid.Bool().Draw(t, "two") {
			e = crdt.Join(e, epoch(user, uint32(rapid.IntRange(0, 2).Draw(t, "other")), start))
		}
		return e
	})
	rapid.Check(t, func(t *rapid.T) {
		added := rapid.SliceOfN(ending, 1, 12).Draw(t, "endings")
		want := map[crdt.Key]crdt.Record{}
		a, b := newCore(1000), newCore(1000)
		for _, e := range added {
			if err := a.Add(start, e); err != nil {
				t.Fatalf("Add = %v", err)
			}
			want[e.Key] = crdt.Join(e, want[e.Key])
		}
		again := rapid.Permutation(slices.Concat(added, added[:len(added)/2])).Draw(t, "again")
		for i, e := range again {
			if err := b.Add(start, e); err != nil {
				t.Fatalf("Add = %v", err)
			}
			if i == len(again)/2 { // a restart from what it says it knows
				fresh := newCore(1)
				for _, known := range b.All() {
					fresh.Restore(start, known)
				}
				fresh.most, b = 1000, fresh
			}
		}
		if a.Len() != len(want) || b.Len() != len(want) || a.size != b.size {
			t.Fatalf("%d and %d records, weights %d and %d; want %d", a.Len(), b.Len(), a.size, b.size, len(want))
		}
		for k, w := range want {
			w.Key = k
			if a.Known(k).Digest() != w.Digest() || b.Known(k).Digest() != w.Digest() {
				t.Fatalf("known = %+v and %+v, want %+v", a.Known(k), b.Known(k), w)
			}
		}
		confirmAtRandom(t, a, added)
	})
}

// confirmAtRandom confirms endings to a core, and checks that it keeps what some
// engine lacks and nothing else.
func confirmAtRandom(t *rapid.T, c *Core, endings []crdt.Record) {
	engines := map[crdt.Region]map[crdt.Key]crdt.Record{west: {}, east: {}, north: {}}
	missing := map[crdt.Key]crdt.Record{}
	for _, e := range c.All() {
		missing[e.Key] = e
	}
	for range rapid.IntRange(0, 30).Draw(t, "confirmations") {
		r := rapid.SampledFrom(everyone()).Draw(t, "region")
		e := rapid.SampledFrom(endings).Draw(t, "confirmed")
		if rapid.Bool().Draw(t, "all of it") && missing[e.Key].Key == e.Key {
			e = missing[e.Key]
		}
		has, ok := engines[r][e.Key]
		if !ok {
			has = crdt.Record{Key: e.Key}
		}
		engines[r][e.Key] = crdt.Join(has, e)
		c.Confirm(e, r)
		c.Sweep(start, everyone())
	}
	for k, e := range missing {
		everywhere := true
		for _, r := range everyone() {
			everywhere = everywhere && Knows(engines[r][k], e)
		}
		if kept := !c.Known(k).IsBottom(); !kept && !everywhere {
			t.Fatalf("%v is forgotten, and some engine lacks it", k)
		}
	}
}
