//go:build !unix

package drill

import (
	"errors"

	"github.com/roam-sessions/roam/internal/valkeyserver"
)

// suspend would have a server's process stop.
func suspend(*valkeyserver.Server) error {
	return errors.New("a process can't be stopped and go on here")
}

// resume would have it go on.
func resume(*valkeyserver.Server) {}
