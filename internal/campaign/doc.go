// Package campaign runs many seeds of the simulation and reports what they found.
//
// It is the part with goroutines, a clock and a terminal around package sim, which
// has none: it spreads seeds over cores, sums up, shrinks the story of one that
// failed, and runs the mutants of package mutant to see that each is found.
package campaign
