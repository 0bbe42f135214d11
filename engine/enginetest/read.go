package enginetest

import (
	"context"
	"errors"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

func readCases() []testCase {
	return []testCase{
		{"nothing is bottom and no error", nothingBottomNoError},
		{"what a token has seen elsewhere is no error", whatTokenHasSeenElsewhereNoError},
		{"what was read does not change", whatWasReadDoesNotChange},
		{"an ended context ends every call", endedContextEndsEveryCall},
		{"a closed engine says so", closedEngineSaysSo},
	}
}

func nothingBottomNoError(w *world) {
	e := w.open(here)
	w.wantBottom(e, w.key())
	w.wantBottom(e, crdt.UserKey("nobody"))
}

func whatTokenHasSeenElsewhereNoError(w *world) {
	e, k := w.open(here), w.key()
	w.apply(e, k, w.birth("", 0))
	seen := crdt.Token{}.With(crdt.Dot{Actor: crdt.NewActor(far, 7), Stamp: w.stamp()})
	if r, err := e.Read(w.ctx(), k, seen); err != nil || r.Born.Dot.IsZero() {
		w.Errorf("Read(%v, token of another Region) = %+v, %v, want the record", k, r, err)
	}
}

func whatWasReadDoesNotChange(w *world) {
	e, k := w.open(here), w.key()
	w.apply(e, k, w.birth("ann", 0))
	w.apply(e, k, w.put("a", "1"))
	r := w.read(e, k)
	before := r.Digest()
	w.apply(e, k, w.change(crdt.Put("a", []byte("2")), crdt.Add("n", 1), crdt.Mark("s", "x")))
	w.apply(e, k, crdt.Op{Destroy: true})
	if r.Digest() != before {
		w.Errorf("record read before two writes is %+v now, want it as it was", r)
	}
}

func endedContextEndsEveryCall(w *world) {
	e, k := w.open(here), w.key()
	ctx, cancel := context.WithCancel(w.ctx())
	cancel()
	for name, err := range calls(ctx, e, k, w.birth("", 0)) {
		w.wantErr(err, context.Canceled, "%s(ended context)", name)
		if !errors.Is(err, engine.ErrUnreachable) && !errors.Is(err, engine.ErrUnavailable) {
			w.Errorf("%s(ended context) = %v, want a failure of package engine", name, err)
		}
		if name == "Apply" && engine.OutcomeKnown(err) {
			w.wantBottom(e, k)
		}
	}
}

func closedEngineSaysSo(w *world) {
	e, k := w.open(here), w.key()
	if err := e.Close(); err != nil {
		w.Fatalf("Close() = %v, want no error", err)
	}
	for name, err := range calls(w.ctx(), e, k, w.birth("", 0)) {
		w.wantErr(err, engine.ErrClosed, "%s after Close", name)
	}
}

// calls makes every call that e can answer and yields the errors.
func calls(ctx context.Context, e engine.Engine, k crdt.Key, op crdt.Op) func(yield func(string, error) bool) {
	return func(yield func(string, error) bool) {
		do := func(name string, call func() error) bool { return yield(name, call()) }
		ok := do("Read", func() error { _, err := e.Read(ctx, k, crdt.Token{}); return err }) &&
			do("Apply", func() error { _, err := e.Apply(ctx, k, op); return err }) &&
			do("Join", func() error { return e.Join(ctx, crdt.Record{Key: k, Dead: true}) })
		if l, has := engine.As[engine.Log](e); ok && has {
			ok = do("Follow", func() error {
				return l.Follow(ctx, engine.Positions{}, func(engine.Batch) error { return nil })
			}) && do("Release", func() error { return l.Release(ctx, engine.Positions{}) }) &&
				do("Head", func() error { _, err := l.Head(ctx); return err })
		}
		if s, has := engine.As[engine.Sink](e); ok && has {
			b := engine.Batch{Actor: crdt.NewActor(far, 1), First: 1}
			ok = do("Ingest", func() error { _, err := s.Ingest(ctx, far, b); return err }) &&
				do("Positions", func() error { _, err := s.Positions(ctx, far); return err })
		}
		if s, has := engine.As[engine.Scanner](e); ok && has {
			do("Scan", func() error { return s.Scan(ctx, engine.PartitionsOf(0), func(crdt.Record) bool { return true }) })
		}
	}
}
