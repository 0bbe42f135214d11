//go:build !linux

package postgresserver

import "syscall"

// ownProcess has nothing to say where the kernel can't be told to end a server with us,
// nor to run it as another.
func ownProcess(*account) *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
