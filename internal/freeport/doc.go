// Package freeport finds addresses of this machine for servers that must be told theirs
// before they start: in tests, drills and demonstrations. Who can listen at port 0 needs
// none of this.
package freeport
