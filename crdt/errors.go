package crdt

import "errors"

// Refusals: they speak of the record, and asking again does not help. Failures
// of what keeps the record are kinds of package engine.
var (
	// ErrAbsent refuses an operation other than a birth on a record that is not
	// here. Another Region may have it.
	ErrAbsent = errors.New("no such record here")
	// ErrDead refuses an operation on a session that was destroyed.
	ErrDead = errors.New("session was destroyed")
	// ErrExpired refuses an operation on a session past its deadline or its
	// idle time.
	ErrExpired = errors.New("session has expired")
	// ErrExists refuses the birth of a session that somebody else gave birth to.
	ErrExists = errors.New("session exists already")
	// ErrOtherUser refuses a login into a session that is another user's.
	ErrOtherUser = errors.New("session belongs to another user")
	// ErrAhead refuses a stamp too far in the future: a clock is wrong.
	ErrAhead = errors.New("stamp is too far ahead of the clock")
	// ErrLimit refuses an operation that would make a record too large.
	ErrLimit = errors.New("record would be too large")
	// ErrOp refuses an operation that makes no sense for its key.
	ErrOp = errors.New("operation makes no sense for this key")
	// ErrMalformed refuses bytes that no version of this package wrote.
	ErrMalformed = errors.New("malformed bytes")
)
