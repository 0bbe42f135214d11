// Package scope walks through all that can happen to a few operations in two
// Regions, whatever is lost, late, repeated or lost with a primary.
//
// What it drives is what production runs: the cores of engine/memory and the
// merge of crdt. The network is the worst there can be: any run of entries that a
// log ever had may arrive at any time, any number of times, in any order or never.
// One primary may die; a copy that had fallen behind by any number of calls takes
// over, while what the dead one wrote may still arrive.
//
// A state of the world is two cores, the copy, and what is left to do. A core's
// answer to a call is worked out once, by production code on a clone, and looked
// up from then on, which Core's promise allows: the same calls give the same
// answers. So a step of the world costs less than a microsecond.
//
// What small scope can't find: what needs a third Region, a fifth operation, time
// that runs out, logs that are trimmed or memory that is full.
package scope
