// Package postgrestest starts real PostgreSQL servers for tests, and makes one behave as Aurora DSQL does.
package postgrestest
