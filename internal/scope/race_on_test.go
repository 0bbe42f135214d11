//go:build race

package scope

// raceShare: the race detector makes everything some ten times slower.
const raceShare = 25
