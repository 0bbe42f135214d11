// Package journal keeps the endings of sessions that some Region's engine has yet to hear of.
//
// An ending is a session's death or a revocation of all of a user's. Core is a
// pure state machine, merged by crdt.Join: what is known, which Regions have it,
// what is minted where no engine takes a write. Journal is the thin part with a
// clock, locks and, if it is opened with a path, a file. It is no engine: it
// forgets what every engine has.
package journal
