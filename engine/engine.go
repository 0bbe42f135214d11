package engine

import (
	"context"

	"github.com/roam-sessions/roam/crdt"
)

// An Engine keeps records for one Region. It may be used by many goroutines.
// Every call ends when its context does.
type Engine interface {
	// Read returns the newest copy of k that this engine can have within ctx,
	// trying for one that is fresh for seen where it has replicas to choose
	// from. Bottom, a record of which nothing is known, is an answer and no
	// error; an error is never a missing record.
	//
	// An engine that lost records and is being given them back returns what it
	// has together with ErrRefilling: what it shows was written, what it does
	// not show may have been (DESIGN R12). With every other error the record
	// means nothing.
	Read(ctx context.Context, k crdt.Key, seen crdt.Token) (crdt.Record, error)

	// Apply does crdt.Apply and writes the fragment to the log, in one atomic
	// step, by the engine's own clock and actor. It returns the write's dot,
	// zero if there was nothing to do. On an error that OutcomeKnown accepts,
	// nothing was written; on any other, the operation may or may not have been
	// and may be applied again, unless it HasAdd and would go to another actor.
	Apply(ctx context.Context, k crdt.Key, op crdt.Op) (crdt.Dot, error)

	// Join merges a state from elsewhere. Peers do not hear of it; for what
	// they must hear of, Apply an operation that adopts it. It is refused by no
	// limit and may be repeated. A record past its time is dropped silently.
	Join(ctx context.Context, r crdt.Record) error

	// Close lets go of everything and returns when the last goroutine is gone.
	// Calls made after it fail with ErrClosed.
	Close() error
}

// A Wrapper is what an Engine is that changes how another one behaves.
type Wrapper interface {
	// Unwrap returns the engine that is wrapped.
	Unwrap() Engine
}

// As returns the first of e and the engines that it wraps which has the power
// T, as errors.As does for errors. A type assertion would lose the powers of
// what is wrapped.
func As[T any](e Engine) (T, bool) {
	for e != nil {
		if t, ok := e.(T); ok {
			return t, true
		}
		w, ok := e.(Wrapper)
		if !ok {
			break
		}
		e = w.Unwrap()
	}
	var none T
	return none, false
}

// A Refiller can say that it is being given back what it lost. Whoever gives it
// back tells it when it begins, before anything is read, and when all is there.
type Refiller interface {
	// Lost reports whether records may be missing that it once had and has not
	// been given back.
	Lost(ctx context.Context) (bool, error)

	// SetRefilling says whether Read answers with ErrRefilling. When it returns
	// nil, every Read that begins does or does not. That all is there is refused
	// with ErrRefilling if more was lost since the refill began: it begins anew.
	SetRefilling(ctx context.Context, on bool) error
}

// A Scanner can go through what it keeps.
type Scanner interface {
	// Scan yields every record of some partitions that was there throughout the
	// scan, once and in no order, until yield returns false. Records written
	// meanwhile may be yielded or not. An engine may have to look at all that it
	// keeps, whatever is asked for: who needs several partitions asks for them
	// at once (DESIGN R19).
	Scan(ctx context.Context, of Partitions, yield func(crdt.Record) bool) error
}
