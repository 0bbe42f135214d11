//go:build !linux

package valkeyserver

import "syscall"

// ownProcess has nothing to say where the kernel can't be told to end a server with us.
func ownProcess() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
