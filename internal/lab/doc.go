// Package lab runs several Regions in one process.
//
// It is what `roam demo` shows and what its tour walks through: an engine, a
// replica, a store and a shop for each Region, a network between them that can
// be cut and slowed, and an edge that sends each request to one of them.
// Nothing here is simulated but the network: engines, links and routers are the
// ones that production runs.
package lab
