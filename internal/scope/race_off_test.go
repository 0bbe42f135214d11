//go:build !race

package scope

// raceShare divides the default bound.
const raceShare = 1
