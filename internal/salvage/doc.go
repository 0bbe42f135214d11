// Package salvage brings home what a primary took that its successor has not got.
//
// Run looks at the log of the server that was the primary, or at the Spool that its node
// kept of it, and has the new primary adopt what is missing, as an operation that everybody
// hears of (DESIGN R8, R18). What it did about each write is a receipt's to tell. It may
// be run as often as one likes: what is there already is left alone.
package salvage
