//go:build !linux

package devstack

import "syscall"

// childAttributes keep a terminal's Ctrl-C from the child, so that its parent
// decides the order of the end.
func childAttributes(options ProcessOptions) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: options.credential}
}
