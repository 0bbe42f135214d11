package crdt_test

import (
	"errors"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

func TestTimes(t *testing.T) {
	for _, c := range []struct {
		std  string
		want crdt.Time
	}{
		{"2024-01-01T00:00:00Z", 0},
		{"1999-01-01T00:00:00Z", 0},
		{"2024-01-01T00:00:00.0019Z", 1},
		{"2024-01-02T01:00:00+01:00", 86_400_000},
		{"2400-01-01T00:00:00Z", 11865398400000},
	} {
		std, err := time.Parse(time.RFC3339Nano, c.std)
		if err != nil {
			t.Fatal(err)
		}
		if got := crdt.TimeOf(std); got != c.want {
			t.Errorf("TimeOf(%s) = %d, want %d", c.std, got, c.want)
		}
		if back := crdt.TimeOf(c.want.Std()); back != c.want {
			t.Errorf("TimeOf(%v.Std()) = %v", c.want, back)
		}
	}
	last := crdt.Time(1<<48 - 1)
	if got := last.Std().Year(); got != 10943 {
		t.Errorf("the last time is in %d, want 10943", got)
	}
	if got := last.Sub(0); got < 292*365*24*time.Hour {
		t.Errorf("%d.Sub(0) = %v, want all that a Duration holds", last, got)
	}
	if got := crdt.Time(0).Sub(last); got > -292*365*24*time.Hour {
		t.Errorf("0.Sub(%d) = %v, want all that a Duration holds", last, got)
	}
	if got := crdt.Time(-5).Stamp(); got != 0 {
		t.Errorf("stamp before 2024 = %v, want 0", got)
	}
	if got := crdt.Time(7).Stamp().Time(); got != 7 {
		t.Errorf("Time(7).Stamp().Time() = %v, want 7", got)
	}
}

// More than 4,096 writes in a millisecond carry into the next, and writes on a
// clock that stands still or goes back stay in order.
func TestDotsGoOnWhateverTheClock(t *testing.T) {
	r, _ := born(t, actor(1, 1), 0)
	last := r.VV.Max()
	for i := range 5000 {
		at := crdt.Origin{Actor: actor(1, 1), Now: start.Add(-time.Duration(i) * time.Millisecond)}
		var f crdt.Fragment
		r, f = must(t, r, put(last, "a", "1"), at)
		if f.Dot.Stamp <= last || f.Prev != last {
			t.Fatalf("write %d has dot %v prev %v, want one after %v", i, f.Dot, f.Prev, last)
		}
		last = f.Dot.Stamp
	}
	if last.Time() != start+1 {
		t.Errorf("after 5,000 writes the stamp is at %v, want %v", last.Time(), start+1)
	}
}

// A clock at the end of time must not make fragments that nobody can read.
func TestNoStampIsLeft(t *testing.T) {
	end := crdt.Origin{Actor: actor(1, 1), Now: crdt.MaxStamp.Time() + 1000}
	user := crdt.Record{Key: crdt.UserKey("ann")}
	user, f := must(t, user, crdt.Op{Revoke: true}, end)
	if _, err := crdt.DecodeFragment(crdt.AppendFragment(nil, f)); err != nil {
		t.Fatalf("fragment with %v can't be read: %v", f.Dot, err)
	}
	out, f, err := crdt.Apply(user, crdt.Op{Revoke: true}, end)
	if !errors.Is(err, crdt.ErrAhead) || !f.Dot.IsZero() {
		t.Errorf("Apply after the last stamp = %+v, %v, want ErrAhead", f, err)
	}
	sameRecord(t, "refused", out, user)
}

// A sealed record brings stamps and no vector. What is written next, above the
// record's vector, must win over what was adopted.
func TestWriteAfterAdoptingTheFuture(t *testing.T) {
	r, _ := born(t, actor(1, 1), 0)
	ahead := start.Add(30 * time.Second).Stamp()
	sealed := crdt.Record{Key: r.Key, Born: r.Born, Auth: r.Auth, Fields: []crdt.Field{
		{Name: ".a", Dot: dot(actor(2, 1), ahead), Value: []byte("sealed")},
	}}
	at := crdt.Origin{Actor: actor(1, 1), Now: start}
	r, _ = must(t, r, crdt.Op{Adopt: &sealed}, at)
	r, _ = must(t, r, put(r.VV.Max()+1, "a", "new"), at)
	if got := value(r, "a"); got != "new" {
		t.Errorf("a = %q after adopting and writing, want %q", got, "new")
	}
}
