// Package valkeyserver runs Valkey servers of one's own: temporary, on loopback, for a demo or a test.
//
// A server keeps nothing on disk, is set up as engine/valkey wants it, and ends with
// the process that started it, on Linux even if that is killed.
package valkeyserver
