// Package steer decides what members of the control plane do next.
//
// A Local belongs to the node of a Region: it holds the lease that the Region was given,
// hands it over when that is agreed, and has the Region's server follow who else holds
// it. A Chief belongs to the quorum's leader: it judges what members report, ends the
// lease of a Region that is lost and grants the next one.
//
// Both are pure. What is agreed, seen and told comes in with the time, and Acts come out.
// They look at what is so, not at how it came about: a node that starts anew, and a leader
// that was just elected, go on where another one stopped. An Act may be carried out twice,
// late, or not at all; while it is needed it comes again.
package steer
