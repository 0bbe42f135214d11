// Package elasticache is a fake of ElastiCache's Global Datastore over real Valkey servers.
//
// Replication groups are valkey-server processes behind relays that have the names, the
// addresses and the ports of ElastiCache's endpoints; members of a Global Datastore follow
// each other by REPLICAOF, over relays that can be slow or cut. What the API says and what
// the servers do is the same thing.
package elasticache
