// Package valkey is the engine that keeps records in Valkey, or in Redis 7 and
// later: self-managed or ElastiCache, with cluster mode on or off. What package crdt
// does to a record is done where the record is, in one step, by a library of
// functions that the engine loads; docs/formats/valkey.md has the layout of the keys.
//
// An Engine is an engine.Engine, Log, Sink, Scanner and Refiller. Nothing is ever
// evicted: the server's maxmemory-policy must be noeviction.
package valkey
