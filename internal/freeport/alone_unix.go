//go:build unix

package freeport

import "syscall"

// alone takes SO_REUSEADDR, which Go sets, from a socket.
func alone(_, _ string, c syscall.RawConn) error {
	var err error
	if failed := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 0) }); failed != nil { //nolint:gosec // a file's number
		return failed
	}
	return err
}
