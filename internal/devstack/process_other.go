//go:build !linux

package devstack

import "syscall"

// childAttributes put the child into a process group of its own. A terminal sends Ctrl-C to its
// whole process group: in its own group, the child does not get it, and the parent decides in which
// order the parts end.
func childAttributes(options ProcessOptions) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: options.credential}
}
