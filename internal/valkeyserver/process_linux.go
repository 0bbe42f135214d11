package valkeyserver

import "syscall"

// ownProcess makes a server that a key pressed in our terminal does not end, and that
// ends when we do, however that is.
func ownProcess() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
