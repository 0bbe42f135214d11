// Package mutant breaks one rule of the code at a time, to see that somebody notices.
//
// A mutant is a few words of the source and what stands there instead. No source
// is changed and no production code has a switch: Write makes an overlay for the go
// command (go help build, -overlay) in which each mutant is in place, asleep, until
// the environment variable Switch names it. A mutant whose words are no longer in
// the source fails, so that the list cannot rot.
package mutant
