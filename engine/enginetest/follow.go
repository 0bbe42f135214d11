package enginetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

func followCases() []testCase {
	return []testCase{
		{"from the middle on", fromMiddleOn},
		{"a position of another actor is before all", positionAnotherActorBeforeAll},
		{"the error of emit ends it", errorEmitEnds},
		{"a write wakes it", writeWakes},
		{"several hear the same", severalHearSame},
		{"nothing is missed while others write", nothingMissedWhileOthersWrite},
		{"its context ends it", contextEnds},
		{"Close ends it", closeEnds},
	}
}

func fromMiddleOn(w *world) {
	e, l := w.openLog()
	k := w.key()
	w.apply(e, k, w.birth("", 0))
	middle := w.head(l)
	dot := w.apply(e, k, w.put("a", "1"))
	bs := w.drain(l, middle)
	if len(bs) != 1 || len(bs[0].Frags) != 1 || bs[0].Frags[0].Dot != dot {
		w.Errorf("log after %v = %+v, want only %v", middle[k.Partition()], bs, dot)
	}
}

func positionAnotherActorBeforeAll(w *world) {
	e, l := w.openLog()
	k := w.key()
	w.apply(e, k, w.birth("", 0))
	w.apply(e, k, w.put("a", "1"))
	from := engine.Positions{}
	from[k.Partition()] = engine.Position{Actor: crdt.NewActor(far, 9), N: 1}
	bs := w.drain(l, from)
	if len(bs) == 0 || bs[0].First != bs[0].Fork+1 {
		w.Errorf("log after another actor's position = %+v, want it from the fork on", bs)
	}
}

func errorEmitEnds(w *world) {
	e, l := w.openLog()
	w.story(e, 8, 1)
	calls := 0
	err := l.Follow(w.ctx(), engine.Positions{}, func(engine.Batch) error { calls++; return errEnough })
	if !errors.Is(err, errEnough) || calls != 1 {
		w.Errorf("Follow = %v after %d calls of emit, want %v after 1", err, calls, errEnough)
	}
}

func writeWakes(w *world) {
	e, l := w.openLog()
	k := w.key()
	batches, done := w.following(w.ctx(), l, w.head(l))
	for i := range 5 {
		op := w.put("a", string(rune('0'+i)))
		if i == 0 {
			op = w.birth("", 0)
		}
		dot := w.apply(e, k, op)
		if b := w.next(batches, done); len(b.Frags) != 1 || b.Frags[0].Dot != dot {
			w.Fatalf("followed %+v, want %v", b, dot)
		}
	}
}

func severalHearSame(w *world) {
	e, l := w.openLog()
	k, head := w.key(), w.head(l)
	one, oneDone := w.following(w.ctx(), l, head)
	two, twoDone := w.following(w.ctx(), l, head)
	dot := w.apply(e, k, w.birth("", 0))
	for _, b := range []engine.Batch{w.next(one, oneDone), w.next(two, twoDone)} {
		if len(b.Frags) != 1 || b.Frags[0].Dot != dot {
			w.Errorf("followed %+v, want %v", b, dot)
		}
	}
}

func nothingMissedWhileOthersWrite(w *world) {
	e, l := w.openLog()
	keys := make([]crdt.Key, writers)
	ops := make([][]crdt.Op, writers)
	for i := range keys {
		keys[i] = w.key()
		ops[i] = []crdt.Op{w.birth("", 0)}
		for range perWriter {
			ops[i] = append(ops[i], w.change(crdt.Add("n", 1)))
		}
	}
	batches, done := w.following(w.ctx(), l, w.head(l))
	var writing sync.WaitGroup
	defer writing.Wait() // the log may have a write before its writer has the answer
	writing.Go(func() {
		w.inParallel(func(i int) error {
			for _, op := range ops[i] {
				if _, err := e.Apply(w.ctx(), keys[i], op); err != nil {
					return err
				}
			}
			return nil
		})
	})
	last := map[uint16]uint64{}
	for n := 0; n < writers*(perWriter+1); {
		b := w.next(batches, done)
		if want := last[b.Partition] + 1; last[b.Partition] > 0 && b.First != want {
			w.Fatalf("batch of partition %d begins at %d, want %d", b.Partition, b.First, want)
		}
		last[b.Partition] = b.Last().N
		n += len(b.Frags)
	}
}

func contextEnds(w *world) {
	_, l := w.openLog()
	ctx, cancel := context.WithCancelCause(w.ctx())
	_, done := w.following(ctx, l, w.head(l))
	cause := errors.New("the peer left")
	cancel(cause)
	if err := w.end(done); !errors.Is(err, cause) {
		w.Errorf("Follow after its context ended = %v, want %v", err, cause)
	}
}

func closeEnds(w *world) {
	e, l := w.openLog()
	_, done := w.following(w.ctx(), l, w.head(l))
	if err := e.Close(); err != nil {
		w.Errorf("Close() = %v, want no error", err)
	}
	w.wantErr(w.end(done), engine.ErrClosed, "Follow of a closed engine")
}

// next returns the next batch.
func (w *world) next(batches <-chan engine.Batch, done <-chan error) engine.Batch {
	w.Helper()
	select {
	case b := <-batches:
		return b
	case err := <-done:
		w.Fatalf("Follow = %v, want it to wait for more", err)
	case <-time.After(patience):
		w.Fatalf("no batch in %v", patience)
	}
	return engine.Batch{}
}

// end returns what Follow returned.
func (w *world) end(done <-chan error) error {
	w.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		w.Fatalf("Follow did not return in %v", patience)
	}
	return nil
}
