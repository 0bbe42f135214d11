package lambda

import "syscall"

// ownProcess makes a program that a key pressed in our terminal does not end, and that ends
// when we do.
func ownProcess() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
