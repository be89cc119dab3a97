package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// stopWithin is longer than the minute that the demo gives its processes.
	stopWithin = 75 * time.Second
	lookEvery  = 100 * time.Millisecond
)

// process is a running binary of this project.
type process struct {
	name   string
	cmd    *exec.Cmd
	stop   context.CancelFunc
	done   chan struct{}
	mu     sync.Mutex
	output bytes.Buffer
}

// start runs the binary at path until ctx ends or end is called.
func start(ctx context.Context, path, name string, env ...string) (*process, error) {
	ctx, stop := context.WithCancel(ctx)
	p := &process{name: name, cmd: exec.CommandContext(ctx, path), stop: stop, done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	// A group of its own: a terminal's Ctrl-C must not reach it beside our SIGTERM,
	// as a second signal ends it at once.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = stopWithin
	if err := p.cmd.Start(); err != nil {
		stop()
		return nil, fmt.Errorf("%w; run: make build", err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // end looks at the status
	}()
	return p, nil
}

// Write keeps what the process prints.
func (p *process) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.Write(text)
}

func (p *process) printed() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// tail is the end of what it printed, without the demo's secret.
func (p *process) tail() string {
	if p == nil {
		return ""
	}
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(p.printed()), "\n"), func(line string) bool { return strings.Contains(line, "SECRET") })
	return p.name + " printed last:\n" + strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// await waits until holds says so, an error of it or the end of the process.
// what names the condition in the error.
func (p *process) await(ctx context.Context, what string, holds func() (bool, error)) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		if held, err := holds(); err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		} else if held {
			return nil
		}
		select {
		case <-ticker.C:
		case <-p.done:
			return fmt.Errorf("waiting for %s: %s has ended", what, p.name)
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		}
	}
}

// end ends the process by SIGTERM and waits for it.
func (p *process) end() error {
	if p == nil {
		return nil
	}
	p.stop()
	<-p.done
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with: %s", p.name, p.cmd.ProcessState)
	}
	return nil
}
