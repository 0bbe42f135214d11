package fault

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

func TestEveryErrorKindBeforeTheCall(t *testing.T) {
	for _, kind := range []error{
		engine.ErrUnavailable, engine.ErrUnreachable, engine.ErrNotPrimary, engine.ErrFull, engine.ErrCorrupt, engine.ErrClosed,
		crdt.ErrAbsent, crdt.ErrDead, crdt.ErrExpired, crdt.ErrExists, crdt.ErrOtherUser, crdt.ErrAhead, crdt.ErrLimit, crdt.ErrOp,
		crdt.ErrMalformed, context.Canceled,
	} {
		f := newFake()
		e := Errors(f, *seed, Plan{{Err: kind}})
		for m, got := range callAll(t, e) {
			if !errors.Is(got, kind) {
				t.Errorf("%v = %v, want %v", m, got, kind)
			}
		}
		if len(f.calls) != 0 || e.Failed() != 3 {
			t.Errorf("%v: calls made %v, %d failed, want none and 3", kind, f.calls, e.Failed())
		}
	}
}

func TestErrorAfterTheCallIsAlwaysUnknown(t *testing.T) {
	for _, kind := range []error{nil, engine.ErrNotPrimary, crdt.ErrDead} {
		f := newFake()
		for m, err := range callAll(t, Errors(f, *seed, Plan{{Err: kind, After: true}})) {
			if !errors.Is(err, engine.ErrUnavailable) || engine.OutcomeKnown(err) || f.count(m) != 1 {
				t.Errorf("%v after the call with %v = %v, %d calls made, want unavailable and 1", m, kind, err, f.count(m))
			}
		}
		if f.records[alice()].IsBottom() {
			t.Errorf("with %v after the call: nothing was written, want it written", kind)
		}
	}
	f := newFake()
	f.closed = true
	if err := callAll(t, Errors(f, *seed, Plan{{After: true}}))[Apply]; !errors.Is(err, engine.ErrUnavailable) || errors.Is(err, engine.ErrClosed) {
		t.Errorf("Apply that fails by itself = %v, want the plan's error alone", err)
	}
}

// callAll makes each call once and returns their errors.
func callAll(t *testing.T, e engine.Engine) map[Method]error {
	t.Helper()
	_, read := e.Read(t.Context(), alice(), crdt.Token{})
	_, apply := e.Apply(t.Context(), alice(), revoke())
	join := e.Join(t.Context(), crdt.Record{Key: alice()})
	return map[Method]error{Read: read, Apply: apply, Join: join}
}

func TestRuleForOneMethodAndTheNthCall(t *testing.T) {
	e := Errors(newFake(), *seed, Plan{
		{Method: Read, Err: engine.ErrCorrupt},
		{Method: Apply, Nth: 2, Err: engine.ErrFull},
		{Method: Apply, Nth: 3},
	})
	for i, want := range []error{nil, engine.ErrFull, engine.ErrUnavailable, nil} {
		got := callAll(t, e)
		if !errors.Is(got[Read], engine.ErrCorrupt) || !errors.Is(got[Apply], want) || got[Join] != nil {
			t.Errorf("round %d: %v, want Read corrupt, Apply %v, Join nil", i+1, got, want)
		}
	}
	if got := e.Failed(); got != 6 {
		t.Errorf("Failed() = %d, want 6", got)
	}
}

func TestShareIsDrawnBySeed(t *testing.T) {
	t.Logf("seed %d", *seed)
	const calls = 2000
	fates := func(seed uint64, plan Plan) (out []bool) {
		e := Errors(newFake(), seed, plan)
		for range calls {
			_, err := e.Read(t.Context(), alice(), crdt.Token{})
			out = append(out, errors.Is(err, engine.ErrFull))
		}
		return out
	}
	rule := Rule{Method: Read, Share: 0.25, Err: engine.ErrFull}
	first := fates(*seed, Plan{rule})
	failed := 0
	for _, f := range first {
		if f {
			failed++
		}
	}
	// 6 standard deviations of 19 on each side.
	if failed < 384 || failed > 616 {
		t.Errorf("seed %d: %d of %d calls failed, want about 500", *seed, failed, calls)
	}
	if got := fates(*seed, Plan{rule, {Method: Apply, Share: 0.5}}); !slices.Equal(got, first) {
		t.Errorf("seed %d: the same rule beside another fails other calls", *seed)
	}
	other := Rule{Method: Read, Share: 0.25, Err: engine.ErrCorrupt}
	if got := fates(*seed, Plan{other, rule}); !slices.Contains(got, true) {
		t.Errorf("seed %d: two rules for one method throw the same dice", *seed)
	}
	if got := fates(*seed+1, Plan{rule}); slices.Equal(got, first) {
		t.Errorf("seeds %d and %d: the same calls fail", *seed, *seed+1)
	}
}

func TestCloseOfErrorsClosesTheEngine(t *testing.T) {
	f := newFake()
	e := Errors(f, *seed, Plan{{}})
	if err := e.Close(); err != nil || !f.closed {
		t.Errorf("Close() = %v, engine closed %v, want nil, true", err, f.closed)
	}
}
