//go:build !race

package quorum

// raceShare is what part of the seeds are run.
const raceShare = 1
