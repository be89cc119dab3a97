package devstack

import "syscall"

// childAttributes keep a terminal's Ctrl-C from the child, so that its parent
// decides the order of the end, and end it when its parent dies.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
