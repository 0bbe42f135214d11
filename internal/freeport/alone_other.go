//go:build !unix

package freeport

import "syscall"

// alone does nothing: an address may be given twice.
func alone(string, string, syscall.RawConn) error { return nil }
