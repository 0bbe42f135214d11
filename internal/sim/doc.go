// Package sim runs whole deployments in virtual time and checks that sessions survive.
//
// One goroutine owns everything: a heap of events, clocks that are wrong, dice,
// networks that lose and repeat, servers that fail over to a copy that lags. It
// drives the cores that production runs, package crdt, memory.Core, replica's
// Sender and Receiver, router's plans and proof's judgement, and no copies of
// them; only the thin shells around them are its own.
//
// A run is a Story, a list of requests and faults that a seed makes, and dice
// for all that is finer, from the same seed. The same seed gives the same run,
// event for event, on every machine, and Result.Trace is the proof of it. What
// must hold meanwhile and at the end are the invariants of docs/invariants.md.
package sim
