package router

import (
	"errors"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// A Step is what to do next. Do tells which of the other fields mean something.
type Step struct {
	Do      Do
	Region  crdt.Region   // ReadAt, ApplyAt: where
	Timeout time.Duration // ReadAt, ApplyAt, ApplySide: how long at most
	Alone   bool          // ReadAt: nothing else will be asked until it has ended
	Hedge   bool          // ReadAt: beside another, which costs a token of the hedge budget
	Retry   bool          // ApplyAt: the try costs a retry token
	Adopt   bool          // ApplyAt: together with the record that was read
	For     time.Duration // Wait: how long at most
	Answer  Answer        // Done
	Err     error         // Done: nil unless refused
}

// Do is a kind of step.
type Do uint8

// The kinds of steps.
const (
	// ReadAt: start to read from Region; other reads may be under way.
	ReadAt Do = iota
	// ApplyAt: apply the operation at Region.
	ApplyAt
	// ApplySide: apply the operation to this Region's side store.
	ApplySide
	// Wait until a read ends, or until For has passed. If none is under way,
	// that is a sleep.
	Wait
	// Done: the plan has come to its Answer.
	Done
)

// An Event is the end of a ReadAt. The zero Event says that none has ended.
type Event struct {
	Region crdt.Region
	Result Result
}

// A Result is what became of a ReadAt, ApplyAt or ApplySide.
type Result struct {
	Record crdt.Record // of a read; what there is even beside an error
	// Side: Record holds something that only the Region's side store has.
	Side bool
	// Partial: the side store or the journal of the Region did not answer, so
	// Record may lack a logout.
	Partial bool
	// Refilling: the Region's engine is being given back what it lost, so Record
	// may lack anything.
	Refilling bool
	Dot       crdt.Dot // of an operation
	Err       error
}

// FromEngine returns the result of an engine's Read of k.
func FromEngine(k crdt.Key, rec crdt.Record, err error) Result {
	switch {
	case errors.Is(err, engine.ErrRefilling):
		return Result{Record: rec, Refilling: true}
	case err != nil:
		return Result{Record: crdt.Record{Key: k}, Err: err}
	}
	return Result{Record: rec}
}

// WithSide returns what a Region's engine said, joined with what its side store
// did. One of the two is better than none, but then it's no full answer.
func WithSide(res, side Result) Result {
	if res.Err == nil && (side.Err != nil || side.Refilling) {
		// What the side store has may be all there is of a logout.
		res.Partial = true
	}
	if side.Err == nil && !side.Record.IsBottom() {
		joined := crdt.Join(res.Record, side.Record)
		res.Side = joined.Dead != res.Record.Dead || !joined.Dead && !joined.VV.Equal(res.Record.VV)
		res.Record = joined
	}
	return res
}

// WithJournal returns what a Region's engine and side store said, joined with
// what its journal did.
func WithJournal(res, known Result) Result {
	switch {
	case known.Err == nil:
		res.Record = crdt.Join(res.Record, known.Record)
	case res.Err == nil:
		res.Partial = true // it may be all there is of a logout
	}
	return res
}
