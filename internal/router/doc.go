// Package router decides which Region answers a read or takes a write.
//
// ReadPlan and WritePlan are pure state machines: given the time and the last
// result they name the next step. Router is the thin part that does the steps
// against engines; the simulator drives the same plans. Every answer names its
// rung, so that an outage is a result and not an accident.
package router
