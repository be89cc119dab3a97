package devstack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"genesys-fanout/internal/await"
)

// ProcessOptions say which program to run, and how.
type ProcessOptions struct {
	Path string   // of the program
	Args []string // without the program's name
	Dir  string   // working directory; default that of this process
	// Env is the whole environment, as NAME=value. Only PATH and HOME are added if they are missing:
	// other variables of this process do not reach the program.
	Env []string
	// HTTPAddr is the host:port where the program serves /readyz and /metrics. Only the methods that
	// send HTTP requests need it.
	HTTPAddr string
	// OnLine, if set, is called with each line of stdout and stderr.
	OnLine func(line string)

	credential  *syscall.Credential // the user of the program; nil for the user of this process
	deathSignal syscall.Signal      // what the program gets when this process ends, on Linux; default SIGKILL
}

// Process is an operating-system process, running or ended.
type Process struct {
	options ProcessOptions
	cmd     *exec.Cmd
	done    chan struct{} // closed when the process has ended and its output is read
	err     error         // result of cmd.Wait; set before done is closed

	mu    sync.Mutex
	lines []string
}

// StartProcess starts a program. The process ends by itself, by Stop, Kill or Close, and on Linux
// when this process ends. ctx applies only to the start.
func StartProcess(ctx context.Context, options ProcessOptions) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// Not CommandContext: the end of a context would kill the process, and a test that waits for
	// another kind of end would see that one.
	cmd := exec.Command(options.Path, options.Args...) //nolint:noctx // see above
	cmd.Dir = options.Dir
	cmd.Env = withDefaults(options.Env)
	cmd.SysProcAttr = childAttributes(options)
	p := &Process{options: options, cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(options.Path), err)
	}
	return p, nil
}

// withDefaults returns env with PATH and HOME of this process, unless env contains them.
func withDefaults(env []string) []string {
	env = slices.Clone(env)
	for _, name := range []string{"PATH", "HOME"} {
		if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") }) {
			env = append(env, name+"="+os.Getenv(name))
		}
	}
	return env
}

// run starts the process, and waits for its end on the same thread. On Linux the kernel sends the
// death signal when the thread that started the child ends, so that thread must live as long as the
// child.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	reader, writer, err := os.Pipe()
	if err != nil {
		started <- err
		return
	}
	p.cmd.Stdout, p.cmd.Stderr = writer, writer
	err = p.cmd.Start()
	_ = writer.Close() // the child has its own copy
	if err != nil {
		_ = reader.Close()
		started <- err
		return
	}
	read := make(chan struct{})
	go func() { defer close(read); p.readLines(reader) }()
	started <- nil
	p.err = p.cmd.Wait()
	// A deadline, because a grandchild may keep the pipe open. What the child wrote is in the pipe.
	_ = reader.SetReadDeadline(time.Now().Add(time.Second))
	<-read
	_ = reader.Close()
	close(p.done)
}

func (p *Process) readLines(r io.Reader) {
	buffered := bufio.NewReader(r)
	for {
		line, err := buffered.ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			p.addLine(line)
		}
		if err != nil {
			return
		}
	}
}

func (p *Process) addLine(line string) {
	p.mu.Lock()
	p.lines = append(p.lines, line)
	p.mu.Unlock()
	if p.options.OnLine != nil {
		p.options.OnLine(line)
	}
}

// Pid returns the process ID.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done returns a channel that is closed when the process has ended and all its output is read.
func (p *Process) Done() <-chan struct{} { return p.done }

// Output returns the lines of stdout and stderr so far, in the order of arrival.
func (p *Process) Output() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.lines)
}

// Text returns the lines of Output as one text.
func (p *Process) Text() string { return strings.Join(p.Output(), "\n") }

// endedError returns the error of a wait during which the process ended. what is what the wait was for.
func (p *Process) endedError(what string) error {
	code, err := p.exitCode()
	if err != nil {
		return fmt.Errorf("%s: %w while waiting for %s:\n%s", p.name(), err, what, p.tail())
	}
	return fmt.Errorf("%s ended with %d while waiting for %s:\n%s", p.name(), code, what, p.tail())
}

func (p *Process) name() string { return filepath.Base(p.options.Path) }

// tailLines is the number of lines of output in an error.
const tailLines = 30

func (p *Process) tail() string {
	lines := p.Output()
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

// WaitLine waits until a line of the output contains text, and returns that line. It fails when the
// process ends without such a line, when ctx ends, and when the process prints nothing for
// await.Patience.
func (p *Process) WaitLine(ctx context.Context, text string) (line string, err error) {
	searched := 0
	found := func() bool {
		lines := p.Output()
		for ; searched < len(lines); searched++ {
			if strings.Contains(lines[searched], text) {
				line = lines[searched]
				return true
			}
		}
		return false
	}
	err = p.await(ctx, strconv.Quote(text), func() (state any, done bool) {
		done = found()
		return fmt.Sprintf("%d lines of output", searched), done
	})
	return line, err
}

// await waits like await.Until. It also fails when the process ends before check returns done.
func (p *Process) await(ctx context.Context, what string, check func() (state any, done bool)) error {
	var failure error
	err := await.Until(ctx, what+" of "+p.name(), func() (any, bool) {
		ended := p.hasEnded() // before check, which then sees everything that the process has done
		state, done := check()
		if !done && ended {
			failure = p.endedError(what)
		}
		return state, done || ended
	})
	if err != nil {
		return fmt.Errorf("%w; its last lines:\n%s", err, p.tail())
	}
	return failure
}

func (p *Process) hasEnded() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// awaitSuccess calls try again and again until it returns nil. If the wait fails, the error contains
// the last one of try.
func (p *Process) awaitSuccess(ctx context.Context, what string, try func(context.Context) error) error {
	var failure error
	err := p.await(ctx, what, func() (any, bool) {
		failure = try(ctx)
		return "", failure == nil
	})
	if err != nil && failure != nil {
		return fmt.Errorf("%w\nthe last attempt failed: %w", err, failure)
	}
	return err
}

// Signal sends a signal. It fails with os.ErrProcessDone if the process has ended.
func (p *Process) Signal(signal os.Signal) error { return p.cmd.Process.Signal(signal) }

// Pause stops the process with SIGSTOP: it keeps its memory and its connections, and does nothing
// until Resume.
func (p *Process) Pause() error { return p.Signal(syscall.SIGSTOP) }

// Resume ends a pause.
func (p *Process) Resume() error { return p.Signal(syscall.SIGCONT) }

// Kill ends the process with SIGKILL and waits for its end.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // fails only if the process has ended
	<-p.done
}

// Wait waits for the end of the process and returns the exit code, or -1 if a signal ended it. It
// fails when ctx ends, and when the process prints nothing for await.Patience.
func (p *Process) Wait(ctx context.Context) (int, error) {
	err := await.Until(ctx, "the end of "+p.name(), func() (any, bool) {
		return fmt.Sprintf("%d lines of output", len(p.Output())), p.hasEnded()
	})
	if err != nil {
		return 0, fmt.Errorf("%w; its last lines:\n%s", err, p.tail())
	}
	return p.exitCode()
}

func (p *Process) exitCode() (int, error) {
	var exit *exec.ExitError
	if p.err != nil && !errors.As(p.err, &exit) {
		return 0, p.err
	}
	return p.cmd.ProcessState.ExitCode(), nil
}

// stopTimeout is how long Stop waits for an orderly end. The processes of this project end within the
// longest timeout of a target and 10 s.
const stopTimeout = 30 * time.Second

// Stop asks for an orderly end with SIGTERM and returns the exit code. It kills the process if that
// has not ended when ctx ends or after 30 s.
func (p *Process) Stop(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, err
	}
	code, err := p.Wait(ctx)
	if err != nil {
		p.Kill()
	}
	return code, err
}

// Close kills the process if it runs.
func (p *Process) Close() { p.Kill() }
