package devstack

import "syscall"

// childAttributes keep a terminal's Ctrl-C from the child, so that its parent
// decides the order of the end, and end it when its parent dies.
func childAttributes(options ProcessOptions) *syscall.SysProcAttr {
	death := options.deathSignal
	if death == 0 {
		death = syscall.SIGKILL
	}
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: death, Credential: options.credential}
}
