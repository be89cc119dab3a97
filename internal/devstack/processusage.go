package devstack

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Memory is the physical memory that a process uses, in bytes.
type Memory struct {
	Now  int64 // VmRSS
	Peak int64 // VmHWM
}

// RSS returns the memory that the process uses. It reads /proc, so it works only on Linux, and only
// while the process runs.
func (p *Process) RSS() (Memory, error) {
	path := fmt.Sprintf("/proc/%d/status", p.Pid())
	text, err := os.ReadFile(path)
	if err != nil {
		return Memory{}, err
	}
	var m Memory
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "VmRSS":
			m.Now, err = kilobytes(value)
		case "VmHWM":
			m.Peak, err = kilobytes(value)
		}
		if err != nil {
			return Memory{}, fmt.Errorf("%s: %s: %w", path, name, err)
		}
	}
	if m.Now == 0 {
		return Memory{}, fmt.Errorf("%s contains no VmRSS, because the process has ended", path)
	}
	return m, nil
}

// CPU returns the processor time that the process has used: that of all its threads, and that of the
// children that have ended and that it has waited for. It reads /proc, so it works only on Linux.
func (p *Process) CPU() (time.Duration, error) {
	_, used, err := cpuOf(strconv.Itoa(p.Pid()))
	if err != nil {
		return 0, fmt.Errorf("read the processor time of %s: %w", p.name(), err)
	}
	return used, nil
}

// cpuOf returns the process ID of the parent and the processor time of a process.
func cpuOf(pid string) (parent string, used time.Duration, err error) {
	data, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return "", 0, err
	}
	// The second field is the name in parentheses, which may contain blanks. After it come the state
	// and the parent. Fields 14 to 17 are utime, stime, cutime and cstime, in ticks of 10 ms
	// (proc_pid_stat(5)).
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 15 {
		return "", 0, fmt.Errorf("%q has too few fields", data)
	}
	for _, field := range fields[11:15] {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return "", 0, err
		}
		used += time.Duration(ticks) * 10 * time.Millisecond
	}
	return fields[1], used, nil
}

// kilobytes returns the bytes of a value in kB.
func kilobytes(value string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
	return n * 1024, err
}
