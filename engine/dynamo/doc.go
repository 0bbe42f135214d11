// Package dynamo is the engine that keeps records in a table of Amazon DynamoDB, in one
// Region or as a Global Table of either consistency. What package crdt does to a record is
// done here, and written if nobody else has written meanwhile; docs/formats/dynamo.md has
// the layout of the items.
//
// A Global Table replicates itself, so the engine has no log and takes in none. One of
// eventual consistency keeps, of two Regions' writes to an item, the later one and nothing
// of the other: a logout would lose against a touch. So each Region writes items of its
// own, and a read joins the items of all. Where the table is strongly consistent
// (Config.Strong) there is one item a record, and writers are refused instead.
//
// An Engine is an engine.Engine and Scanner.
package dynamo
