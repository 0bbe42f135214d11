//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package quorum

import (
	"io"
	"os"
)

// lockFile makes the file only: here nothing keeps a second process out.
func lockFile(path string) (io.Closer, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // beside the file
}
