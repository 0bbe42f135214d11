//go:build unix

package drill

import (
	"fmt"
	"syscall"

	"github.com/roam-sessions/roam/internal/valkeyserver"
)

// suspend has a server's process stop in the middle of whatever it does.
func suspend(s *valkeyserver.Server) error {
	if err := syscall.Kill(s.Pid(), syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stop the server at %s: %w", s.Addr(), err)
	}
	return nil
}

// resume has it go on. One that runs, or is gone, is left alone.
func resume(s *valkeyserver.Server) {
	if s != nil && s.Pid() > 0 {
		_ = syscall.Kill(s.Pid(), syscall.SIGCONT) // it may be gone
	}
}
