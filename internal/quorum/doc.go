// Package quorum keeps one log of commands that a majority of its members agrees on.
//
// Core is a member as a pure state machine around a raft.RawNode: ticks, messages
// and wishes come in, and what is to be saved, sent and applied comes out. It draws
// its election timeouts from a seed, sends again what got lost, and has a command
// that is sent twice applied once. Member is the shell around it, with the clock,
// a file, the sockets and the goroutines.
//
// A witness is a voter like any other that does not lead. It only steps in when
// it holds what those who could lead lack, and hands over as soon as one has it.
//
// The bytes of the file and of the links are described in docs/formats/quorum.md.
package quorum
