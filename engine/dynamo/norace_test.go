//go:build !race

package dynamo

// Half a minute of two cores.
const (
	raceDetector     = false
	defaultSchedules = 100_000
	defaultOps       = 20_000
)
