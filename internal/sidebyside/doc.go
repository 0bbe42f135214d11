// Package sidebyside judges what Roam costs beside what people use instead.
//
// Its benchmarks run under the integration tag. Each does two things in turn, ours and
// what would be used instead, round after round on the same servers, so that a machine
// that is busy elsewhere slows down both. What counts is the median of the rounds'
// ratios. What must be measured is listed in Kinds; `make bench-valkey` measures it,
// and a figure that is missing is a failure.
//
// Outside of its benchmarks the package is pure.
package sidebyside
