package devstack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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

// ProcessOptions say what to run.
type ProcessOptions struct {
	Path string   // the binary
	Args []string // without the binary's name
	Dir  string   // working directory; default that of this process
	// Env is the whole environment, NAME=value; only PATH and HOME are added
	// where it lacks them, so nothing of the caller's environment leaks in.
	Env []string
	// HTTPAddr is where /readyz is served; only WaitReady needs it.
	HTTPAddr string
	// OnLine, where set, gets each line of stdout and stderr as it comes.
	OnLine func(line string)

	credential  *syscall.Credential // whom it runs as, where not as this process
	deathSignal syscall.Signal      // how it ends with this process, on Linux; default SIGKILL
}

// Process is a running binary.
type Process struct {
	options ProcessOptions
	cmd     *exec.Cmd
	done    chan struct{} // closed when it has ended and its output is read
	err     error         // of Wait; set before done is closed

	mu    sync.Mutex
	lines []string
}

// StartProcess starts a binary. It ends by itself, by Kill or by Close, and on
// Linux when this process dies; ctx bounds only the start.
func StartProcess(ctx context.Context, options ProcessOptions) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// Its life is bounded by Close, not by a context: a test that kills it on
	// purpose must see that exit and no other.
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

func withDefaults(env []string) []string {
	env = slices.Clone(env)
	for _, name := range []string{"PATH", "HOME"} {
		if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") }) {
			env = append(env, name+"="+os.Getenv(name))
		}
	}
	return env
}

// run starts the process and waits for it on one thread: on Linux the death
// signal is sent when the thread that started the child ends, not the process.
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
	_ = writer.Close() // the child holds its own
	if err != nil {
		_ = reader.Close()
		started <- err
		return
	}
	read := make(chan struct{})
	go func() { defer close(read); p.read(reader) }()
	started <- nil
	p.err = p.cmd.Wait()
	// A grandchild may hold the pipe open; what the child wrote is in it already.
	_ = reader.SetReadDeadline(time.Now().Add(time.Second))
	<-read
	_ = reader.Close()
	close(p.done)
}

func (p *Process) read(r io.Reader) {
	buffered := bufio.NewReader(r)
	for {
		line, err := buffered.ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			p.add(line)
		}
		if err != nil {
			return
		}
	}
}

func (p *Process) add(line string) {
	p.mu.Lock()
	p.lines = append(p.lines, line)
	p.mu.Unlock()
	if p.options.OnLine != nil {
		p.options.OnLine(line)
	}
}

// Pid is the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended and all its output is read.
func (p *Process) Done() <-chan struct{} { return p.done }

// Output is every line of stdout and stderr so far, in the order of arrival.
func (p *Process) Output() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.lines)
}

// Text is Output as one text.
func (p *Process) Text() string { return strings.Join(p.Output(), "\n") }

// errEnded says that a process ended while something was awaited of it.
func (p *Process) errEnded(what string) error {
	code, err := p.exit()
	if err != nil {
		return fmt.Errorf("%s: %w while waiting for %s:\n%s", p.name(), err, what, p.tail())
	}
	return fmt.Errorf("%s ended with %d while waiting for %s:\n%s", p.name(), code, what, p.tail())
}

func (p *Process) name() string { return filepath.Base(p.options.Path) }

// tailLines of output are shown in an error.
const tailLines = 30

func (p *Process) tail() string {
	lines := p.Output()
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

// WaitLine waits until a line of the output holds text, and returns that line.
// It fails when the process ends without such a line, when ctx ends, and when the
// process prints nothing for await.Patience.
func (p *Process) WaitLine(ctx context.Context, text string) (line string, err error) {
	seen := 0
	holds := func() bool {
		lines := p.Output()
		for ; seen < len(lines); seen++ {
			if strings.Contains(lines[seen], text) {
				line = lines[seen]
				return true
			}
		}
		return false
	}
	err = p.await(ctx, strconv.Quote(text), func() (state any, over bool) {
		over = holds()
		return fmt.Sprintf("%d lines of output", seen), over
	})
	return line, err
}

// await waits as await.Until does, and fails too when the process ends before
// look says that the wait is over.
func (p *Process) await(ctx context.Context, what string, look func() (state any, over bool)) error {
	var failed error
	err := await.Until(ctx, what+" of "+p.name(), func() (any, bool) {
		ended := p.hasEnded() // before the look: all that it did is seen then
		state, over := look()
		if !over && ended {
			failed = p.errEnded(what)
		}
		return state, over || ended
	})
	if err != nil {
		return fmt.Errorf("%w; its last lines:\n%s", err, p.tail())
	}
	return failed
}

func (p *Process) hasEnded() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// awaitAnswer asks until the answer is nil.
func (p *Process) awaitAnswer(ctx context.Context, what string, ask func(context.Context) error) error {
	var answer error
	err := p.await(ctx, what, func() (any, bool) {
		answer = ask(ctx)
		return "", answer == nil
	})
	if err != nil && answer != nil {
		return fmt.Errorf("%w\nthe last answer: %w", err, answer)
	}
	return err
}

// WaitReady waits until GET /readyz answers 200.
func (p *Process) WaitReady(ctx context.Context) error {
	return p.WaitStatus(ctx, "/readyz", http.StatusOK)
}

// WaitStatus waits until GET path on HTTPAddr answers with status. It fails when
// the process ends before, when ctx ends, and when the answer has been the same for
// await.Patience.
func (p *Process) WaitStatus(ctx context.Context, path string, status int) error {
	return p.await(ctx, fmt.Sprintf("status %d of GET %s", status, path), func() (any, bool) {
		got, err := p.Get(ctx, path)
		if err != nil {
			return "no answer", false
		}
		return got, got == status
	})
}

// Get asks HTTPAddr for path and returns the status.
func (p *Process) Get(ctx context.Context, path string) (int, error) {
	status, _, err := p.Read(ctx, path)
	return status, err
}

// Metric reads one sample of /metrics, as "name{label=\"value\"}"; 0 where it is not there.
func (p *Process) Metric(ctx context.Context, sample string) (float64, error) {
	_, body, err := p.Read(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(line, sample+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, nil
}

// Read asks HTTPAddr for path and returns the status and the body.
func (p *Process) Read(ctx context.Context, path string) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.options.HTTPAddr+path, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	content, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(content), err
}

// Signal sends a signal; it fails with os.ErrProcessDone on an ended process.
func (p *Process) Signal(signal os.Signal) error { return p.cmd.Process.Signal(signal) }

// Kill ends the process at once with SIGKILL and waits until it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // fails only on an ended process
	<-p.done
}

// Wait waits for the end and returns the exit code, -1 for an end by a signal. It
// fails when ctx ends, and when the process prints nothing for await.Patience.
func (p *Process) Wait(ctx context.Context) (int, error) {
	err := await.Until(ctx, "the end of "+p.name(), func() (any, bool) {
		return fmt.Sprintf("%d lines of output", len(p.Output())), p.hasEnded()
	})
	if err != nil {
		return 0, fmt.Errorf("%w; its last lines:\n%s", err, p.tail())
	}
	return p.exit()
}

func (p *Process) exit() (int, error) {
	var exit *exec.ExitError
	if p.err != nil && !errors.As(p.err, &exit) {
		return 0, p.err
	}
	return p.cmd.ProcessState.ExitCode(), nil
}

// stopFor is how long Stop gives an orderly end. The processes of this project
// promise theirs within the longest target timeout and 10 s.
const stopFor = 30 * time.Second

// Stop asks for an orderly end with SIGTERM, waits for it, and kills what has
// not ended when ctx ends or after 30 s. It returns the exit code.
func (p *Process) Stop(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, stopFor)
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

// Close kills the process if it still runs.
func (p *Process) Close() { p.Kill() }

// Memory is what a process holds in physical memory, in bytes.
type Memory struct {
	Now  int64 // VmRSS
	Peak int64 // VmHWM
}

// RSS reads /proc, so it works on Linux only and while the process runs.
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
		return Memory{}, fmt.Errorf("%s: no VmRSS; the process has ended", path)
	}
	return m, nil
}

// CPU is the processor time that the process has used, all threads together,
// and with it that of the children it has waited for. It reads /proc, which
// only Linux has.
func (p *Process) CPU() (time.Duration, error) {
	_, used, err := cpuOf(strconv.Itoa(p.Pid()))
	if err != nil {
		return 0, fmt.Errorf("read the processor time of %s: %w", p.name(), err)
	}
	return used, nil
}

// cpuOf reads the parent and the processor time of a process.
func cpuOf(pid string) (parent string, used time.Duration, err error) {
	data, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return "", 0, err
	}
	// The second field is the name in parentheses, which may hold blanks. After it
	// come state and parent; fields 14 to 17 are utime, stime, cutime and cstime,
	// in ticks of 10 ms (proc_pid_stat(5)).
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

func kilobytes(value string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
	return n * 1024, err
}

// HTTPAddr is where the process serves /readyz and /metrics.
func (p *Process) HTTPAddr() string { return p.options.HTTPAddr }
