package postgresserver

import "syscall"

// ownProcess makes a server that a key pressed in our terminal does not end, and that
// ends when we do, however that is.
func ownProcess(as *account) *syscall.SysProcAttr {
	out := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if as != nil {
		out.Credential = &syscall.Credential{Uid: as.uid, Gid: as.gid}
	}
	return out
}
