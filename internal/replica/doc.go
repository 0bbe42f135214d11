// Package replica pushes one Region's write log to its peers and takes in theirs.
//
// The Region that wrote an entry dials its peers and sends it: a push costs one
// one-way delay where a pull costs up to three. Sender is the origin's end of
// such a link and Receiver the peer's. Both are pure state machines: frames,
// results and the time come in as arguments, frames and wishes come out, so
// that a simulator can drive what production runs. Replica is the shell around
// them, with the sockets, the goroutines and the engine.
//
// Nothing has to arrive once or in order, since entries merge. What must hold is
// that nothing is skipped: the receiver's engine moves its cursor in the step
// that merges, a peer acknowledges only what its own engine holds, and whatever
// a log no longer has is made up for by the state of its whole partition.
//
// What is lost without a trace, by an engine's failover or by a fault of ours, is
// found by anti-entropy: each link compares all partitions in turn by digests, at a
// rate, and sends the states of what differs. A link sends one way, so two Regions
// that differ are mended by both of their links.
//
// The bytes of a link are described in docs/formats/link.md.
package replica
