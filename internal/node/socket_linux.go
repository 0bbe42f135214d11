package node

import (
	"os"
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT of tcp(7), which package syscall lacks.
const tcpUserTimeout = 0x12

// giveUpAfter has a socket fail when what was sent is not acknowledged for so long.
func giveUpAfter(fd uintptr, d time.Duration) error {
	return os.NewSyscallError("setsockopt TCP_USER_TIMEOUT",
		syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(d.Milliseconds())))
}
