// Package feed carries what the control plane has agreed on to nodes, agents and applications.
//
// A node serves it with Handler: a stream of JSON lines, the View there is, each change
// at once, and a beat each second. Whoever needs it follows one node with Follow, goes
// to the next when that one is silent, and keeps the last View on its own disk. The
// disk's View stands when every node is gone, so that nobody who serves sessions needs
// the control plane to be there. The other way Client.Report tells the node that is followed
// how an application's answers fare.
package feed
