// Package face has a server that stands alone speak as a node of a cluster.
//
// A Face stands between clients and one server. It carries commands and replies, and looks at
// them as far as it must: what a node says of its cluster comes from a map that the face was
// shown, keys of other shards are answered with MOVED, and everything else is the server's own
// word. The server is asked first whatever the answer is, so that whoever has not said the
// password hears that, pipelines keep their order, and transactions break where they should.
//
// MONITOR, replication, CLIENT REPLY, inline commands and databases but 0 are refused. Within a
// transaction CLUSTER's answer is that the server has no cluster.
package face
