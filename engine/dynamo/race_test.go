//go:build race

package dynamo

// defaultSchedules is less with the race detector, which takes eight times as long; CI runs
// all without it too.
const defaultSchedules = 10_000
