package opener

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/pause"
)

// A copy is one Region's of a store that replicates itself.
type copied struct {
	engine.Engine
	roundTrip time.Duration
	away      atomic.Bool
	writes    atomic.Int64
}

var errAway = errors.New("away")

func (c *copied) travel() error {
	time.Sleep(c.roundTrip / 2)
	if c.away.Load() {
		return errAway
	}
	return nil
}

func (c *copied) Read(ctx context.Context, k crdt.Key, seen crdt.Token) (crdt.Record, error) {
	if err := c.travel(); err != nil {
		return crdt.Record{}, err
	}
	defer func() { _ = c.travel() }()
	return c.Engine.Read(ctx, k, seen)
}

func (c *copied) Apply(ctx context.Context, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	if err := c.travel(); err != nil {
		return crdt.Dot{}, err
	}
	defer func() { _ = c.travel() }()
	c.writes.Add(1)
	return c.Engine.Apply(ctx, k, op)
}

// A store has a copy in each of two Regions; what is written in Region 1 is in 2 after a
// lag, unless the stream between them is cut.
type store struct {
	t     *testing.T
	one   *copied
	two   engine.Engine
	stop  context.CancelFunc
	work  sync.WaitGroup
	lag   time.Duration
	stuck atomic.Bool
}

func newStore(t *testing.T, lag time.Duration) *store {
	t.Helper()
	time.Sleep(30 * 365 * 24 * time.Hour) // to where stamps are
	one, err1 := inMemory(1)
	two, err2 := inMemory(2)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	s := &store{t: t, one: &copied{Engine: one, roundTrip: 100 * time.Millisecond}, two: two, lag: lag}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(t.Context())
	s.work.Go(func() { s.replicate(ctx) })
	return s
}

func (s *store) replicate(ctx context.Context) {
	for pause.For(ctx, time.Millisecond) {
		if s.stuck.Load() {
			continue
		}
		r, err := s.one.Engine.Read(ctx, beatKey(), crdt.Token{})
		if err != nil {
			return
		}
		s.work.Go(func() {
			if pause.For(ctx, s.lag) {
				_ = s.two.Join(ctx, r) // it may be closed
			}
		})
	}
}

func (s *store) listen() *Beats {
	return Listen(s.t.Context(), s.two, map[crdt.Region]engine.Engine{1: s.one}, 2*time.Second)
}

func (s *store) close(all ...*Beats) {
	for _, b := range all {
		_ = b.Close() // never fails
	}
	s.stop()
	s.work.Wait()
	_, _ = s.one.Close(), s.two.Close() // of memory, never fail
}

func want(t *testing.T, b *Beats, what string, least, most time.Duration) {
	t.Helper()
	if age, ok := b.Heard(1); !ok || age < least || age > most {
		t.Errorf("%s: Heard = %v, %t; want %v to %v", what, age, ok, least, most)
	}
}

// What a copy has is as old as the stream between copies makes it, and no younger.
func TestBeatsTellHowOldACopyIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 700*time.Millisecond)
		b := s.listen()
		defer s.close(b)
		if age, ok := b.Heard(1); ok || b.Lag(1) != 0 || b.Everywhere(crdt.Dot{}) {
			t.Errorf("at first: Heard = %v, Lag %v; want nothing", age, b.Lag(1))
		}
		if _, ok := b.Heard(2); ok {
			t.Error("Heard of the Region that this is: want nothing")
		}
		time.Sleep(2 * time.Second)
		want(t, b, "after one beat", 700*time.Millisecond, 2*time.Second)
		if lag := b.Lag(1); lag < 700*time.Millisecond || lag > time.Second {
			t.Errorf("Lag = %v, want 700 ms and at most a half more", lag)
		}
		for range 60 {
			time.Sleep(time.Second)
			want(t, b, "while all is well", 700*time.Millisecond, 5*time.Second)
		}
		s.stuck.Store(true)
		time.Sleep(time.Minute)
		want(t, b, "a minute after the stream was cut", time.Minute, 66*time.Second)
		if err := b.Err(1); err != nil {
			t.Errorf("Err while both copies answer = %v, want nil", err)
		}
		s.stuck.Store(false)
		time.Sleep(4 * time.Second)
		want(t, b, "after it is whole again", 700*time.Millisecond, 5*time.Second)
	})
}

// A lag longer than the interval is no reason to hear nothing.
func TestBeatsComeLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 7*time.Second)
		b := s.listen()
		defer s.close(b)
		time.Sleep(30 * time.Second)
		for range 30 {
			time.Sleep(time.Second)
			want(t, b, "with a lag of 7 s", 7*time.Second, 18*time.Second)
		}
	})
}

// A copy that can't be asked is not heard of, however well the stream runs: nobody can
// tell.
func TestBeatsOfACopyThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 100*time.Millisecond)
		b := s.listen()
		defer s.close(b)
		time.Sleep(10 * time.Second)
		s.one.away.Store(true)
		time.Sleep(20 * time.Second)
		want(t, b, "while the copy is away", 20*time.Second, 25*time.Second)
		if err := b.Err(1); !errors.Is(err, errAway) {
			t.Errorf("Err = %v, want %v", err, errAway)
		}
		s.one.away.Store(false)
		time.Sleep(5 * time.Second)
		want(t, b, "when it is back", 0, 5*time.Second)
	})
}

// However many look, a Region's beat is written about once an interval, and of what
// another has written none takes it to be younger than it is.
func TestManyShareABeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lag = 700 * time.Millisecond
		s := newStore(t, lag)
		var all []*Beats
		for range 10 {
			all = append(all, s.listen())
			time.Sleep(170 * time.Millisecond)
		}
		defer s.close(all...)
		time.Sleep(10 * time.Second)
		before := s.one.writes.Load()
		time.Sleep(5 * time.Minute)
		const looks, intervals = 1500, 150
		if n := s.one.writes.Load() - before; n < intervals || n > 3*intervals {
			t.Errorf("%d looks of ten wrote %d beats in %d intervals, want one or two in each", looks, n, intervals)
		}
		for range 300 {
			time.Sleep(100 * time.Millisecond)
			for _, b := range all {
				want(t, b, "one of ten", lag, 7*time.Second)
			}
		}
	})
}

// Nothing is written before a copy is open, and the first look waits for no interval then.
func TestBeatsWaitForALazy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 10*time.Millisecond)
		open := make(chan struct{})
		l := NewLazy(t.Context(), "open it", Retry{Max: time.Millisecond}, func(context.Context) (engine.Engine, error) {
			select {
			case <-open:
				return s.one, nil
			default:
				return nil, errAway
			}
		})
		b := Listen(t.Context(), s.two, map[crdt.Region]engine.Engine{1: l}, time.Hour)
		defer s.close(b)
		defer func() { _ = b.Close() }()
		defer func() { _ = l.Close() }()
		time.Sleep(time.Second)
		if err := b.Err(1); !errors.Is(err, engine.ErrUnreachable) {
			t.Errorf("Err before it is open = %v, want ErrUnreachable", err)
		}
		close(open)
		time.Sleep(time.Second)
		want(t, b, "a second after it was opened", 0, time.Second)
	})
}
