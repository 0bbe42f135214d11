//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// lockFile keeps a second process from a journal, as long as this one lives.
// The lock is a file of its own, since the journal's is replaced.
func lockFile(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // beside the journal
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil { //nolint:gosec // a descriptor
		return nil, errors.Join(fmt.Errorf("another process has it open: lock %s: %w", path, err), f.Close())
	}
	return f, nil
}
