//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package quorum

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// lockFile keeps a second process from a member's file, as long as this one lives.
// The lock is a file of its own: the other is looked through before it is opened.
func lockFile(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // beside the file
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil { //nolint:gosec // a descriptor
		return nil, errors.Join(fmt.Errorf("another process has it open: lock %s: %w", path, err), f.Close())
	}
	return f, nil
}
