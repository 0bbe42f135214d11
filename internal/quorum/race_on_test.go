//go:build race

package quorum

// raceShare: the race detector makes everything some ten times slower, and a simulation
// has one goroutine.
const raceShare = 12
