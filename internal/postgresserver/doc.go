// Package postgresserver runs PostgreSQL servers of one's own: temporary, on loopback, for a demo or a test.
//
// A server has its data in a temporary folder, with nothing written through to the disk,
// lets everybody on this machine in, and ends with the process that started it, on Linux
// even if that is killed.
package postgresserver
