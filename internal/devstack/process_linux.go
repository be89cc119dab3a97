package devstack

import (
	"cmp"
	"syscall"
)

// childAttributes put the child into a process group of its own, and make the kernel end it when its
// parent dies. A terminal sends Ctrl-C to its whole process group: in its own group, the child does
// not get it, and the parent decides in which order the parts end.
func childAttributes(options ProcessOptions) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Setpgid:    true,
		Pdeathsig:  cmp.Or(options.deathSignal, syscall.SIGKILL),
		Credential: options.credential,
	}
}
