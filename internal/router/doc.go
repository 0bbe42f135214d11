// Package router decides which Region answers a read or takes a write.
//
// ReadPlan and WritePlan are pure state machines: given the time and what ended
// last they name the next step. So are Rules, Breaker, RetryBudget, and what is
// made of an adoption. Router is the thin part that does the steps against
// engines; a simulator drives the same decisions. Every answer names its rung, so
// that an outage is a result and not an accident.
package router
