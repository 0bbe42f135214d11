//go:build !race

package dynamo

// defaultSchedules takes half a minute of two cores.
const defaultSchedules = 100_000
