package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/roam-sessions/roam/crdt"
)

// Failures: they speak of the engine and not of the record, and asking again or
// elsewhere may help. What an engine returns wraps one of these or a refusal of
// package crdt.
var (
	// ErrUnavailable: no answer in time, or the connection failed. A write may
	// or may not have happened.
	ErrUnavailable = errors.New("engine is unavailable")
	// ErrUnreachable: the request was never sent. A write has not happened.
	ErrUnreachable = errors.New("engine is unreachable")
	// ErrNotPrimary: this engine takes no writes, or no longer.
	ErrNotPrimary = errors.New("engine is not the primary")
	// ErrFull: at the limit of its memory, where births are refused first.
	// Nothing was evicted.
	ErrFull = errors.New("engine is full")
	// ErrCorrupt: what is stored can't be read. It is left as it is.
	ErrCorrupt = errors.New("stored record is corrupt")
	// ErrRefilling: the engine lost records and is being given them back. Of all
	// calls only Read fails with it, and returns what there is beside it.
	ErrRefilling = errors.New("engine is being refilled")
	// ErrClosed: the engine was closed.
	ErrClosed = errors.New("engine is closed")
)

// IsRefusal reports whether err speaks of the record: the same operation would
// be refused again. ErrRefilling is none: it speaks of what may be missing.
func IsRefusal(err error) bool {
	for _, kind := range []error{
		crdt.ErrAbsent, crdt.ErrDead, crdt.ErrExpired, crdt.ErrExists, crdt.ErrOtherUser,
		crdt.ErrAhead, crdt.ErrLimit, crdt.ErrOp, crdt.ErrMalformed,
	} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// Answered reports whether err is what the engine said, so that it was reached,
// however little it could do: a refusal, or a failure that speaks of its state.
func Answered(err error) bool {
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnreachable) {
		return false
	}
	for _, kind := range []error{ErrNotPrimary, ErrFull, ErrCorrupt, ErrRefilling} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return err == nil || IsRefusal(err)
}

// OutcomeKnown reports whether err says for certain that nothing was written, as
// ErrRefilling does, which only a Read has.
func OutcomeKnown(err error) bool {
	if errors.Is(err, ErrUnavailable) {
		return false
	}
	for _, kind := range []error{ErrUnreachable, ErrNotPrimary, ErrFull, ErrCorrupt, ErrRefilling, ErrClosed} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return IsRefusal(err)
}

// Ended returns why ctx ended, for errors: errors.Is finds its error and its cause.
func Ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// CheckKey returns crdt.ErrMalformed for a key that no record has: an engine refuses
// it before it does anything.
func CheckKey(k crdt.Key) error {
	if kind := k.Kind(); kind != crdt.KindSession && kind != crdt.KindUser || k.Partition() >= crdt.Partitions {
		return fmt.Errorf("%w: key of kind %d in partition %d", crdt.ErrMalformed, kind, k.Partition())
	}
	return nil
}
