// Package engine says what keeps the records of one Region.
//
// The contract is small on purpose: read a record, apply an operation at its
// origin, join a state from elsewhere, close. What only some engines can do is
// a further small interface, found with As. What every engine would need is
// written once, above the contract: engines check that a record is live and
// nothing else.
//
// enginetest holds every promise made here as a test.
package engine
