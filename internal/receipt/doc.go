// Package receipt keeps the whole list of what a failover cost.
//
// Members agree on how many writes a lost primary had alone, and on the names of the first
// of them; the member that looked at them keeps the others in files of its own. The bytes
// are those of docs/formats/receipt.md.
package receipt
