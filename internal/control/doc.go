// Package control runs a member of the control plane.
//
// A Member is a node of a Region, or a witness. It keeps the agreed state with
// internal/quorum and internal/ledger, has internal/steer decide, and does what that says:
// it renews the lease and gives it to the Region's server, has the server follow or take
// writes, tells other members what it sees, and gives its word and its consent.
//
// One goroutine owns what decides. All that takes time is done by others, with a deadline,
// and what comes of it is told to that one.
package control
