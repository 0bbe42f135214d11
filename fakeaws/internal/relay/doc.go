// Package relay carries TCP connections to a server that may change, over a path that may fail.
//
// It is the names and the network of the fakes: an endpoint whose server is replaced keeps
// its address, and the path to it can be slow, silent or closed.
package relay
