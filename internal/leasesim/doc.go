// Package leasesim runs package lease in virtual time among faults and checks that no
// two servers take writes at a time.
//
// It checks that epochs only grow, too (I9, I10), and that somebody takes writes again once
// all is well.
//
// The quorum's log is modelled and not run: a leader that can reach a majority appends, a
// leader that has been replaced may find its last words appended later, and whoever is
// elected knows all that was agreed. A judge of ill will asks for the next epoch all the
// time. Servers keep leases as engine/valkey's functions do, by clocks that run wrong,
// stop and step.
package leasesim
