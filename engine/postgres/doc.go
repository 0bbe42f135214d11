// Package postgres keeps records in PostgreSQL or in Aurora DSQL and merges them in Go, in transactions.
//
// In PostgreSQL a transaction locks a partition, merges with package crdt and writes
// the record and the log together, so that the log is dense. DSQL locks nothing and
// has no log of ours: it replicates itself, and what conflicts is tried again.
//
// docs/postgres.md says how to set a server up, docs/formats/postgres.md what is
// stored.
package postgres
