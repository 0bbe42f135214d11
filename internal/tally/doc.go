// Package tally is what a process counts of its answers and of the writes it made.
//
// Counts only grow. Two of one process can be taken from each other, and those of several
// added up, so that whoever tells of them need not remember what was told, and whoever hears
// twice need not count twice. It has no clock and no locks.
package tally
