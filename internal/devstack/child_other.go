//go:build !linux

package devstack

import "syscall"

// childAttributes keep a terminal's Ctrl-C from the child, so that its parent
// decides the order of the end.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
