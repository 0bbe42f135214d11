// Package crdt defines what a session is: a record that merges.
//
// Writing, retrying, replicating, repairing after a partition and taking back
// what was kept elsewhere are all the same act, state = Join(state, effect).
// Join is commutative, associative and idempotent, so nothing has to happen
// exactly once or in order.
//
// The package is pure. It has no clock, no dice and no I/O; time, randomness
// and actors come in as arguments, so that a simulator can own them. Records
// are values: no function changes a Record, a Vector or a Field it was given,
// and what is returned may share memory with what went in.
//
// The rules and the reason for each stand in docs/invariants.md, the bytes in
// docs/formats/record.md.
package crdt
