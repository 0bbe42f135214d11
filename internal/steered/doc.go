// Package steered lets the control plane work with a Region's server.
//
// That is a Valkey server that replicates another Region's by itself, or, where a service
// manages them, a cluster of which the shards do. The control plane has it hold the lease
// and give it up, take writes or follow, and has what it took alone be taken in elsewhere.
// Nothing is decided here.
package steered
