// Package node runs one Region's part of a deployment in a process of its own.
//
// It opens the Region's engine, pushes its log to the nodes of other Regions and
// takes in theirs, and says over HTTP how that goes. Applications talk to the engine
// and not to the node: when it ends, the Region goes on, and others don't hear of it
// until it is back.
package node
