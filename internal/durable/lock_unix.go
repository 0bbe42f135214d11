//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package durable

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// Lock keeps other processes, and whoever else asks for it in this one, from what path is
// the lock of, until it is closed or the process ends. The file is made, and stays.
func Lock(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // who deploys names it
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil { //nolint:gosec // a descriptor
		return nil, errors.Join(fmt.Errorf("another process has it open: lock %s: %w", path, err), f.Close())
	}
	return f, nil
}
