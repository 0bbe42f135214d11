//go:build race

package dynamo

// With the race detector all takes eight times as long: CI runs what is less here without
// it too.
const (
	raceDetector     = true
	defaultSchedules = 5_000
	defaultOps       = 3_000
)
