package opener

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// A far is an engine that is asked from afar.
type far struct {
	engine.Engine
	roundTrip time.Duration
	away      atomic.Bool
}

func (f *far) Unwrap() engine.Engine { return f.Engine }

func (f *far) Follow(ctx context.Context, from engine.Positions, emit func(engine.Batch) error) error {
	log, _ := engine.As[engine.Log](f.Engine)
	return log.Follow(ctx, from, emit)
}

func (f *far) Release(context.Context, engine.Positions) error { return nil }

func (f *far) Head(ctx context.Context) (engine.Positions, error) {
	if f.away.Load() {
		<-ctx.Done()
		return engine.Positions{}, engine.ErrUnavailable
	}
	log, _ := engine.As[engine.Log](f.Engine)
	time.Sleep(f.roundTrip / 2)
	head, err := log.Head(ctx)
	time.Sleep(f.roundTrip - f.roundTrip/2)
	return head, err
}

// watched is Region 2, which watches Region 1.
type watched struct {
	t         *testing.T
	one       *far
	two       engine.Engine
	heads     *Heads
	delivered engine.Positions
}

func watch(t *testing.T, roundTrip time.Duration) *watched {
	t.Helper()
	time.Sleep(30 * 365 * 24 * time.Hour) // to where stamps are
	one, err1 := inMemory(1)
	two, err2 := inMemory(2)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	w := &watched{t: t, one: &far{Engine: one, roundTrip: roundTrip}, two: two}
	var ok bool
	if w.heads, ok = Watch(t.Context(), two, map[crdt.Region]engine.Engine{1: w.one}, 500*time.Millisecond); !ok {
		t.Fatal("Watch = false of engines in memory")
	}
	return w
}

func (w *watched) close() { _, _, _ = w.heads.Close(), w.one.Close(), w.two.Close() }

func (w *watched) write() {
	w.t.Helper()
	op := crdt.Op{Stamp: crdt.TimeOf(time.Now()).Stamp() + 1, Revoke: true}
	if _, err := w.one.Apply(w.t.Context(), crdt.UserKey("ann"), op); err != nil {
		w.t.Fatal(err)
	}
}

// deliver brings what was written by now, as nodes do.
func (w *watched) deliver() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	sink, _ := engine.As[engine.Sink](w.two)
	log, _ := engine.As[engine.Log](w.one.Engine)
	head, err := log.Head(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	if head == w.delivered {
		return
	}
	err = log.Follow(ctx, w.delivered, func(b engine.Batch) error {
		in, err := sink.Ingest(ctx, 1, b)
		if w.delivered[b.Partition] = in.Position; w.delivered == head {
			cancel()
		}
		return err
	})
	if !errors.Is(err, context.Canceled) {
		w.t.Fatal(err)
	}
}

func (w *watched) want(what string, least, most time.Duration) {
	w.t.Helper()
	if age, ok := w.heads.Heard(1); !ok || age < least || age > most {
		w.t.Errorf("%s: Heard = %v, %t; want %v to %v", what, age, ok, least, most)
	}
}

// What is written and has not come makes news old, and what came makes it young.
func TestHeadsTellHowOldNewsIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, 100*time.Millisecond)
		defer w.close()
		if age, ok := w.heads.Heard(1); ok || w.heads.Lag(1) != 0 {
			t.Errorf("at first: Heard = %v, Lag %v; want nothing", age, w.heads.Lag(1))
		}
		time.Sleep(10 * time.Second)
		w.want("nothing was written", 0, 650*time.Millisecond)
		if lag := w.heads.Lag(1); lag != 50*time.Millisecond {
			t.Errorf("Lag = %v where all that there is has come, want half the round trip, 50ms", lag)
		}
		w.write()
		time.Sleep(20 * time.Second)
		w.want("a write that has not come", 20*time.Second, 20*time.Second+650*time.Millisecond)
		w.deliver()
		time.Sleep(time.Second)
		w.want("a write that has come", 0, 650*time.Millisecond)

		w.one.away.Store(true)
		time.Sleep(time.Minute)
		w.want("a Region that is away", time.Minute-650*time.Millisecond, time.Minute+650*time.Millisecond)
		w.one.away.Store(false)
		time.Sleep(3 * time.Second)
		w.want("a Region that is back", 0, 650*time.Millisecond)
		if _, ok := w.heads.Heard(3); ok || w.heads.Lag(3) != 0 || w.heads.Everywhere(crdt.Dot{Actor: 1}) {
			t.Error("of a Region that is not watched something is known")
		}
	})
}

// Where each write comes two seconds late and there is always one on its way, news is
// some seconds old and never older.
func TestHeadsUnderSteadyWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const late = 2 * time.Second
		w := watch(t, 10*time.Millisecond)
		defer w.close()
		var heads []engine.Positions // one each 100 ms
		sink, _ := engine.As[engine.Sink](w.two)
		log, _ := engine.As[engine.Log](w.one.Engine)
		for range 300 {
			w.write()
			head, err := log.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			heads = append(heads, head)
			if behind := len(heads) - int(late/(100*time.Millisecond)); behind > 0 {
				ctx, cancel := context.WithCancel(t.Context())
				upto := heads[behind-1]
				_ = log.Follow(ctx, w.delivered, func(b engine.Batch) error { // ends by cancel
					b.Frags = b.Frags[:1]
					in, err := sink.Ingest(ctx, 1, b)
					if w.delivered[b.Partition] = in.Position; w.delivered == upto {
						cancel()
						return context.Canceled
					}
					return err
				})
				cancel()
			}
			time.Sleep(100 * time.Millisecond)
			if len(heads) > 100 {
				w.want("steady writes", late-200*time.Millisecond, 2*late+1200*time.Millisecond)
			}
		}
	})
}

// Only the oldest and the newest are waited for, and what a failover took back is not.
func TestAsks(t *testing.T) {
	at := func(actor crdt.Actor, n uint64) ask {
		a := ask{at: time.Unix(int64(n), 0)} //nolint:gosec // small
		a.head[7] = engine.Position{Actor: actor, N: n}
		return a
	}
	var a asks
	for n := range uint64(5) {
		a = a.add(at(1, n+1))
	}
	if len(a) != 2 || a[0].at.Unix() != 1 || a[1].at.Unix() != 5 {
		t.Fatalf("of five heads %+v are waited for, want the first and the last", a)
	}
	has := at(1, 4).head
	if last, left := a.covered(&has); last.at.Unix() != 1 || len(left) != 1 {
		t.Errorf("when the fourth has come: %v, %d left; want the first, and one left", last.at, len(left))
	}
	has = at(1, 9).head
	if last, left := a.covered(&has); last.at.Unix() != 5 || len(left) != 0 {
		t.Errorf("when the ninth has come: %v, %d left; want the last, and none left", last.at, len(left))
	}
	has = at(2, 9).head
	if last, _ := a.covered(&has); !last.at.IsZero() {
		t.Errorf("another actor's ninth covers %v, want nothing", last.at)
	}
	if a = a.add(at(2, 3)); len(a) != 1 || a[0].at.Unix() != 3 {
		t.Errorf("after a failover %+v are waited for, want the new actor's alone", a)
	}
}

// bare hides an engine's powers.
type bare struct{ engine.Engine }

func TestWatchNeedsLogs(t *testing.T) {
	one, err1 := inMemory(1)
	two, err2 := inMemory(2)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = one.Close(), two.Close() }() // never fails
	for name, c := range map[string][2]engine.Engine{"no sink here": {bare{two}, one}, "no log there": {two, bare{one}}} {
		if h, ok := Watch(t.Context(), c[0], map[crdt.Region]engine.Engine{1: c[1]}, 0); ok || h != nil {
			t.Errorf("%s: Watch = %v, %t; want none", name, h, ok)
		}
	}
	h, ok := Watch(t.Context(), two, map[crdt.Region]engine.Engine{1: one}, 0)
	if !ok {
		t.Fatal("Watch = false of engines in memory")
	}
	_ = h.Close() // never fails
}
