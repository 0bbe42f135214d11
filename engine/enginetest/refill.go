package enginetest

import (
	"errors"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

func refillCases() []testCase {
	return []testCase{
		{"refilling, what is not found may have been there", refillingMissIsNoAnswer},
		{"refilling, writes and joins go on", refillingWritesGoOn},
	}
}

// refillingMissIsNoAnswer is DESIGN R12: a Region that is refilling never answers
// that there is nothing.
func refillingMissIsNoAnswer(w *world) {
	e, k, missing := w.open(here), w.key(), w.key()
	w.apply(e, k, w.birth("ann", 0))
	want := w.read(e, k)
	w.setRefilling(e, true)
	w.wantRefilling(e, k, want)
	w.wantRefilling(e, missing, crdt.Record{Key: missing})
	w.wantRefilling(e, crdt.UserKey("ann"), crdt.Record{Key: crdt.UserKey("ann")})
	w.setRefilling(e, false)
	w.wantSame(w.read(e, k), want, "record after the refill")
	w.wantBottom(e, missing)
}

func refillingWritesGoOn(w *world) {
	e, k, other := w.open(here), w.key(), w.key()
	w.setRefilling(e, true)
	w.apply(e, k, w.birth("ann", 0))
	w.apply(e, k, w.put("a", "1"))
	w.join(e, crdt.Record{Key: other, Dead: true})
	w.setRefilling(e, false)
	w.wantValue(e, k, "a", "1")
	if !w.read(e, other).Dead {
		w.Errorf("a death that was joined while refilling is not there")
	}
}

func (w *world) setRefilling(e engine.Engine, on bool) {
	w.Helper()
	r, ok := engine.As[engine.Refiller](e)
	if !ok {
		w.Fatal("the engine has lost the power to refill")
	}
	if err := r.SetRefilling(w.ctx(), on); err != nil {
		w.Fatalf("SetRefilling(%v) = %v, want nil", on, err)
	}
	if lost, err := r.Lost(w.ctx()); lost != on || err != nil {
		w.Errorf("Lost() = %v, %v after SetRefilling(%v)", lost, err, on)
	}
}

func (w *world) wantRefilling(e engine.Engine, k crdt.Key, want crdt.Record) {
	w.Helper()
	got, err := e.Read(w.ctx(), k, crdt.Token{})
	w.wantErr(err, engine.ErrRefilling, "Read(%v) while refilling", k)
	if engine.IsRefusal(err) || !engine.OutcomeKnown(err) {
		w.Errorf("IsRefusal, OutcomeKnown of %v = %v, %v, want false, true", err, engine.IsRefusal(err), engine.OutcomeKnown(err))
	}
	if errors.Is(err, engine.ErrRefilling) {
		w.wantSame(got, want, "record beside ErrRefilling")
	}
}
