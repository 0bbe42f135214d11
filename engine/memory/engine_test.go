package memory_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
)

// bubbleClock is the bubble's clock, set after the year that crdt counts from.
func bubbleClock() time.Time { return time.Now().AddDate(26, 0, 0) }

func TestSweepDropsWhatIsPastItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDriver()
		e := open(t, 1, memory.Config{Clock: bubbleClock, MaxBytes: 1 << 20})
		now := crdt.TimeOf(bubbleClock())
		touched := d.key(now)
		apply(t, e, touched, d.birth(now, "", 10*time.Minute))
		for range 1000 { // several budgets
			apply(t, e, d.key(now), d.birth(now, "", 10*time.Minute))
		}
		time.Sleep(8 * time.Minute)
		apply(t, e, touched, crdt.Op{Touch: true})
		time.Sleep(8 * time.Minute)
		synctest.Wait()
		if s := e.Stats(); s.Records != 1 {
			t.Errorf("Records after 16 min = %d, want only the one that was touched", s.Records)
		}
		apply(t, e, touched, d.put(crdt.TimeOf(bubbleClock()), "a", 1))
		time.Sleep(time.Hour)
		synctest.Wait()
		if s := e.Stats(); s.Records != 0 || s.Bytes != 0 {
			t.Errorf("Stats after an hour = %d records, %d bytes, want none", s.Records, s.Bytes)
		}
		now = crdt.TimeOf(bubbleClock())
		fill(t, e, d, now, "")
		wantPercent(t, e, "births after the sweep", 80)
	})
}

func TestReleasedLogIsKeptAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDriver()
		e := open(t, 1, memory.Config{Clock: bubbleClock})
		now := crdt.TimeOf(bubbleClock())
		k := d.key(now)
		apply(t, e, k, d.birth(now, "", 0))
		for range 4 {
			apply(t, e, k, d.put(now, "a", 10))
		}
		head := e.Stats().Head
		upto := head
		upto[k.Partition()].N = 3
		if err := e.Release(t.Context(), upto); err != nil {
			t.Fatalf("Release = %v, want no error", err)
		}
		other := engine.Positions{}
		other[k.Partition()] = engine.Position{Actor: crdt.NewActor(2, 1), N: 5}
		if err := e.Release(t.Context(), other); err != nil {
			t.Fatalf("Release(another actor's) = %v, want no error", err)
		}
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		if got := e.Stats().LogEntries; got != 5 {
			t.Errorf("log 4 min after its release has %d entries, want 5", got)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := e.Stats(); got.LogEntries != 2 || got.Head != head {
			t.Errorf("log 6 min after a release up to 3 has %d entries, want 2 and the head where it was", got.LogEntries)
		}
		if b := first(t, e); b.First != 4 {
			t.Errorf("Follow from zero begins at %d, want 4", b.First)
		}
	})
}

// first returns the first batch of the log.
func first(t *testing.T, e *memory.Engine) (b engine.Batch) {
	t.Helper()
	enough := errors.New("enough")
	err := e.Follow(t.Context(), engine.Positions{}, func(got engine.Batch) error { b = got; return enough })
	if err != enough { //nolint:errorlint // Follow returns the error of emit as it is
		t.Fatalf("Follow = %v, want the error of emit", err)
	}
	return b
}

func TestOldestEntriesGoAtLogBytes(t *testing.T) {
	c, d := newClock(), newDriver()
	now := crdt.TimeOf(c.Now())
	e := open(t, 1, memory.Config{Clock: c.Now, LogBytes: crdt.Partitions * 8 << 10})
	k := d.key(now)
	apply(t, e, k, d.birth(now, "", 0))
	var last crdt.Dot
	for range 100 {
		last = apply(t, e, k, d.put(now, "a", 500))
	}
	s, b := e.Stats(), first(t, e)
	dots := make([]crdt.Dot, len(b.Frags))
	for i, f := range b.Frags {
		dots[i] = f.Dot
	}
	if s.LogBytes > 8<<10 || b.First == 1 || b.Last() != s.Head[k.Partition()] || b.Frags[len(b.Frags)-1].Dot != last {
		t.Errorf("log of %d bytes begins at %d, ends at %v, want at most 8 KiB, a hole, and its end at %v",
			s.LogBytes, b.First, b.Last(), s.Head[k.Partition()])
	}
	// One entry larger than the share is kept, or followers could not have it.
	last = apply(t, e, k, d.put(now, "b", 20<<10))
	if b := first(t, e); len(b.Frags) != 1 || b.Frags[0].Dot != last {
		t.Errorf("log after a large entry = %+v, want only %v", b, last)
	}
	for i, f := range b.Frags {
		if f.Dot != dots[i] {
			t.Errorf("fragment %d of a batch is %v after the log was trimmed, want %v as before", i, f.Dot, dots[i])
		}
	}
}

func TestBatchesAreBounded(t *testing.T) {
	c, d := newClock(), newDriver()
	now := crdt.TimeOf(c.Now())
	e := open(t, 1, memory.Config{Clock: c.Now})
	small, large := d.key(now), d.key(now)
	apply(t, e, small, d.birth(now, "", 0))
	apply(t, e, large, d.birth(now, "", 0))
	for range 300 {
		apply(t, e, small, d.put(now, "a", 1))
	}
	for range 4 {
		apply(t, e, large, d.put(now, "a", 30<<10))
	}
	var at engine.Positions
	var turns []uint16
	enough := errors.New("enough")
	_ = e.Follow(t.Context(), at, func(b engine.Batch) error { // the error is enough
		size := 0
		for _, f := range b.Frags {
			size += len(crdt.AppendFragment(nil, f))
		}
		if len(b.Frags) > 128 || size > 64<<10 {
			t.Errorf("batch of %d fragments, %d bytes, want at most 128, 64 KiB", len(b.Frags), size)
		}
		at[b.Partition] = b.Last()
		turns = append(turns, b.Partition)
		if at[small.Partition()].N == 301 && at[large.Partition()].N == 5 {
			return enough
		}
		return nil
	})
	if len(turns) < 5 || turns[0] == turns[1] {
		t.Errorf("batches came from partitions %v, want them in turn", turns)
	}
}

func TestOneLargeEntryIsABatch(t *testing.T) {
	c, d := newClock(), newDriver()
	now := crdt.TimeOf(c.Now())
	e := open(t, 1, memory.Config{Clock: c.Now})
	op := d.birth(now, "", 0)
	op.Changes = []crdt.Change{crdt.Put("a", make([]byte, 60<<10)), crdt.Put("b", make([]byte, 60<<10))}
	dot := apply(t, e, d.key(now), op)
	if b := first(t, e); len(b.Frags) != 1 || b.Frags[0].Dot != dot {
		t.Errorf("batch of an entry of 120 KiB = %d fragments, want it alone", len(b.Frags))
	}
}

func TestSecondaryTakesNoOperations(t *testing.T) {
	c, d := newClock(), newDriver()
	now := crdt.TimeOf(c.Now())
	e := open(t, 1, memory.Config{Clock: c.Now, Secondary: true})
	r, _ := remote(t, d, now)
	if err := e.Join(t.Context(), r); err != nil {
		t.Errorf("Join on a secondary = %v, want no error", err)
	}
	if _, err := e.Apply(t.Context(), r.Key, d.put(now, "a", 1)); !errors.Is(err, engine.ErrNotPrimary) {
		t.Errorf("Apply on a secondary = %v, want ErrNotPrimary", err)
	}
	e.SetPrimary(true)
	apply(t, e, r.Key, d.put(now, "a", 1))
	e.SetPrimary(false)
	if _, err := e.Apply(t.Context(), r.Key, crdt.Op{Destroy: true}); !errors.Is(err, engine.ErrNotPrimary) {
		t.Errorf("Apply after SetPrimary(false) = %v, want ErrNotPrimary", err)
	}
}

func TestEndedContextSendsNothing(t *testing.T) {
	e := open(t, 1, memory.Config{})
	cause := errors.New("the browser left")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	_, err := e.Apply(ctx, crdt.UserKey("ann"), crdt.Op{Revoke: true})
	for _, want := range []error{engine.ErrUnreachable, context.Canceled, cause} {
		if !errors.Is(err, want) {
			t.Errorf("Apply(ended context) = %v, want %v in it", err, want)
		}
	}
	if !engine.OutcomeKnown(err) {
		t.Errorf("OutcomeKnown(%v) = false, want true: nothing was sent", err)
	}
}

func TestEachRunIsAnotherActor(t *testing.T) {
	a, b := open(t, 3, memory.Config{}).Stats().Actor, open(t, 3, memory.Config{}).Stats().Actor
	if a == b || a.Region() != 3 || b.Region() != 3 {
		t.Errorf("actors of two engines = %v, %v, want two of region 3", a, b)
	}
	if got, want := open(t, 3, memory.Config{Incarnation: 7}).Stats().Actor, crdt.NewActor(3, 7); got != want {
		t.Errorf("actor of incarnation 7 = %v, want %v", got, want)
	}
}

func TestKeysThatNameNothingAreRefused(t *testing.T) {
	e := open(t, 1, memory.Config{})
	nowhere := crdt.SessionKey(crdt.SessionID{4: 0xff, 6: 1}) // partition 65280
	for _, k := range []crdt.Key{{}, nowhere} {
		_, readErr := e.Read(t.Context(), k, crdt.Token{})
		_, applyErr := e.Apply(t.Context(), k, crdt.Op{Destroy: true})
		joinErr := e.Join(t.Context(), crdt.Record{Key: k, Dead: true})
		for _, err := range []error{readErr, applyErr, joinErr} {
			if !errors.Is(err, crdt.ErrMalformed) {
				t.Errorf("call with key %v = %v, want ErrMalformed", k, err)
			}
		}
	}
}
