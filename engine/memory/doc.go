// Package memory keeps the records of one Region in this process.
//
// It is the embedded default, and with package fault around it any other
// engine on a bad day. Core is the store as a value: no lock, no clock, no
// goroutine, so that a simulator can drive the code that production runs.
// Engine is the shell around it: locks, the clock, waiting and sweeping.
//
// Nothing survives the process. A new Engine is a new actor whose log begins
// at 1, and a Region that has peers is refilled by them.
package memory
