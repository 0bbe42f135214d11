// Package proof decides what a browser's cookies open and what they become.
//
// A Visit is what came with a request. Its Judge says, of a record that was
// read, what Standing the request has; a Standing says what a Wish writes; and
// After says which cookies go out with the answer. A Keyring turns cookies into
// bytes and back.
//
// While no Region takes writes, a session travels in a sealed cookie. Judge joins
// what came in one with what was read; Standing.Import is to be done before the
// handler, and Standing.Seal if a Write could be made nowhere.
//
// The package is pure: time, randomness and records come in as arguments, so
// that a simulator can drive exactly what production runs. Package roam is the
// shell around it, with the http, the locks and the Regions. The bytes stand in
// docs/formats/cookies.md.
package proof
