package enginetest

import (
	"fmt"
	"sync"

	"github.com/roam-sessions/roam/crdt"
)

const (
	writers   = 8
	perWriter = 40
)

func concurrentCases() []testCase {
	return []testCase{
		{"no addition to one record is lost", noAdditionOneRecordLost},
		{"a reader sees a record only grow", readerSeesRecordOnlyGrow},
		{"of many births one wins", manyBirthsOneWins},
		{"calls for one key are linearizable", callsAreLinearizable},
	}
}

func noAdditionOneRecordLost(w *world) {
	e, k := w.open(here), w.key()
	w.apply(e, k, w.birth("", 0))
	ops := make([][]crdt.Op, writers)
	for i := range ops {
		for range perWriter {
			ops[i] = append(ops[i], w.change(crdt.Add("n", 1), crdt.Mark("who", fmt.Sprint(i))))
		}
	}
	w.inParallel(func(i int) error {
		for _, op := range ops[i] {
			if dot, err := e.Apply(w.ctx(), k, op); err != nil || dot.IsZero() {
				return fmt.Errorf("apply by writer %d = %v, %w, want a dot", i, dot, err)
			}
		}
		return nil
	})
	r := w.read(e, k)
	if got := r.Count("n"); got != writers*perWriter || len(r.Elements("who")) != writers {
		w.Errorf("count = %d by %d writers, want %d by %d", got, len(r.Elements("who")), writers*perWriter, writers)
	}
}

func readerSeesRecordOnlyGrow(w *world) {
	e, k := w.open(here), w.key()
	w.apply(e, k, w.birth("", 0))
	var ops []crdt.Op
	for range perWriter {
		ops = append(ops, w.change(crdt.Add("n", 1)))
	}
	w.inParallel(func(i int) error {
		if i == 0 {
			for _, op := range ops {
				if _, err := e.Apply(w.ctx(), k, op); err != nil {
					return fmt.Errorf("apply = %w, want no error", err)
				}
			}
			return nil
		}
		var seen int64
		for range perWriter {
			r, err := e.Read(w.ctx(), k, crdt.Token{})
			if n := r.Count("n"); err != nil || n < seen {
				return fmt.Errorf("read = count %d, %w, want at least %d as before", n, err, seen)
			}
			seen = r.Count("n")
		}
		return nil
	})
}

func manyBirthsOneWins(w *world) {
	e, k := w.open(here), w.key()
	births := make([]crdt.Op, writers)
	for i := range births {
		births[i] = w.birth("", 0)
	}
	var mu sync.Mutex // guards won
	won := 0
	w.inParallel(func(i int) error {
		if _, err := e.Apply(w.ctx(), k, births[i]); err == nil {
			mu.Lock()
			won++
			mu.Unlock()
		}
		return nil
	})
	if won != 1 {
		w.Errorf("%d of %d concurrent births were taken, want 1", won, writers)
	}
}

// inParallel runs do in a goroutine for each writer and reports what fails.
func (w *world) inParallel(do func(i int) error) {
	w.Helper()
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			w.Error(err)
		}
	}
}
