// Package fault makes calls and connections fail, wait and vanish by seed.
//
// A Net is the network between hosts. It carries two planes: calls from one
// Region's router to another's engine (Net.Engine), and the streams of
// replication (Net.Dial, Net.Listen); a Proxy carries either. Every direction
// between two hosts has a Link on each plane that says how it behaves, and can be
// changed at any time; a host can be killed, which others notice, or frozen, which
// they do not. Errors is for what a network can't do: an engine that answers with
// an error of a given kind.
//
// A Proxy puts a Net between real sockets of this machine, so that what talks to a
// real server talks to it across Regions. But for it nothing here is real: no
// sockets, and no goroutines but for requests that arrive after their caller has
// given up. All waiting is on channels and timers
// and none of it under a lock, so a Net made inside a testing/synctest bubble
// runs on the bubble's clock, and one made outside on the true one.
//
// What happens to the messages of one Link is drawn from dice of its own, which
// depend on the seed and the names alone: traffic elsewhere does not change it.
package fault
