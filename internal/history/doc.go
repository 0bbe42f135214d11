// Package history judges whether what clients saw keeps what Roam guarantees them.
//
// A history is what a recorder wrote down at the clients of a deployment, real or
// simulated: when each request was sent and answered, what it wrote or showed, and
// what the answer said about itself. Check holds the guarantees of
// docs/guarantees.md against it: read your writes, monotonic reads, monotonic
// writes, writes follow reads, and that nothing that was ended is shown again.
//
// A client knows what its token knows. It sends the token of the last answer that
// it had when the request left, and so an answer that was under way together with
// another one may take from the client what that other had told it: of two
// overlapping requests only the one that was answered last counts. That, no more
// and no less, is what concurrent requests of one client are excused from.
//
// The package is pure. docs/formats/history.md has the bytes.
package history
