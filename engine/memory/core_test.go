package memory_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
)

// transcript drives a Core and writes down all that it shows.
func transcript(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	d, now := newDriver(), crdt.TimeOf(newClock().Now())
	c := memory.NewCore(crdt.NewActor(1, 1), memory.Config{})
	var keys []crdt.Key
	for i := range 500 {
		now += 50
		op := d.put(now, "a", i%40)
		if i%5 == 0 {
			keys = append(keys, d.key(now))
			op = d.birth(now, "ann", time.Minute)
		}
		dot, err := c.Apply(now, keys[len(keys)-1], op)
		fmt.Fprintln(&out, dot, err)
	}
	for p := range uint16(crdt.Partitions) {
		for _, r := range c.Scan(now, p) {
			fmt.Fprintln(&out, r.Key, r.Digest())
		}
		for at, more := (engine.Position{}), true; more; {
			var b engine.Batch
			b, more = c.Log(p, at, 3, 1<<20)
			at = b.Last()
			fmt.Fprintln(&out, at, len(b.Frags))
		}
		fmt.Fprintln(&out, c.Sweep(now.Add(2*time.Minute), p, 1), len(c.Scan(now, p)))
	}
	return out.Bytes()
}

func TestCoreAnswersTheSameEachTime(t *testing.T) {
	if a, b := transcript(t), transcript(t); !bytes.Equal(a, b) {
		t.Errorf("two runs of the same calls differ:\n%s\n\n%s", a, b)
	}
}

func TestScanIsSorted(t *testing.T) {
	d, now := newDriver(), crdt.TimeOf(newClock().Now())
	c := memory.NewCore(crdt.NewActor(1, 1), memory.Config{})
	for range 2000 {
		c.Join(now, crdt.Record{Key: d.key(now), Dead: true})
	}
	sorted := slices.IsSortedFunc(c.Scan(now, 5), func(a, b crdt.Record) int { return bytes.Compare(a.Key.Name(), b.Key.Name()) })
	if n := len(c.Scan(now, 5)); n < 2 || !sorted {
		t.Errorf("Scan(5) = %d records, sorted %v, want some, sorted by key", n, sorted)
	}
}

// The log of a long cut holds sessions that have idled out meanwhile. They are
// no gaps: there is no state to be had anywhere.
func TestIngestOfIdleSessionsHasNoGaps(t *testing.T) {
	d, then := newDriver(), crdt.TimeOf(newClock().Now())
	origin := memory.NewCore(crdt.NewActor(2, 1), memory.Config{})
	k := d.key(then)
	ops := []crdt.Op{d.birth(then, "ann", time.Minute), d.put(then, "a", 1), d.put(then, "b", 1)}
	for i, op := range ops {
		if dot, err := origin.Apply(then, k, op); err != nil || dot.IsZero() {
			t.Fatalf("Apply(%d) = %v, %v, want a dot", i, dot, err)
		}
	}
	c, now := memory.NewCore(crdt.NewActor(1, 1), memory.Config{}), then.Add(time.Hour)
	b, _ := origin.Log(k.Partition(), engine.Position{}, 10, 1<<20)
	got, err := c.Ingest(now, 2, b)
	if err != nil || len(got.Gaps) > 0 || got.Position != b.Last() {
		t.Errorf("Ingest of an idle session = %+v, %v, want no gaps, position %v", got, err, b.Last())
	}
	if r := c.Read(now, k); !r.IsBottom() || len(c.Scan(now, k.Partition())) != 0 {
		t.Errorf("Read, Scan of an idle session = %+v, want bottom, nothing", r)
	}
	c.Sweep(now, k.Partition(), 10)
	if r := c.Read(then, k); !r.IsBottom() {
		t.Errorf("Read after the sweep = %+v, want it gone", r)
	}
}

func TestBatchesThatNoLogEmitsAreRefused(t *testing.T) {
	d, now := newDriver(), crdt.TimeOf(newClock().Now())
	c := memory.NewCore(crdt.NewActor(1, 1), memory.Config{})
	r, f := remote(t, d, now)
	good := engine.Batch{Partition: r.Key.Partition(), Actor: f.Dot.Actor, First: 1, Frags: []crdt.Fragment{f}}
	for what, spoil := range map[string]func(*engine.Batch) crdt.Region{
		"of another region":       func(*engine.Batch) crdt.Region { return 3 },
		"of no region":            func(b *engine.Batch) crdt.Region { b.Actor = 5; return 0 },
		"of no partition":         func(b *engine.Batch) crdt.Region { b.Partition = crdt.Partitions; return 2 },
		"of another partition":    func(b *engine.Batch) crdt.Region { b.Partition ^= 1; return 2 },
		"that begins at zero":     func(b *engine.Batch) crdt.Region { b.First = 0; return 2 },
		"that begins at its fork": func(b *engine.Batch) crdt.Region { b.Fork = 1; return 2 },
		"with another's fragment": func(b *engine.Batch) crdt.Region { b.Actor++; return 2 },
	} {
		b := good
		from := spoil(&b)
		if _, err := c.Ingest(now, from, b); !errors.Is(err, crdt.ErrMalformed) {
			t.Errorf("Ingest(batch %s) = %v, want ErrMalformed", what, err)
		}
	}
	if r := c.Read(now, r.Key); !r.IsBottom() {
		t.Errorf("Read after refused batches = %+v, want bottom", r)
	}
}

func TestLogFromBeyondItsHeadBeginsAnew(t *testing.T) {
	d, now := newDriver(), crdt.TimeOf(newClock().Now())
	c, k := memory.NewCore(crdt.NewActor(1, 1), memory.Config{}), d.key(now)
	if _, err := c.Apply(now, k, d.birth(now, "", 0)); err != nil {
		t.Fatalf("Apply(birth) = %v, want no error", err)
	}
	b, more := c.Log(k.Partition(), engine.Position{Actor: c.Actor(), N: 9}, 10, 1<<20)
	if b.First != 1 || len(b.Frags) != 1 || more {
		t.Errorf("Log from 9 of 1 = %d fragments from %d, more %v, want 1 from 1, none", len(b.Frags), b.First, more)
	}
}

// A release beyond the head says nothing of entries that are written later.
func TestReleaseEndsAtTheHead(t *testing.T) {
	d, now := newDriver(), crdt.TimeOf(newClock().Now())
	c, k := memory.NewCore(crdt.NewActor(1, 1), memory.Config{KeepReleased: time.Minute}), d.key(now)
	p := k.Partition()
	c.Release(p, engine.Position{Actor: c.Actor(), N: 9})
	if _, err := c.Apply(now, k, d.birth(now, "", 0)); err != nil {
		t.Fatalf("Apply(birth) = %v, want no error", err)
	}
	c.Sweep(now, p, 10)
	c.Sweep(now.Add(time.Hour), p, 10)
	if b, _ := c.Log(p, engine.Position{}, 10, 1<<20); len(b.Frags) != 1 {
		t.Errorf("Log after a release of 9 while empty has %d fragments, want 1", len(b.Frags))
	}
}

// What is heard of a session in parts may move its end forward.
func TestSweepHearsOfAnEarlierEnd(t *testing.T) {
	d, now := newDriver(), crdt.TimeOf(newClock().Now())
	c, k := memory.NewCore(crdt.NewActor(1, 1), memory.Config{}), d.key(now)
	birth, _, err := crdt.Apply(crdt.Record{Key: k}, d.birth(now, "", time.Minute), crdt.Origin{Actor: crdt.NewActor(2, 1), Now: now})
	if err != nil {
		t.Fatalf("crdt.Apply(birth) = %v, want no error", err)
	}
	c.Join(now, crdt.Record{Key: k, Touch: now}) // no idle time: kept to the deadline
	c.Join(now, birth)
	later := now.Add(time.Hour)
	if more := c.Sweep(later, k.Partition(), 0); !more {
		t.Errorf("Sweep without a budget = %v, want more to do", more)
	}
	if more := c.Sweep(later, k.Partition(), 1); more || !c.Read(now, k).IsBottom() {
		t.Errorf("Sweep after the idle time = more %v, record %+v, want it gone", more, c.Read(now, k))
	}
}

func TestUsersArePrunedWhenWritten(t *testing.T) {
	d, now := newDriver(), crdt.TimeOf(newClock().Now())
	c, k := memory.NewCore(crdt.NewActor(1, 1), memory.Config{}), crdt.UserKey("ann")
	index := crdt.Op{Stamp: d.stamp(now), Changes: []crdt.Change{crdt.Index(d.key(now).SessionID(), nil)}}
	for _, op := range []crdt.Op{index, {Revoke: true}} {
		if _, err := c.Apply(now, k, op); err != nil {
			t.Fatalf("Apply(%+v) = %v, want no error", op, err)
		}
	}
	full, later := c.Read(now, k), now.Add(48*time.Hour)
	c.Join(later, full)
	if got := len(c.Read(later, k).Fields); got != 1 {
		t.Errorf("user's record joined after the session's end has %d fields, want 1, the epoch", got)
	}
	if _, err := c.Apply(later, k, crdt.Op{Revoke: true, Adopt: &full}); err != nil {
		t.Fatalf("Apply(revoke, adopting the old record) = %v, want no error", err)
	}
	if got := len(c.Read(later, k).Fields); got != 1 {
		t.Errorf("user's record written after the session's end has %d fields, want 1, the epoch", got)
	}
}

func TestJoinKeepsNothingThatIsPastItsTime(t *testing.T) {
	c, d := newClock(), newDriver()
	now := crdt.TimeOf(c.Now())
	e := open(t, 1, memory.Config{Clock: c.Now, SweepInterval: time.Hour})
	r, _ := remote(t, d, now)
	c.Advance(48 * time.Hour)
	if err := e.Join(t.Context(), r); err != nil || e.Stats().Records != 0 {
		t.Errorf("Join(session past its deadline) = %v, leaves %d records, want no error, none", err, e.Stats().Records)
	}
}
